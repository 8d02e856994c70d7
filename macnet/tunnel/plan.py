"""Decides what the tunnel should be. Pure: facts and configuration in, a plan out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from netaddr import IPNetwork

from macnet.config import (
    DEFAULT_PORT,
    ClientChoice,
    Config,
    RoutesChoice,
)
from macnet.engine import Container
from macnet.errors import PortTaken
from macnet.helper.spec import LABEL_SPEC, SERVER_PORT, HelperRoutes, HelperSpec
from macnet.models import PortOwner
from macnet.networks import (
    Selected,
    routed_subnets,
)
from macnet.profile import Profile, render_profile
from macnet.remaps import free_range
from macnet.tunnel.conflicts import (
    CLASSIC_ROUTE,
    choose_subnets,
    host_ranges,
    pool_routes,
    present_interface,
    select,
)
from macnet.tunnel.facts import Facts
from macnet.tunnel.results import RouteChanges, diff_routes

#: The network that an engine without the default bridge gets for the server.
OWN_NETWORK = "macnet"
PortLookup = Callable[[int], PortOwner | None]


class Action(StrEnum):
    """What happens to a part."""

    KEEP = "keep"
    CREATE = "create"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Plan:
    """The wanted tunnel and how it differs from what there is."""

    port: int
    tunnel_subnet: IPNetwork
    relay_subnet: IPNetwork
    server_network: str
    networks: tuple[Selected, ...]
    #: The Docker subnets as this host sees them, and how they differ from before.
    subnets: tuple[IPNetwork, ...]
    routes: RouteChanges
    keys: Action
    image: Action
    image_tag: str
    server: Action
    relay: Action
    profile: Action
    profile_routes: tuple[IPNetwork, ...]
    pushed: tuple[IPNetwork, ...]
    connect: bool
    warnings: tuple[str, ...]

    @property
    def helper_routes(self) -> HelperRoutes:
        """What the server lets through, translates and pushes."""
        subnets = {s.cidr: s for item in self.networks for s in item.subnets}
        ordered = sorted(subnets, key=lambda net: (net.version, net.first, net.prefixlen))
        return HelperRoutes(
            subnets=tuple(ordered),
            pushed=self.pushed,
            remaps=tuple((seen, net) for net in ordered if (seen := subnets[net].seen) is not None),
        )

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        parts = (self.keys, self.image, self.server, self.relay, self.profile)
        return self.connect or any(part is not Action.KEEP for part in parts)


def plan_tunnel(
    config: Config,
    facts: Facts,
    port_owner: PortLookup,
    *,
    renew_keys: bool = False,
    keep_profile: bool = False,
) -> Plan:
    """Decide. Raises `PortTaken` or `SubnetConflict` where a value was asked for and collides.

    The profile is made anew only where it must be, as some clients ask for a password at each
    import: routes that it lacks are pushed by the server. ``keep_profile`` keeps it even if a
    route of it went away; the server then refuses what that route still brings.
    """
    tunnel_subnet, relay_subnet = choose_subnets(config, facts)
    selected = select(
        config,
        facts.networks,
        facts.interfaces,
        facts.routes,
        tunnel_subnet,
        relay_subnet,
        own=present_interface(facts),
    )
    subnets = routed_subnets(selected)
    routes = subnets
    if config.routes is RoutesChoice.POOLS:
        own = present_interface(facts)
        taken = host_ranges(facts.interfaces, facts.routes, own, ())
        reserved = (*taken, (tunnel_subnet, ""), (relay_subnet, ""))
        routes = pool_routes(facts.engine.pools, subnets, reserved)
    port, port_note = _choose_port(config, facts, port_owner)
    keys = _keys(facts, renew_keys)
    spec = None
    if keys is Action.KEEP and facts.pki is not None and facts.state.token is not None:
        spec = HelperSpec(
            name=config.name,
            image=facts.image_tag,
            port=port,
            tunnel_subnet=tunnel_subnet,
            relay_subnet=relay_subnet,
            tun_mtu=config.tun_mtu,
            comp_lzo=config.comp_lzo,
            token=facts.state.token,
            network=server_network(facts),
            pki_fingerprint=facts.pki.fingerprint,
        )
    profile = _profile_action(config, facts, port, keys)
    gone = set(facts.profile_routes) - set(routes)
    if profile is Action.KEEP and gone and not keep_profile:
        profile = Action.REPLACE
    profile_routes = facts.profile_routes if profile is Action.KEEP else routes
    manual = config.client is ClientChoice.NONE
    return Plan(
        port=port,
        tunnel_subnet=tunnel_subnet,
        relay_subnet=relay_subnet,
        server_network=server_network(facts),
        networks=selected,
        subnets=subnets,
        routes=diff_routes(facts.allowed or facts.profile_routes, subnets),
        keys=keys,
        image=Action.KEEP if facts.image_exists else Action.CREATE,
        image_tag=facts.image_tag,
        server=_container_action(facts.helper.server, spec),
        relay=_container_action(facts.helper.relay, spec),
        profile=profile,
        profile_routes=profile_routes,
        pushed=tuple(net for net in routes if net not in profile_routes),
        connect=not manual
        and (
            facts.client.state != "connected"
            or profile is not Action.KEEP
            or not facts.client_current
        ),
        warnings=tuple(
            filter(
                None,
                (
                    port_note,
                    _other_engine(facts),
                    *_left_out(selected, facts),
                    _classic(facts),
                ),
            )
        ),
    )


def _other_engine(facts: Facts) -> str | None:
    """What stays behind where the record is of another engine than this one."""
    if facts.state.engine in {None, facts.engine.id} or not facts.engine.id:
        return None
    return (
        "the last setup was on another engine, where its helper stays: `macnet down` with that "
        "engine's DOCKER_HOST removes it; --context gives each engine a tunnel of its own"
    )


def _keys(facts: Facts, renew: bool) -> Action:
    if facts.pki is None:
        return Action.CREATE
    return Action.REPLACE if renew else Action.KEEP


def _container_action(found: Container | None, spec: HelperSpec | None) -> Action:
    if found is None:
        return Action.CREATE
    current = spec is not None and found.labels.get(LABEL_SPEC) == spec.digest() and found.running
    return Action.KEEP if current else Action.REPLACE


def _profile_action(config: Config, facts: Facts, port: int, keys: Action) -> Action:
    """Whether the profile on disk still serves, whatever its routes are."""
    if facts.profile is None:
        return Action.CREATE
    if keys is not Action.KEEP or facts.pki is None:
        return Action.REPLACE
    routes = facts.profile_routes
    same = render_profile(Profile(port, routes, config.comp_lzo, config.tun_mtu, facts.pki))
    return Action.KEEP if same == facts.profile else Action.REPLACE


def _choose_port(config: Config, facts: Facts, port_owner: PortLookup) -> tuple[int, str | None]:
    """The wanted port, or the next free one. Our own server's port is free for us."""
    server = facts.helper.server
    ours = None
    if server is not None and server.running:
        ours = server.published.get(SERVER_PORT, ("", None))[1]
    wanted = config.port or facts.state.port or ours or DEFAULT_PORT
    owner = None if wanted == ours else port_owner(wanted)
    if owner is None:
        return wanted, None
    who = describe_owner(owner)
    if config.port is not None:
        raise PortTaken(
            f"port {wanted} on 127.0.0.1 is in use by {who}",
            hint="choose another with --port; with --port 0 macnet takes a free one",
        )
    free = next_free_port(wanted, port_owner)
    if free is None:
        raise PortTaken(
            f"ports {wanted} to {wanted + 99} on 127.0.0.1 are all in use",
            hint="choose one with --port",
        )
    return free, f"port {wanted} is in use by {who}; the tunnel uses {free}"


def next_free_port(port: int, port_owner: PortLookup) -> int | None:
    """The first of the 99 ports after ``port`` that nobody holds, None without one."""
    following = range(port + 1, min(port + 100, 65536))
    return next((p for p in following if port_owner(p) is None), None)


def describe_owner(owner: PortOwner) -> str:
    """ "redis-server (pid 42)", or what little is known."""
    if owner.pid is None:
        return "another program"
    return f"{owner.name or 'a program'} (pid {owner.pid})"


def server_network(facts: Facts) -> str:
    """The default bridge where there is one, else a network of our own.

    Never a network of the user's: while the server is on it, it could not be removed.
    """
    return "bridge" if any(n.name == "bridge" for n in facts.networks) else OWN_NETWORK


def _left_out(selected: Iterable[Selected], facts: Facts) -> Iterable[str]:
    """Each subnet that collides, and the two ways out as commands."""
    out = [(item.network.name, s, why) for item in selected for s, why in item.left_out]
    for name, subnet, why in out:
        yield f"{name} ({subnet.cidr}) is not routed: it overlaps {why}"
    if out:
        own = present_interface(facts)
        taken = [net for net, _ in host_ranges(facts.interfaces, facts.routes, own, ())]
        taken += [s.cidr for network in facts.networks for s in network.subnets]
        free = free_range(out[0][1].cidr, taken)
        yield (
            "`macnet setup --remap auto` reaches such networks under other addresses; or create "
            f"them anew where it is free, like `docker network create --subnet {free} NAME`"
        )


def _classic(facts: Facts) -> str | None:
    if any(route.destination == CLASSIC_ROUTE for route in facts.routes):
        return (
            "a docker-mac-network tunnel (route 172.16.0.0/12) is up as well; macnet works "
            "beside it, and it is no longer needed"
        )
    return None
