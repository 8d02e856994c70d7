"""Looks at both sides once, in few calls, and changes nothing: `observe` gives one `Observed`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from netaddr import IPNetwork

from macnet import donors, host, swarm
from macnet.carriers import Carrier
from macnet.choices import CarrierKind
from macnet.clients.base import Client, ClientState, ClientStatus
from macnet.engine import Engine, EngineInfo
from macnet.errors import EngineError, EngineUnreachable, StateError
from macnet.files import read_private
from macnet.helper import Helper, HelperStatus, ServerRoutes, helper_image_tag
from macnet.models import Interface, Network, PortOwner, Route, Subnet
from macnet.networks import Json, parse_networks, with_further
from macnet.paths import TunnelPaths
from macnet.pki import Pki, load_pki
from macnet.profile import parse_profile_routes
from macnet.progress import Progress
from macnet.routes import list_routes
from macnet.runner import CommandRunner
from macnet.state import TunnelState, Way, load_state
from macnet.values import AlsoRequest


@dataclass(frozen=True, slots=True)
class Host:
    """This machine's side of things; tests bring another one."""

    runner: CommandRunner
    system: str
    interfaces: Callable[[], tuple[Interface, ...]] = host.list_interfaces
    port_owner: Callable[[int], PortOwner | None] = host.find_port_owner

    def routes(self) -> tuple[Route, ...]:
        """The routing table."""
        return list_routes(self.runner, self.system)


@dataclass(frozen=True, slots=True)
class Observed:
    """The engine's side, this machine's side, and what macnet has stored, at one moment."""

    engine: EngineInfo
    networks: tuple[Network, ...]
    helper: HelperStatus
    #: What the server has in effect; None without a server.
    server: ServerRoutes | None
    image_tag: str
    image_exists: bool
    state: TunnelState
    home: str
    pki: Pki | None
    profile: str | None
    client: ClientStatus
    interfaces: tuple[Interface, ...]
    routes: tuple[Route, ...]
    port_owner: Callable[[int], PortOwner | None]
    way: Way
    #: Whether the engine is OrbStack's, which gives this machine a bridge for each network.
    orbstack: bool
    #: Whether ranges of the engine's host are asked for, and no relay runs that could tell them.
    untold: bool = False

    @property
    def allowed(self) -> tuple[IPNetwork, ...]:
        """The subnets that the server lets through, as this host sees them."""
        return self.server.subnets if self.server is not None else ()

    @property
    def profile_routes(self) -> tuple[IPNetwork, ...]:
        """The routes that the written profile carries."""
        return parse_profile_routes(self.profile) if self.profile else ()


def observe(
    *,
    engine: Engine,
    helper: Helper,
    client: Client | None,
    paths: TunnelPaths,
    base_image: str | None,
    also: AlsoRequest,
    host: Host,
    carrier: Carrier,
    progress: Progress,
    repair: bool,
) -> Observed:
    """Look at everything once; ``repair`` sets a damaged record aside.

    Without a ``client`` none is asked: macOS may hold such a question until a person consents.
    """
    tag = helper_image_tag(base_image)
    state = load_state(paths.state, progress, repair=repair)
    server = helper.in_effect()
    if state.tunnel_subnet is None and server is not None:
        # The record is lost, and we need the subnet to recognise our own interface.
        state = replace(state, tunnel_subnet=server.tunnel_subnet)
    rows, containers = engine.networks(), engine.containers()
    found = helper.status()
    if also or (server is not None and server.lanes) or helper.has_joiner(containers):
        found = replace(found, joiners=helper.joiners())
    networks = _networks(engine, helper, also, rows, containers)
    return Observed(
        engine=engine.info(),
        networks=_keep_untold(networks, server),
        helper=found,
        server=server,
        image_tag=tag,
        image_exists=engine.find_image(tag) is not None,
        state=state,
        home=paths.home,
        pki=load_pki_or_none(paths),
        profile=read_profile(paths),
        client=client.status() if client is not None else ClientStatus(ClientState.UNKNOWN),
        interfaces=host.interfaces(),
        routes=host.routes(),
        port_owner=_owner_of(host, carrier),
        way=carrier.way,
        orbstack=engine.address.orbstack,
        untold=any(map(is_untold, networks)),
    )


def _owner_of(host: Host, carrier: Carrier) -> Callable[[int], PortOwner | None]:
    """Who but the carrier holds a port that the tunnel may use here; nobody where it uses none."""

    def owner(port: int) -> PortOwner | None:
        if carrier.way.kind is CarrierKind.DIRECT or carrier.holds(port):
            return None
        return host.port_owner(port)

    return owner


def list_networks(engine: Engine, helper: Helper, also: AlsoRequest) -> tuple[Network, ...]:
    """Every network with its running containers, in two calls, and what ``also`` asks for."""
    return _networks(engine, helper, also, engine.networks(), engine.containers())


def _networks(
    engine: Engine,
    helper: Helper,
    also: AlsoRequest,
    rows: Sequence[Json],
    containers: Sequence[Json],
) -> tuple[Network, ...]:
    networks = parse_networks(rows, (*containers, *list_elsewhere(engine, also)))
    if not also:
        return networks
    routes = helper.host_routes() if also.ranges else None
    return with_further(networks, donors.find(also, rows, containers, engine, routes))


def is_untold(network: Network) -> bool:
    """Whether it is a range of the engine's host that only a running relay can tell."""
    return network.further is not None and network.further.reason == donors.NOT_TOLD


def _keep_untold(networks: tuple[Network, ...], server: ServerRoutes | None) -> tuple[Network, ...]:
    """The networks, and of such ranges what is in effect: a relay that has ended changes no route.

    What goes through a joiner is none of the host's, and Docker's networks are routed anyway.
    """
    if server is None:
        return networks
    real, through = dict(server.remaps), dict(server.lanes)
    docker = {s.cidr for network in networks if network.further is None for s in network.subnets}
    found = (real.get(seen, seen) for seen in server.subnets if seen not in through)
    known = [net for net in found if net not in docker]

    def kept(network: Network) -> Network:
        further = network.further
        if further is None or not is_untold(network):
            return network
        parts = tuple(net for net in known if any(net in whole for whole in further.subnets))
        if not parts:
            return network
        further = replace(further, subnets=parts, reason="")
        return replace(network, subnets=tuple(map(Subnet, parts)), further=further)

    return tuple(map(kept, networks))


def list_elsewhere(engine: Engine, also: AlsoRequest) -> tuple[Json, ...]:
    """The tasks of a swarm's other nodes, as rows beside those of the engine's own containers.

    None where the engine does not manage a swarm, or where that swarm has lost its leader.
    """
    if not also.overlays:
        return ()
    info = engine.info()
    if not info.manager:
        return ()
    try:
        return swarm.list_elsewhere(*engine.swarm(), here=info.node)
    except EngineUnreachable:
        raise
    except EngineError:
        return ()


def load_pki_or_none(paths: TunnelPaths) -> Pki | None:
    """The stored certificates; None if absent or damaged (setup sets damaged ones aside)."""
    try:
        return load_pki(paths.pki)
    except StateError:
        return None


def read_profile(paths: TunnelPaths) -> str | None:
    """The text of the written profile; None if there is none."""
    data = read_private(paths.profile)
    return None if data is None else data.decode(errors="replace")
