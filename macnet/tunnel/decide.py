"""Decides what the tunnel should be. Pure: what was observed and the settings in, a plan out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from netaddr import IPNetwork

from macnet.choices import ClientChoice, RoutesChoice
from macnet.donors import NOT_TOLD
from macnet.engine import Container
from macnet.errors import PortTaken
from macnet.helper.containers import is_current
from macnet.helper.spec import (
    SERVER_PORT,
    HelperRoutes,
    HelperSpec,
    Joiner,
    container_name,
)
from macnet.models import Interface, Network, PortOwner, Route
from macnet.networks import Selected, by_address, routed_subnets
from macnet.pki import Pki
from macnet.profile import Profile, render_profile
from macnet.remaps import kept_choices
from macnet.routes import compare_routes
from macnet.settings import Settings
from macnet.state import TunnelState, Way
from macnet.tunnel.conflicts import (
    choose_subnets,
    classic_route,
    host_ranges,
    in_use,
    kept_pairs,
    left_out,
    pool_routes,
    present_interface,
    present_subnets,
    select,
    tunnel_interface,
)
from macnet.tunnel.joiners import JoinersPlan, plan_joiners, reached
from macnet.tunnel.observe import Observed, is_untold
from macnet.tunnel.results import NamesPlan, RouteChanges, diff_routes
from macnet.values import (
    DEFAULT_PORT,
    DEFAULT_TUNNEL,
    Pairs,
    RemapRequest,
    exposed,
)

PortLookup = Callable[[int], PortOwner | None]


class Action(StrEnum):
    """What happens to a part."""

    KEEP = "keep"
    CREATE = "create"
    REPLACE = "replace"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Keys:
    """What both ends know each other by: certificates, and the token of server and relay."""

    pki: Pki
    token: str
    action: Action


@dataclass(frozen=True, slots=True)
class Plan:
    """The wanted tunnel, and how it differs from what was observed.

    ``spec``, ``server_routes`` and ``profile_text`` are the wanted tunnel itself. ``lacking``
    are pushed routes that the connected client does not have yet, ``stale`` routes of a profile
    that is kept although their network is gone.
    """

    spec: HelperSpec
    keys: Keys
    server_routes: HelperRoutes
    profile_text: str
    profile_routes: tuple[IPNetwork, ...]
    way: Way
    networks: tuple[Selected, ...]
    #: The Docker subnets as this host sees them, and how they differ from before.
    subnets: tuple[IPNetwork, ...]
    routes: RouteChanges
    #: The ranges that "auto" has chosen, for the record.
    remaps: Pairs
    image: Action
    server: Action
    relay: Action
    joiners: JoinersPlan
    profile: Action
    connect: bool
    lacking: tuple[IPNetwork, ...]
    stale: tuple[IPNetwork, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JoinerAction:
    """What would happen to a joiner; ``subnets`` are those that are reached through it."""

    name: str
    donor: str
    subnets: tuple[IPNetwork, ...]
    action: Action


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What setup would do, without anything secret: `macnet setup --dry-run`.

    ``publish`` is the address of the engine's machine at which the port is. ``disconnect`` are
    clients that were connected before and would be ended. ``names`` is what ``--names`` would
    do, None without it.
    """

    port: int
    tunnel_subnet: IPNetwork
    relay_subnet: IPNetwork
    server_network: str
    networks: tuple[Selected, ...]
    subnets: tuple[IPNetwork, ...]
    routes: RouteChanges
    keys: Action
    image: Action
    image_tag: str
    server: Action
    relay: Action
    joiners: tuple[JoinerAction, ...]
    profile: Action
    profile_routes: tuple[IPNetwork, ...]
    pushed: tuple[IPNetwork, ...]
    connect: bool
    publish: str
    disconnect: tuple[str, ...]
    warnings: tuple[str, ...]
    already_reachable: str | None = None
    names: NamesPlan | None = None

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        joiners = (one.action for one in self.joiners)
        parts = (self.keys, self.image, self.server, self.relay, self.profile, *joiners)
        some = self.connect or bool(self.disconnect) or self.routes.changed
        some |= any(p is not Action.KEEP for p in parts)
        some |= self.names is not None and self.names.changes
        return some and self.already_reachable is None


def not_told(plan: Plan) -> Iterator[str]:
    """What is decided only when a relay runs, a sentence each."""
    for item in plan.networks:
        if is_untold(item.network):
            yield f"{item.network.name}: {NOT_TOLD}"


def report_plan(
    plan: Plan, *, disconnect: tuple[str, ...], already_reachable: str | None
) -> PlanReport:
    """``plan`` for a person."""
    return PlanReport(
        port=plan.spec.port,
        tunnel_subnet=plan.spec.tunnel_subnet,
        relay_subnet=plan.spec.relay_subnet,
        server_network=plan.spec.network,
        networks=plan.networks,
        subnets=plan.subnets,
        routes=plan.routes,
        keys=plan.keys.action,
        image=plan.image,
        image_tag=plan.spec.image,
        server=plan.server,
        relay=plan.relay,
        joiners=_joiner_actions(plan),
        profile=plan.profile,
        profile_routes=plan.profile_routes,
        pushed=plan.server_routes.pushed,
        connect=plan.connect,
        publish=plan.spec.publish,
        disconnect=disconnect,
        warnings=(*plan.warnings, *not_told(plan)),
        already_reachable=already_reachable,
    )


def _joiner_actions(plan: Plan) -> tuple[JoinerAction, ...]:
    found = []
    for joiner in plan.joiners.wanted:
        through = tuple(net for net, one in plan.server_routes.lanes if one == joiner)
        action = Action.CREATE if joiner in plan.joiners.made else Action.KEEP
        name = container_name(plan.spec.name, joiner.role)
        found.append(JoinerAction(name, joiner.donor.container, through, action))
    found += [JoinerAction(one.name, "", (), Action.REMOVE) for one in plan.joiners.gone]
    return tuple(found)


def decide(
    settings: Settings,
    seen: Observed,
    keys: Keys,
    *,
    chosen: Pairs = (),
    keep_profile: bool = False,
) -> Plan:
    """Decide. Raises `PortTaken` or `SubnetConflict` where a value was asked for and collides.

    The profile is made anew only where it must be, as some clients ask for a password at each
    import: routes that it lacks are pushed by the server. ``keep_profile`` keeps it even if a
    route of it went away; the server then refuses what that route still brings. ``chosen`` are
    the ranges that ``--remap auto`` gave before.
    """
    tunnel_subnet, relay_subnet = choose_subnets(settings, seen)
    networks = select(
        settings,
        seen.networks,
        seen.interfaces,
        seen.routes,
        tunnel_subnet,
        relay_subnet,
        own=present_interface(seen),
        chosen=chosen,
        kept=kept_pairs(settings, seen.state),
        orbstack=seen.orbstack,
    )
    port, port_notes = _choose_port(settings, seen)
    spec = wanted_spec(
        settings,
        seen.networks,
        keys,
        image=seen.image_tag,
        port=port,
        tunnel_subnet=tunnel_subnet,
        relay_subnet=relay_subnet,
        way=seen.way,
        home=seen.home,
    )
    joiners = plan_joiners(spec, networks, seen.helper.joiners)
    networks = reached(networks, joiners.wanted)
    subnets = routed_subnets(networks)
    wanted = _client_routes(settings, seen, subnets, tunnel_subnet, relay_subnet)
    profile, profile_routes = _decide_profile(settings, seen, keys, port, wanted, keep_profile)
    pushed = tuple(net for net in wanted if net not in profile_routes)
    return Plan(
        spec=spec,
        keys=keys,
        server_routes=_server_routes(networks, pushed, joiners.wanted),
        profile_text=_render_profile(settings, seen.way, keys, port, profile_routes),
        profile_routes=profile_routes,
        way=seen.way,
        networks=networks,
        subnets=subnets,
        routes=diff_routes(seen.allowed or seen.profile_routes, subnets),
        remaps=kept_choices(settings.remap, networks, chosen),
        image=Action.KEEP if seen.image_exists else Action.CREATE,
        server=_container_action(seen.helper.server, spec),
        relay=_container_action(seen.helper.relay, spec),
        joiners=joiners,
        profile=profile,
        connect=settings.client is not ClientChoice.NONE
        and (
            seen.client.state != "connected"
            or profile is not Action.KEEP
            or not seen.client.current
        ),
        # Whether a client of the user's own takes pushed routes is theirs to say.
        lacking=_lacking(pushed, seen) if settings.client is not ClientChoice.NONE else (),
        stale=tuple(net for net in profile_routes if net not in wanted),
        warnings=(
            *port_notes,
            *_other_engine(seen),
            *_unmatched(settings, networks),
            *_not_reached(networks),
            *_left_out(networks, seen, (tunnel_subnet, relay_subnet), settings.remap),
            *_classic(seen),
        ),
    )


def list_selected(
    settings: Settings,
    state: TunnelState,
    networks: tuple[Network, ...],
    interfaces: tuple[Interface, ...],
    routes: tuple[Route, ...],
    *,
    chosen: Pairs = (),
    orbstack: bool = False,
) -> tuple[Selected, ...]:
    """Which networks are routed, for commands that only look: beside the tunnel as it is now."""
    return select(
        settings,
        networks,
        interfaces,
        routes,
        *present_subnets(settings, state),
        own=tunnel_interface(state, networks, interfaces, routes, (s for _, s in chosen)),
        chosen=chosen,
        kept=kept_pairs(settings, state),
        orbstack=orbstack,
    )


def wanted_spec(
    settings: Settings,
    networks: Iterable[Network],
    keys: Keys,
    *,
    image: str,
    port: int,
    tunnel_subnet: IPNetwork,
    relay_subnet: IPNetwork,
    way: Way,
    home: str,
) -> HelperSpec:
    """The helper that these settings want."""
    return HelperSpec(
        name=settings.name,
        image=image,
        port=port,
        tunnel_subnet=tunnel_subnet,
        relay_subnet=relay_subnet,
        tun_mtu=settings.tun_mtu,
        comp_lzo=settings.comp_lzo,
        token=keys.token,
        network=server_network(networks, settings.name),
        pki_fingerprint=keys.pki.fingerprint,
        home=home,
        publish=way.publish,
        foreign=way.machine is not None,
    )


def server_network(networks: Iterable[Network], tunnel: str) -> str:
    """The default bridge where there is one, else a network of the tunnel's own.

    Never a network of the user's: while the server is on it, it could not be removed.
    """
    return "bridge" if any(n.name == "bridge" for n in networks) else own_network(tunnel)


def own_network(tunnel: str) -> str:
    """The network that an engine without the default bridge gets for the server."""
    return tunnel if tunnel == DEFAULT_TUNNEL else f"{DEFAULT_TUNNEL}-{tunnel}"


def _server_routes(
    networks: Iterable[Selected], pushed: tuple[IPNetwork, ...], joiners: Iterable[Joiner]
) -> HelperRoutes:
    """What the server lets through, by which lane, translates and pushes."""
    networks = tuple(networks)
    by_donor = {joiner.donor: joiner for joiner in joiners}
    lanes = {
        subnet.cidr: by_donor[item.network.further.donor]
        for item in networks
        if item.network.further is not None and item.network.further.donor is not None
        for subnet in item.subnets
    }
    subnets = {s.cidr: s for item in networks for s in item.subnets}
    ordered = sorted(subnets, key=by_address)
    return HelperRoutes(
        subnets=tuple(ordered),
        pushed=pushed,
        remaps=tuple((seen, net) for net in ordered if (seen := subnets[net].seen) is not None),
        lanes=tuple((net, lanes[net]) for net in ordered if net in lanes),
    )


def _client_routes(
    settings: Settings,
    seen: Observed,
    subnets: tuple[IPNetwork, ...],
    tunnel_subnet: IPNetwork,
    relay_subnet: IPNetwork,
) -> tuple[IPNetwork, ...]:
    """What this host is to route into the tunnel."""
    if settings.routes is RoutesChoice.EXACT:
        return subnets
    taken = host_ranges(seen.interfaces, seen.routes, present_interface(seen), ())
    return pool_routes(
        seen.engine.pools, subnets, (*taken, (tunnel_subnet, ""), (relay_subnet, ""))
    )


def _render_profile(
    settings: Settings, way: Way, keys: Keys, port: int, routes: tuple[IPNetwork, ...]
) -> str:
    return render_profile(
        Profile(port, routes, settings.comp_lzo, settings.tun_mtu, keys.pki, way.remote)
    )


def _decide_profile(
    settings: Settings,
    seen: Observed,
    keys: Keys,
    port: int,
    wanted: tuple[IPNetwork, ...],
    keep_profile: bool,
) -> tuple[Action, tuple[IPNetwork, ...]]:
    """What happens to the profile, and the routes that it has then."""
    if seen.profile is None:
        return Action.CREATE, wanted
    if _render_profile(settings, seen.way, keys, port, seen.profile_routes) != seen.profile:
        return Action.REPLACE, wanted
    if set(seen.profile_routes) - set(wanted) and not keep_profile:
        return Action.REPLACE, wanted
    return Action.KEEP, seen.profile_routes


def _container_action(found: Container | None, spec: HelperSpec) -> Action:
    if found is None:
        return Action.CREATE
    return Action.KEEP if is_current(found, spec) else Action.REPLACE


def _lacking(pushed: tuple[IPNetwork, ...], seen: Observed) -> tuple[IPNetwork, ...]:
    """The pushed routes that are missing on this host although our interface is there.

    A route that another interface holds is no reason to connect again: that would not help.
    """
    own = present_interface(seen)
    return compare_routes(pushed, seen.routes, own).missing if own is not None else ()


# The port


def _choose_port(settings: Settings, seen: Observed) -> tuple[int, tuple[str, ...]]:
    """The wanted port, or the next free one. Our own server's port is free for us."""
    ours, before = _published_port(seen), present_port(seen)
    # A port that an option asked for once is not the automatic choice of later setups.
    automatic = None if _was_asked_for(seen.state) else before
    wanted = asked_port(settings) or automatic or DEFAULT_PORT
    owner = None if wanted == ours else seen.port_owner(wanted)
    if owner is None:
        moved = before is not None and before != wanted
        return wanted, (f"the tunnel moves from port {before} to {wanted}",) if moved else ()
    who = describe_owner(owner)
    if settings.port is not None:
        raise PortTaken(
            f"port {wanted} on 127.0.0.1 is in use by {who}",
            hint="`macnet setup --port 0` takes a free one",
        )
    free = next_free_port(wanted, seen.port_owner)
    if free is None:
        raise PortTaken(
            f"ports {wanted} to {wanted + 99} on 127.0.0.1 are all in use",
            hint="choose one with --port",
        )
    return free, (f"port {wanted} is in use by {who}; the tunnel uses {free}",)


def asked_port(settings: Settings) -> int | None:
    """The port that was asked for; None leaves it to macnet."""
    published = exposed(settings.expose)[1] if settings.expose else None
    return published or settings.port


def present_port(seen: Observed) -> int | None:
    """The port in the record, or of our running server where the record is lost.

    Not of a server that a setup has made and then failed: its record has a token and no port.
    """
    known = seen.state.port is not None or seen.state.token is not None
    return seen.state.port if known else _published_port(seen)


def _published_port(seen: Observed) -> int | None:
    server = seen.helper.server
    if server is None or not server.running:
        return None
    return server.published.get(SERVER_PORT, ("", None))[1]


def _was_asked_for(state: TunnelState) -> bool:
    """Whether the port in the record was a setting, and not macnet's own choice."""
    if state.settings is None:
        return bool(state.options.get("port"))
    port, expose = (state.settings.get(key, {}).get("value") for key in ("port", "expose"))
    # Without a port of its own an address is published on the one that macnet chooses.
    published = isinstance(expose, list) and any(":" in str(word) for word in expose)
    return bool(port) or published


def next_free_port(port: int, port_owner: PortLookup) -> int | None:
    """The first of the 99 ports after ``port`` that nobody holds, None without one."""
    following = range(port + 1, min(port + 100, 65536))
    return next((p for p in following if port_owner(p) is None), None)


def describe_owner(owner: PortOwner) -> str:
    """ "redis-server (pid 42)", or what little is known."""
    if owner.pid is None:
        return "another program"
    return f"{owner.name or 'a program'} (pid {owner.pid})"


def move_port(plan: Plan, settings: Settings, port: int) -> Plan:
    """``plan`` on another port, where the engine cannot publish the planned one."""
    return replace(
        plan,
        spec=replace(plan.spec, port=port),
        profile_text=_render_profile(settings, plan.way, plan.keys, port, plan.profile_routes),
    )


# What is worth a warning


def is_other_engine(seen: Observed) -> bool:
    """Whether the record is of another engine than this one."""
    return bool(seen.engine.id) and seen.state.engine not in {None, seen.engine.id}


def _other_engine(seen: Observed) -> Iterator[str]:
    """What stays behind where the record is of another engine than this one."""
    if is_other_engine(seen):
        yield (
            "the last setup was on another engine, where its helper stays: `macnet down` with "
            "that engine's DOCKER_HOST removes it; --context gives each engine a tunnel of its own"
        )


def _unmatched(settings: Settings, networks: Iterable[Selected]) -> Iterator[str]:
    """A filter that leaves nothing over."""
    if settings.networks != ("*",) and not any(item.routed for item in networks):
        asked = ", ".join(settings.networks)
        yield f"no network is routed: --network {asked} matches none; --network '*' routes all"


def _not_reached(networks: Iterable[Selected]) -> Iterator[str]:
    """What ``--also`` asks for and cannot have, each with its reason."""
    for item in networks:
        further = item.network.further
        if further is None or item.routed or item.left_out or is_untold(item.network):
            continue
        yield f"{item.network.name} is not reached: {item.reason}"


def _left_out(
    networks: tuple[Selected, ...],
    seen: Observed,
    ours: tuple[IPNetwork, ...],
    remap: RemapRequest,
) -> Iterator[str]:
    own = present_interface(seen)
    taken = in_use(seen.networks, networks, seen.interfaces, seen.routes, own, ours)
    return left_out(networks, taken, remap)


def _classic(seen: Observed) -> Iterator[str]:
    found = classic_route(seen.routes, seen.interfaces, present_interface(seen))
    if found is not None:
        yield (
            f"a docker-mac-network tunnel is up as well ({found.destination}, {found.interface}); "
            "macnet's routes go before it, so you can disconnect it in its VPN client"
        )
