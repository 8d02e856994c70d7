"""Both sides of a tunnel in memory: an engine, a VPN client, this machine, and who answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from macnet import probe
from macnet.clients.base import ClientState, ClientStatus
from macnet.config import Config, load_config
from macnet.config_file import RemapTable, read_config_file
from macnet.engine import Engine
from macnet.errors import ClientMissing, MacnetError
from macnet.helper.spec import client_address, parse_pushed
from macnet.models import Interface, PortOwner, Route
from macnet.paths import TunnelPaths
from macnet.probe import PingResult
from macnet.profile import parse_profile_routes
from macnet.progress import Progress
from macnet.runner import SystemRunner
from macnet.state import load_state
from macnet.tunnel import Surroundings, Tunnel
from tests.unit.helper.model import ModelEngine


@dataclass
class Diary:
    """A `Progress` that remembers."""

    stages: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def start(self, stage: str) -> None:
        """A stage begins."""
        self.stages.append(stage)

    def detail(self, text: str) -> None:
        """A line about it."""

    def done(self, stage: str, *, changed: bool) -> None:
        """It has ended well."""

    def failed(self, stage: str) -> None:
        """It has failed."""
        self.failures.append(stage)

    def warn(self, text: str) -> None:
        """Something to know."""
        self.warnings.append(text)


@dataclass
class ModelClient:
    """A VPN client: reads the profile when it connects, and then has its routes."""

    name: str = "openvpn"
    installed: bool = True
    error: MacnetError | None = None
    used: bytes | None = None
    log: list[str] = field(default_factory=list)

    def require(self) -> None:
        if not self.installed:
            raise ClientMissing("openvpn is not installed", hint="`brew install openvpn`")

    def version(self) -> str | None:
        return "2.6.14" if self.installed else None

    def is_current(self, profile: Path) -> bool:
        return profile.exists() and self.used == profile.read_bytes()

    def install(self, profile: Path, progress: Progress) -> bool:
        self.profile = profile
        return False

    def connect(self, progress: Progress, *, timeout_s: float) -> bool:
        if self.error is not None:
            raise self.error
        if self.used is not None:
            return False
        self.used = self.profile.read_bytes()
        self.log.append("connect")
        return True

    def reconnect(self, progress: Progress, *, timeout_s: float) -> None:
        self.used = None
        self.connect(progress, timeout_s=timeout_s)

    def disconnect(self, progress: Progress) -> bool:
        was, self.used = self.used is not None, None
        if was:
            self.log.append("disconnect")
        return was

    def sweep(self, progress: Progress) -> bool:
        return False

    def status(self) -> ClientStatus:
        connected = self.used is not None
        return ClientStatus(ClientState.CONNECTED if connected else ClientState.DISCONNECTED)

    def remove(self, progress: Progress) -> bool:
        return self.disconnect(progress)

    def leftover(self, *, purge: bool) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class ModelSurroundings(Surroundings):
    """This machine with a routing table of its own."""

    table: Callable[[], tuple[Route, ...]] = tuple

    def routes(self) -> tuple[Route, ...]:
        """The routing table."""
        return self.table()


class World:
    """All parts; a test changes some and calls the tunnel."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths = TunnelPaths(folder / "tunnels" / "macnet")
        self.config_file = folder / "config.toml"
        self.engine = ModelEngine()
        self.client = ModelClient()
        self.diary = Diary()
        self.ports: dict[int, PortOwner] = {}
        self.extra_interfaces: list[Interface] = []
        self.extra_routes: list[Route] = []
        #: Answers although no tunnel is up; does not answer although one is.
        self.direct: set[str] = set()
        self.silent: set[str] = set()
        self.pinged: list[str] = []
        self.options: Mapping[str, object] = {}
        self.engine_error: MacnetError | None = None
        monkeypatch.setattr(probe, "ping_all", self._ping_all)

    def remapping(self, wish: list[str] | None = None) -> Tunnel:
        """A tunnel as one command sees it that reads config.toml; ``wish`` is its --remap."""
        file = read_config_file(self.config_file)
        config = load_config(file, {}, {}, {"name": "macnet", "remap": wish})
        return self.tunnel(config, file.table("macnet").get("remap") if wish is None else wish)

    def tunnel(self, config: Config | None = None, wish: object = None) -> Tunnel:
        """A tunnel as one command sees it."""
        return Tunnel(
            config=config or Config(),
            paths=self.paths,
            open_engine=self._open_engine,
            client=self.client,
            client_reason="a test",
            around=ModelSurroundings(
                runner=SystemRunner(),
                system="macos",
                interfaces=self.interfaces,
                port_owner=self.ports.get,
                table=self.routes,
            ),
            progress=self.diary,
            options=self.options,
            remaps=RemapTable(self.config_file, "macnet", wish),
        )

    def network(self, name: str, subnet: str) -> None:
        """Docker makes a network."""
        config = [{"Subnet": subnet}]
        entry = {"Id": f"id-{name}", "Name": name, "Driver": "bridge", "Scope": "local"}
        self.engine.networks_.append(entry | {"IPAM": {"Config": config}})

    def remove_network(self, name: str) -> None:
        """Docker removes one."""
        self.engine.networks_ = [n for n in self.engine.networks_ if n["Name"] != name]

    def interfaces(self) -> tuple[Interface, ...]:
        """Loopback, and the tunnel's while the client is connected."""
        found = [Interface("lo0", (IPNetwork("127.0.0.1/8"),)), *self.extra_interfaces]
        subnet = load_state(self.paths.state, self.diary).tunnel_subnet
        if self.client.used is not None and subnet is not None:
            held = IPNetwork(f"{client_address(subnet)}/{subnet.prefixlen}")
            found.append(Interface("utun7", (held,), point_to_point=True))
        return tuple(found)

    def routes(self) -> tuple[Route, ...]:
        """The machine's own, and those of the connected client."""
        return (*self.extra_routes, *(Route(net, "utun7") for net in self.carried()))

    def carried(self) -> tuple[IPNetwork, ...]:
        """The routes that the client has."""
        if self.client.used is None:
            return ()
        pushed = self.engine.read_file("macnet-server", "/etc/macnet/ccd/DEFAULT") or b""
        return (*parse_profile_routes(self.client.used.decode()), *parse_pushed(pushed.decode()))

    def _open_engine(self) -> Engine:
        if self.engine_error is not None:
            raise self.engine_error
        return self.engine.as_engine()

    def _ping_all(self, addresses: Sequence[IPAddress], **_: object) -> tuple[PingResult, ...]:
        self.pinged += map(str, addresses)
        return tuple(PingResult(address, self._answers(address)) for address in addresses)

    def _answers(self, address: IPAddress) -> bool:
        relay = self.engine.find_container("macnet-relay")
        through = (
            relay is not None and relay.running and any(address in net for net in self.carried())
        )
        return str(address) in self.direct or (through and str(address) not in self.silent)
