"""What checks share: the tunnel, the targets, and facts that are asked for once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Protocol

from netaddr import IPAddress, IPNetwork

from macnet import survey
from macnet.checks.targets import Places, Request
from macnet.engine import Engine, EngineInfo
from macnet.errors import MacnetError, NotSetUp
from macnet.helper import HelperStatus, ServerRoutes
from macnet.helper.spec import LABEL_DONOR, LABEL_LANE, Joiner
from macnet.models import Donor, Interface, Network, Route
from macnet.names import Zone
from macnet.names.client import Resolver, SystemResolver
from macnet.names.system import NamesSystem, SystemEntry
from macnet.networks import Selected
from macnet.packet import packet_passes
from macnet.pki import Pki, load_pki
from macnet.profile import parse_profile_routes
from macnet.routes import RouteDiff, compare_routes
from macnet.state import TunnelState, Way
from macnet.survey import Answer, Prober, SystemProber, Target, covered
from macnet.tunnel import Tunnel
from macnet.tunnel.conflicts import in_use, own_interface, present_subnets, tunnel_interface
from macnet.tunnel.decide import list_selected
from macnet.tunnel.naming import find_zone, make_entry, names_system
from macnet.tunnel.observe import list_elsewhere, list_networks, read_profile

#: The checks that can take single subnets out of those that follow.
SUBNETS_CHECK, ROUTES_CHECK, JOINER_CHECK = "tunnel.subnets", "reach.routes", "also.joiner"


class PacketPasses(Protocol):
    """`macnet.packet.packet_passes`; tests bring another one."""

    def __call__(self, address: IPAddress, size: int, *, timeout_s: float) -> bool | None:
        """Whether a packet of ``size`` bytes gets there, and its answer back."""


@dataclass(frozen=True, slots=True)
class JoinerLane:
    """A joiner that runs: its lane, the key of its namespace, and whether the relay is there."""

    number: int
    key: str
    attached: bool


class Facts:
    """Facts on first use. Whoever asks for a fact gets the error that hides it.

    Nothing here judges; what checks need of each other is in their ``needs``.
    """

    def __init__(
        self,
        tunnel: Tunnel,
        requests: Sequence[Request] = (),
        *,
        timeout_s: float = 1.0,
        prober: Prober | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        packet_passes: PacketPasses = packet_passes,
        resolver: Resolver | None = None,
    ) -> None:
        """Nothing is asked yet; ``timeout_s`` is for each ping and each connect."""
        self.tunnel = tunnel
        self.requests = tuple(requests)
        self.timeout_s = timeout_s
        self.prober = prober or SystemProber(tunnel.host.runner)
        self.now = now
        self.packet_passes = packet_passes
        self.resolver = resolver or SystemResolver()
        self._engine_error: MacnetError | None = None

    # The engine

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
        return list_networks(self.engine, self.tunnel.helper, self.tunnel.settings.also)

    @cached_property
    def helper(self) -> HelperStatus:
        """Both containers. Raises `macnet.errors.ForeignContainer`."""
        return self.tunnel.helper.status()

    @cached_property
    def joined(self) -> dict[str, JoinerLane]:
        """The joiners that run, by the id of the container that each has joined."""
        found = [one for one in self.tunnel.helper.joiners() if one.running]
        lanes = {int(one.labels.get(LABEL_LANE, 0)): one for one in found}
        attached = self.tunnel.helper.attached_lanes(lanes)
        return {
            one.labels.get(LABEL_DONOR, ""): JoinerLane(
                lane, one.environment.get("MACNET_JOINER", "").rpartition(".")[2], lane in attached
            )
            for lane, one in lanes.items()
        }

    @cached_property
    def connected_clients(self) -> int:
        """How many clients the server serves. Raises `macnet.errors.HelperFailed`."""
        return len(self.tunnel.helper.clients())

    # What macnet has stored

    @cached_property
    def state(self) -> TunnelState:
        """What was chosen for the tunnel; an empty record where there is none."""
        return self.tunnel.state()

    @cached_property
    def way(self) -> Way:
        """How the engine's machine is reached; as setup recorded it where nothing tells now."""
        try:
            return self.tunnel.carrier.way
        except MacnetError:
            return self.state.way or Way()

    @cached_property
    def pki(self) -> Pki | None:
        """The certificates. Raises `macnet.pki.DamagedPki`."""
        return load_pki(self.tunnel.paths.pki)

    @cached_property
    def profile(self) -> str | None:
        """The text of the written profile."""
        return read_profile(self.tunnel.paths)

    @property
    def own_subnets(self) -> tuple[IPNetwork, IPNetwork]:
        """The tunnel's subnet and the link between server and relay, or what they would get."""
        return present_subnets(self.tunnel.settings, self.state)

    # This machine

    @cached_property
    def interfaces(self) -> tuple[Interface, ...]:
        """The interfaces of this machine."""
        return self.tunnel.host.interfaces()

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """The routing table. Raises `macnet.routes.UnreadableRoutes`."""
        return self.tunnel.host.routes()

    @cached_property
    def interface(self) -> str | None:
        """The tunnel's interface on this machine."""
        subnet = self.own_subnets[0]
        try:
            networks, routes = self.networks, self.routes
        except MacnetError:
            # These only tell it from another VPN that holds the same address.
            return own_interface(self.interfaces, subnet)
        state = replace(self.state, tunnel_subnet=subnet)
        routed: tuple[IPNetwork, ...] = ()
        with suppress(MacnetError):  # the checks of the server tell what is wrong with it
            routed = (*self.allowed, *self.announced)
        return tunnel_interface(state, networks, self.interfaces, routes, routed)

    @cached_property
    def why_not_needed(self) -> str | None:
        """Why no tunnel is needed, None where that is not proved or cannot be told now."""
        try:
            selected, interfaces, routes = self.selected, self.interfaces, self.routes
        except MacnetError:
            return None
        own, prober = self.interface, self.prober
        return self.tunnel.why_not_needed(selected, interfaces, routes, own=own, prober=prober)

    @cached_property
    def names_system(self) -> NamesSystem:
        """How this machine comes to ask macnet for names."""
        return names_system(self.tunnel)

    @property
    def names_entry(self) -> SystemEntry:
        """What this machine has to be told. Raises `NotSetUp` while names are off."""
        names = self.state.names
        if names is None:
            raise NotSetUp("names are off", hint="`macnet names on`")
        return make_entry(self.tunnel.settings.name, names)

    # What is to be reached

    @cached_property
    def selected(self) -> tuple[Selected, ...]:
        """Which networks are routed, decided as setup does."""
        return list_selected(
            self.tunnel.settings,
            self.state,
            self.networks,
            self.interfaces,
            self.routes,
            chosen=self.tunnel.resolved.chosen,
            orbstack=self.tunnel.engine.address.orbstack,
        )

    @cached_property
    def taken(self) -> tuple[IPNetwork, ...]:
        """All ranges in use, by this machine, by Docker and by the tunnel."""
        return in_use(
            self.networks,
            self.selected,
            self.interfaces,
            self.routes,
            self.interface,
            self.own_subnets,
        )

    @cached_property
    def server(self) -> ServerRoutes | None:
        """What the server has in effect; None without a server."""
        return self.tunnel.helper.in_effect()

    @property
    def allowed(self) -> tuple[IPNetwork, ...]:
        """The subnets that the server lets through, as this machine sees them."""
        return self.server.subnets if self.server is not None else ()

    @property
    def announced(self) -> tuple[IPNetwork, ...]:
        """The routes that the client gets: from its profile, and pushed by the server."""
        pushed = self.server.pushed if self.server is not None else ()
        return (*parse_profile_routes(self.profile or ""), *pushed)

    @cached_property
    def subnets(self) -> tuple[Target, ...]:
        """The bridge of every subnet to reach; blocked where the tunnel does not carry it."""
        carried = [net for net in self.announced if covered(net, self.allowed)]
        return tuple(
            bridge
            if bridge.subnet is None or covered(bridge.subnet.route, carried)
            else replace(bridge, blocked=SUBNETS_CHECK)
            for bridge in survey.bridges(self.selected, carried)
        )

    @cached_property
    def route_diff(self) -> RouteDiff:
        """How this machine routes the carried subnets."""
        nets = [t.subnet.route for t in self.subnets if t.subnet is not None and not t.blocked]
        return compare_routes(nets, self.routes, self.interface or "")

    @cached_property
    def zone(self) -> Zone:
        """The names of all running containers; those that there would be, while names are off."""
        _ = self.engine  # one that did not answer is not asked again
        return find_zone(self.tunnel)

    @cached_property
    def places(self) -> Places:
        """Where the containers and networks are that a user may name."""
        names = self.state.names
        return Places(
            self.selected,
            (
                *self.engine.containers(everything=True),
                *list_elsewhere(self.engine, self.tunnel.settings.also),
            ),
            domain=names.domain if names is not None else None,
            find_zone=lambda: self.zone,
        )

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """What to try: what the user named, else every container; also what cannot be tried.

        Raises `macnet.errors.UnknownTarget`.
        """
        bridges, read = self._bridges, self.engine.exposed_ports
        if not self.requests:
            found = survey.containers(self.selected, bridges, read_ports=read)
        else:
            found = tuple(
                target
                for request in self.requests
                for target in self.places.place(request, bridges, read)
            )
        return survey.merge(found)

    @cached_property
    def _bridges(self) -> tuple[Target, ...]:
        """`subnets`, blocked also where they do not leave this machine by the tunnel."""
        present = set(self.route_diff.present)
        return tuple(
            bridge
            if bridge.blocked
            else replace(bridge, blocked=ROUTES_CHECK)
            if bridge.subnet is None or bridge.subnet.route not in present
            else replace(bridge, blocked=JOINER_CHECK)
            if bridge.network in self._not_joined
            else bridge
            for bridge in self.subnets
        )

    @cached_property
    def _not_joined(self) -> frozenset[str]:
        """The networks whose donor's namespace has no way into it."""
        donors = {
            item.network.name: item.network.further.donor
            for item in self.selected
            if item.network.further is not None and item.network.further.donor is not None
        }
        return frozenset(
            name for name, donor in donors.items() if self.why_not_joined(donor) is not None
        )

    def why_not_joined(self, donor: Donor) -> str | None:
        """Why the way through a donor does not work, None where it does."""
        joined = self.joined.get(donor.container_id)
        if joined is None:
            return f"no joiner runs in the namespace of {donor.container}"
        if joined.key != Joiner(joined.number, donor).key:
            return (
                f"{donor.container} has started again since, so its joiner is in a namespace that "
                "is gone; `macnet watch` would have followed"
            )
        if not joined.attached:
            return f"the relay has no lane into the namespace of {donor.container} yet"
        return None

    @property
    def bridges(self) -> tuple[Target, ...]:
        """The bridges on the way to the targets, or of every subnet where none was named."""
        if not self.requests:
            return self._bridges
        used = {target.home for target in self.targets if target.why_not is None}
        return tuple(bridge for bridge in self._bridges if bridge.home in used)

    @cached_property
    def answers(self) -> dict[Target, Answer]:
        """What came back, from bridges and targets, all tried at once."""
        found = survey.ask((*self.bridges, *self.targets), self.prober, timeout_s=self.timeout_s)
        return {answer.target: answer for answer in found}
