"""What the engine reports and is asked for, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from netaddr import IPNetwork

#: The default address pools of Docker's bridge driver, in the documentation of dockerd's
#: option default-address-pools.
DEFAULT_POOLS = (
    IPNetwork("172.17.0.0/16"),
    *(IPNetwork(f"172.{n}.0.0/{m}") for n, m in ((18, 15), (20, 14), (24, 14), (28, 14))),
    IPNetwork("192.168.0.0/16"),
)


#: ``uname -m``, and Go's words for the same, to the platform of an image (OCI image index).
_PLATFORMS = {
    "aarch64": "linux/arm64",
    "arm64": "linux/arm64",
    "x86_64": "linux/amd64",
    "amd64": "linux/amd64",
    "armv7l": "linux/arm/v7",
    "riscv64": "linux/riscv64",
}


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What the engine says about itself."""

    version: str
    api_version: str
    name: str
    operating_system: str
    architecture: str
    rootless: bool
    #: The ranges from which it takes subnets; Docker's own defaults where it names none.
    pools: tuple[IPNetwork, ...] = DEFAULT_POOLS
    #: Its own identifier, which it keeps when it restarts; empty where it tells none.
    id: str = ""
    #: Its clock when it answered, None where it tells none.
    system_time: datetime | None = None
    #: Whether containers get a user namespace (dockerd's option userns-remap).
    remapped: bool = False
    #: Whether it is Podman behind Docker's API.
    podman: bool = False
    #: Its id as a node of a swarm, empty where it is in none; whether it manages that swarm.
    node: str = ""
    manager: bool = False

    @property
    def platform(self) -> str | None:
        """Its own platform as images name it, None for one that macnet does not know."""
        return _PLATFORMS.get(self.architecture)


def parse_info(raw: Mapping[str, Any], api_version: str) -> EngineInfo:
    """Read ``GET /info`` (Engine API 1.41 and later, and Podman's)."""
    security = " ".join(raw.get("SecurityOptions") or ())
    swarm = raw.get("Swarm") or {}
    pools = tuple(IPNetwork(str(pool["Base"])) for pool in raw.get("DefaultAddressPools") or ())
    return EngineInfo(
        version=str(raw.get("ServerVersion", "?")),
        api_version=api_version,
        name=str(raw.get("Name", "?")),
        operating_system=str(raw.get("OperatingSystem", "?")),
        architecture=str(raw.get("Architecture", "?")),
        rootless="name=rootless" in security,
        pools=pools or DEFAULT_POOLS,
        # Podman makes up another one for each answer.
        id="" if "BuildahVersion" in raw else str(raw.get("ID") or ""),
        system_time=parse_time(raw.get("SystemTime")),
        remapped="name=userns" in security,
        # Its own field, which Docker has not.
        podman="BuildahVersion" in raw,
        node=str(swarm.get("NodeID") or ""),
        manager=bool(swarm.get("ControlAvailable")),
    )


def parse_time(text: object) -> datetime | None:
    """A time as the engine writes it (RFC 3339); None where it writes none."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """How to create a container; the fields carry the Engine API's meanings."""

    name: str
    image: str
    labels: Mapping[str, str]
    environment: Mapping[str, str]
    command: Sequence[str]
    cap_add: Sequence[str]
    network: str
    pid_mode: str | None = None
    security_opt: Sequence[str] = ()
    devices: Sequence[str] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    #: Container port -> (host address, host port).
    publish: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    health: Sequence[str] = ()
    read_only: bool = False
    #: Not "unless-stopped": after an engine was killed, the next one takes what it finds
    #: running for stopped by hand (seen on 20.10.24 and 28.5.2).
    restart: str = "always"


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the engine reports it. ``status`` and ``health`` are the engine's words."""

    id: str
    name: str
    image_id: str
    labels: Mapping[str, str]
    status: str
    health: str | None
    exit_code: int
    restarts: int
    environment: Mapping[str, str]
    #: Container port -> (host address, host port), as asked for.
    published: Mapping[int, tuple[str, int]]

    @property
    def running(self) -> bool:
        """Whether its main process runs."""
        return self.status == "running"


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command inside a container ended."""

    exit_code: int
    output: str


def parse_container(raw: Mapping[str, Any]) -> Container:
    """Read ``GET /containers/{id}/json`` (Engine API 1.41 and later)."""
    state, config = raw["State"], raw["Config"]
    bindings = raw["HostConfig"].get("PortBindings") or {}
    return Container(
        id=str(raw["Id"]),
        name=str(raw["Name"]).lstrip("/"),
        image_id=str(raw["Image"]),
        labels=config.get("Labels") or {},
        status=str(state["Status"]),
        health=(state.get("Health") or {}).get("Status"),
        exit_code=int(state.get("ExitCode") or 0),
        restarts=int(raw.get("RestartCount") or 0),
        environment=dict(item.partition("=")[::2] for item in config.get("Env") or ()),
        published={
            int(port.split("/")[0]): (str(rows[0]["HostIp"]), int(rows[0]["HostPort"] or 0))
            for port, rows in bindings.items()
            if rows
        },
    )
