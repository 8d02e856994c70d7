"""What checks share: the tunnel, the targets, and facts that are asked for once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Protocol

from netaddr import IPAddress, IPNetwork

from macnet import probe
from macnet.checks.lanes import Gap, Lane, Spot, mark_routes, plan_lanes, plan_spots
from macnet.checks.targets import Located, Target, locate_targets
from macnet.clients.base import ClientStatus
from macnet.config import DEFAULT_RELAY_SUBNET, DEFAULT_TUNNEL_SUBNET
from macnet.engine import Engine, EngineInfo
from macnet.errors import MacnetError
from macnet.files import read_private
from macnet.helper import HelperStatus
from macnet.models import Interface, Network, Route
from macnet.networks import Selected
from macnet.pki import Pki, load_pki
from macnet.probe import PingResult, TcpResult
from macnet.profile import parse_profile_routes
from macnet.routes import RouteDiff, compare_routes
from macnet.runner import CommandRunner
from macnet.state import TunnelState, load_state
from macnet.tunnel import Tunnel
from macnet.tunnel.conflicts import own_interface, select
from macnet.tunnel.facts import list_networks

#: Pings and connects in flight. With 256 open files, as macOS gives, `probe` takes fewer.
CONCURRENCY = 200


class Prober(Protocol):
    """What is sent into the tunnel; tests bring another one."""

    def ping_all(
        self, addresses: Sequence[IPAddress], *, timeout_s: float
    ) -> tuple[PingResult, ...]:
        """Ping every address, in the given order."""

    def connect_all(
        self, targets: Sequence[tuple[IPAddress, int]], *, timeout_s: float
    ) -> tuple[TcpResult, ...]:
        """Open and close a TCP connection to every target, in the given order."""


class SystemProber:
    """Sends from this machine, all at once."""

    def __init__(self, runner: CommandRunner) -> None:
        """``runner`` runs the system's ``ping`` where this user may not send ICMP."""
        self._runner = runner

    def ping_all(
        self, addresses: Sequence[IPAddress], *, timeout_s: float
    ) -> tuple[PingResult, ...]:
        """See `Prober.ping_all`."""
        return probe.ping_all(
            addresses, timeout_s=timeout_s, concurrency=CONCURRENCY, runner=self._runner
        )

    def connect_all(
        self, targets: Sequence[tuple[IPAddress, int]], *, timeout_s: float
    ) -> tuple[TcpResult, ...]:
        """See `Prober.connect_all`."""
        return probe.connect_all(targets, timeout_s=timeout_s, concurrency=CONCURRENCY)


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back from one batch of pings and connects."""

    pings: dict[IPAddress, PingResult]
    tcp: dict[tuple[IPAddress, int], TcpResult]

    def lives(self, spot: Spot) -> bool:
        """Whether anything at all came back from the spot; a refusal is an answer."""
        return self.pings[spot.address].ok or any(
            self.tcp[spot.address, port].rtt_ms is not None for port in spot.ports
        )


class Context:
    """Facts on first use. Whoever asks for a fact gets the error that hides it.

    Nothing here decides; what checks need of each other goes by their ``needs``.
    """

    def __init__(
        self,
        tunnel: Tunnel,
        targets: Sequence[Target] = (),
        *,
        timeout_s: float = 1.0,
        prober: Prober | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Nothing is asked yet; ``timeout_s`` is for each ping and each connect."""
        self.tunnel = tunnel
        self.targets = tuple(targets)
        self.timeout_s = timeout_s
        self.prober = prober or SystemProber(tunnel.around.runner)
        self.now = now
        self._engine_error: MacnetError | None = None

    @property
    def engine(self) -> Engine:
        """The engine. One that did not answer is not asked again: it may take a minute."""
        if self._engine_error is not None:
            raise self._engine_error
        try:
            return self.tunnel.engine
        except MacnetError as error:
            self._engine_error = error
            raise

    @cached_property
    def info(self) -> EngineInfo:
        """What the engine says about itself."""
        return self.engine.info()

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """Every network of the engine with its running containers."""
        return list_networks(self.engine)

    @cached_property
    def located(self) -> tuple[Located, ...]:
        """The containers of the targets. Raises `macnet.errors.UnknownTarget`."""
        named = any(target.name is not None for target in self.targets)
        rows = self.engine.containers(everything=True) if named else ()
        return locate_targets(self.targets, rows)

    @cached_property
    def state(self) -> TunnelState:
        """What was chosen for the tunnel; an empty record where there is none."""
        return load_state(self.tunnel.paths.state, self.tunnel.progress)

    @cached_property
    def pki(self) -> Pki | None:
        """The certificates. Raises `macnet.pki.DamagedPki`."""
        return load_pki(self.tunnel.paths.pki)

    @cached_property
    def profile(self) -> str | None:
        """The text of the written profile."""
        data = read_private(self.tunnel.paths.profile)
        return None if data is None else data.decode(errors="replace")

    @cached_property
    def helper(self) -> HelperStatus:
        """Both containers. Raises `macnet.errors.ForeignContainer`."""
        return self.tunnel.helper.status()

    @cached_property
    def connected_clients(self) -> int:
        """How many clients the server serves. Raises `macnet.errors.HelperFailed`."""
        return len(self.tunnel.helper.clients())

    @cached_property
    def client(self) -> ClientStatus:
        """What the VPN client says."""
        return self.tunnel.client.status()

    @cached_property
    def interfaces(self) -> tuple[Interface, ...]:
        """The interfaces of this machine."""
        return self.tunnel.around.interfaces()

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """The routing table. Raises `macnet.routes.UnreadableRoutes`."""
        return self.tunnel.around.routes()

    @property
    def tunnel_subnet(self) -> IPNetwork:
        """The tunnel's own subnet, or the one that it would get."""
        chosen = self.state.tunnel_subnet or self.tunnel.config.tunnel_subnet
        return chosen or DEFAULT_TUNNEL_SUBNET

    @property
    def relay_subnet(self) -> IPNetwork:
        """The link between server and relay, or the one that there would be."""
        return self.state.relay_subnet or DEFAULT_RELAY_SUBNET

    @property
    def interface(self) -> str | None:
        """The interface that holds the client's address in the tunnel."""
        return own_interface(self.interfaces, self.tunnel_subnet)

    @cached_property
    def selected(self) -> tuple[Selected, ...]:
        """Which networks are routed, decided as the tunnel's planner does."""
        return select(
            self.tunnel.config,
            self.networks,
            self.interfaces,
            self.routes,
            self.tunnel_subnet,
            self.relay_subnet,
        )

    @cached_property
    def allowed(self) -> tuple[IPNetwork, ...]:
        """The subnets that the server lets through, as this machine sees them."""
        return self.tunnel.helper.allowed_subnets()

    @cached_property
    def announced(self) -> tuple[IPNetwork, ...]:
        """The routes that the client gets: from its profile, and pushed by the server."""
        return (*parse_profile_routes(self.profile or ""), *self.tunnel.helper.pushed_routes())

    @cached_property
    def carried(self) -> tuple[IPNetwork, ...]:
        """The announced routes that the server lets through as well."""
        return tuple(net for net in self.announced if any(net in other for other in self.allowed))

    @cached_property
    def planned_lanes(self) -> tuple[Lane, ...]:
        """The subnets to reach, before this machine's routes are looked at."""
        return plan_lanes(self.selected, self.carried)

    @cached_property
    def route_diff(self) -> RouteDiff:
        """How this machine routes the carried subnets."""
        nets = [lane.subnet.route for lane in self.planned_lanes if not lane.blocked]
        return compare_routes(nets, self.routes, self.interface or "")

    @cached_property
    def lanes(self) -> tuple[Lane, ...]:
        """The subnets to reach, the broken ones marked."""
        return mark_routes(self.planned_lanes, self.route_diff)

    @cached_property
    def _plan(self) -> tuple[tuple[Spot, ...], tuple[Gap, ...]]:
        parts = (self.helper.server, self.helper.relay)
        return plan_spots(
            self.selected,
            self.lanes,
            self.located,
            own=[part.id for part in parts if part is not None],
            read_ports=self.engine.exposed_ports,
        )

    @property
    def spots(self) -> tuple[Spot, ...]:
        """What to try."""
        return self._plan[0]

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What cannot be tried, and why."""
        return self._plan[1]

    @property
    def lanes_in_use(self) -> tuple[Lane, ...]:
        """The lanes that matter: with targets given only theirs."""
        if not self.targets:
            return self.lanes
        return tuple(dict.fromkeys(spot.lane for spot in self.spots))

    @cached_property
    def answers(self) -> Answers:
        """All pings in one batch, then all connects: together they need too many files."""
        spots = [spot for spot in self.spots if not spot.lane.blocked]
        gateways = [lane.gateway for lane in self.lanes_in_use if not lane.blocked]
        addresses = list(dict.fromkeys([*gateways, *(spot.address for spot in spots)]))
        ports = [(spot.address, port) for spot in spots for port in spot.ports]
        pings = self.prober.ping_all(addresses, timeout_s=self.timeout_s)
        tcp = self.prober.connect_all(ports, timeout_s=self.timeout_s)
        return Answers(
            {result.address: result for result in pings},
            {(result.address, result.port): result for result in tcp},
        )
