"""What the engine reports and is asked for, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netaddr import IPNetwork

#: The default address pools of Docker's bridge driver, in the documentation of dockerd's
#: option default-address-pools.
DEFAULT_POOLS = (
    IPNetwork("172.17.0.0/16"),
    *(IPNetwork(f"172.{n}.0.0/{m}") for n, m in ((18, 15), (20, 14), (24, 14), (28, 14))),
    IPNetwork("192.168.0.0/16"),
)


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
