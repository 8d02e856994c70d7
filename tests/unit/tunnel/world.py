"""Both sides of a tunnel in memory: an engine, a VPN client, this machine, and who answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from macnet import packet, probe
from macnet.carriers import Carrier
from macnet.clients.base import Client, ClientState, ClientStatus
from macnet.config_file import read_config_file
from macnet.engine import Engine
from macnet.errors import ClientMissing, MacnetError
from macnet.helper.spec import client_address, parse_pushed
from macnet.models import Interface, PortOwner, Route
from macnet.paths import TunnelPaths
from macnet.probe import PingResult
from macnet.profile import parse_profile_routes
from macnet.progress import Progress
from macnet.runner import CommandRunner, SystemRunner
from macnet.settings import Resolved, Settings, chosen_remaps, from_record, resolve
from macnet.state import load_state
from macnet.tunnel import Host, Tunnel
from tests.unit.helper.model import ModelEngine


@dataclass
class Diary:
    """A `Progress` that remembers."""

    stages: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def start(self, stage: str) -> None:
        """A stage begins."""
        self.stages.append(stage)

    def detail(self, text: str) -> None:
        """A line about it."""

    def done(self, stage: str, *, changed: bool) -> None:
        """It has ended well."""
        self.changed += [stage] if changed else []

    def failed(self, stage: str) -> None:
        """It has failed."""
        self.failures.append(stage)

    def warn(self, text: str) -> None:
        """Something to know."""
        self.warnings.append(text)

    def pause(self) -> AbstractContextManager[object]:
        """Nothing is drawn."""
        return nullcontext()


class ModelClient(Client):
    """A VPN client: reads the profile when it connects, and then has its routes."""

    name = "openvpn"

    def __init__(self, paths: TunnelPaths, name: str = "openvpn") -> None:
        self.paths = paths
        self.name = name  # type: ignore[misc]  # each real client has a class of its own
        self.installed = True
        self.error: MacnetError | None = None
        self.used: bytes | None = None
        self.log: list[str] = []

    def require(self) -> None:
        if not self.installed:
            raise ClientMissing("openvpn is not installed", hint="`brew install openvpn`")

    def version(self) -> str | None:
        return "2.6.14" if self.installed else None

    def connect(self, progress: Progress, *, timeout_s: float) -> bool:
        if self.error is not None:
            raise self.error
        wanted = self.paths.profile.read_bytes()
        if self.name == "none" or self.used == wanted:
            return False
        self.used = wanted
        self.log.append("connect")
        return True

    def disconnect(self, progress: Progress) -> bool:
        if self.error is not None:
            raise self.error
        was, self.used = self.used is not None, None
        if was:
            self.log.append("disconnect")
        return was

    def status(self) -> ClientStatus:
        if self.name == "none":
            return ClientStatus(ClientState.UNKNOWN, "not managed by macnet", current=True)
        if self.used is None:
            return ClientStatus(ClientState.DISCONNECTED)
        profile = self.paths.profile
        current = profile.exists() and self.used == profile.read_bytes()
        return ClientStatus(ClientState.CONNECTED, current=current)


@dataclass(frozen=True, slots=True)
class ModelHost(Host):
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
        self.client = ModelClient(self.paths)
        self.others: dict[str, ModelClient] = {}
        #: The user's own client, for settings with the client "none".
        self.own_client_connected = False
        #: Whether the connected client sets the routes that the server pushes.
        self.takes_pushed = True
        self.diary = Diary()
        self.ports: dict[int, PortOwner] = {}
        self.extra_interfaces: list[Interface] = []
        self.extra_routes: list[Route] = []
        #: Answers although no tunnel is up; does not answer although one is.
        self.direct: set[str] = set()
        self.silent: set[str] = set()
        self.pinged: list[str] = []
        self.environ: dict[str, str] = {}
        self.system = "macos"
        self.engine_error: MacnetError | None = None
        #: None while the engine is on this machine.
        self.find_carrier: Callable[[], Carrier] | None = None
        self.runner: CommandRunner = SystemRunner()
        monkeypatch.setattr(probe, "ping_all", self._ping_all)
        #: The largest packet that gets through the tunnel; None where nobody may try.
        self.largest_packet: int | None = 65535
        monkeypatch.setattr(packet, "packet_passes", self._packet_passes)

    def _packet_passes(self, address: IPAddress, size: int) -> bool | None:
        return None if self.largest_packet is None else size <= self.largest_packet

    def setup_tunnel(self, **options: object) -> Tunnel:
        """The tunnel as `macnet setup` sees it, with its options."""
        state, file = load_state(self.paths.state, self.diary), read_config_file(self.config_file)
        resolved = resolve(file, self.environ, state.options, options)
        chosen = state.remaps if state.remaps is not None else chosen_remaps(file, "macnet")
        return self._tunnel(replace(resolved, chosen=chosen))

    def stored_tunnel(self) -> Tunnel:
        """The tunnel as every other command sees it."""
        state = load_state(self.paths.state, self.diary)
        if state.settings is None:
            return self.setup_tunnel()
        resolved = from_record(state.settings, state.options, context=None, name="macnet")
        return self._tunnel(replace(resolved, chosen=state.remaps or ()))

    def tunnel(self, settings: Settings | None = None) -> Tunnel:
        """A tunnel with these settings, wherever they come from."""
        return self._tunnel(Resolved(settings or Settings()))

    def _tunnel(self, resolved: Resolved) -> Tunnel:
        return Tunnel(
            resolved=resolved,
            paths=self.paths,
            open_engine=self._open_engine,
            make_client=self.make_client,
            client=self.client,
            client_reason="a test",
            host=ModelHost(
                runner=self.runner,
                system=self.system,
                interfaces=self.interfaces,
                port_owner=self.ports.get,
                table=self.routes,
            ),
            progress=self.diary,
            find_carrier=self.find_carrier,
            opened=load_state(self.paths.state, self.diary),
        )

    def make_client(self, name: str) -> ModelClient:
        """Any client that may have been connected before."""
        return self.others.setdefault(name, ModelClient(self.paths, name))

    def switch_client(self, name: str) -> None:
        """The user chooses another client; the one before is still as it was."""
        self.others[self.client.name] = self.client
        known = self.others.pop(name) if name in self.others else None
        self.client = known or ModelClient(self.paths, name)

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
        if self._used() is not None and subnet is not None:
            held = IPNetwork(f"{client_address(subnet)}/{subnet.prefixlen}")
            found.append(Interface("utun7", (held,)))
        return tuple(found)

    def routes(self) -> tuple[Route, ...]:
        """The machine's own, and those of the connected client."""
        return (*self.extra_routes, *(Route(net, "utun7") for net in self.carried()))

    def carried(self) -> tuple[IPNetwork, ...]:
        """The routes that the client has."""
        used = self._used()
        if used is None:
            return ()
        if not self.takes_pushed:
            return parse_profile_routes(used.decode())
        pushed = self.engine.read_file("macnet-server", "/etc/macnet/ccd/DEFAULT") or b""
        return (*parse_profile_routes(used.decode()), *parse_pushed(pushed.decode()))

    def _used(self) -> bytes | None:
        """The profile that a connected client has read."""
        if self.own_client_connected:
            return self.paths.profile.read_bytes()
        clients = (self.client, *self.others.values())
        return next((one.used for one in clients if one.used is not None), None)

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
