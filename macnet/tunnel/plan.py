"""Decides what the tunnel should be. Pure: facts and configuration in, a plan out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from netaddr import IPAddress, IPNetwork

from macnet.config import (
    DEFAULT_PORT,
    DEFAULT_RELAY_SUBNET,
    DEFAULT_TUNNEL_SUBNET,
    ClientChoice,
    Config,
)
from macnet.engine import Container
from macnet.errors import PortTaken, SubnetConflict
from macnet.helper.spec import LABEL_SPEC, SERVER_PORT, HelperSpec, client_address, tunnel_subnet6
from macnet.models import Interface, Network, PortOwner, Route
from macnet.networks import (
    Selected,
    find_free_subnet,
    overlap,
    routed_subnets,
    select_networks,
)
from macnet.profile import Profile, render_profile
from macnet.tunnel.facts import Facts
from macnet.tunnel.results import RouteChanges, diff_routes

#: The network that an engine without the default bridge gets for the server.
OWN_NETWORK = "macnet"
#: The route of the classic docker-mac-network profile. It is wider than any Docker subnet, so
#: macnet's own routes win beside it, and it is no reason to leave a network out.
CLASSIC_ROUTE = IPNetwork("172.16.0.0/12")

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
    subnets: tuple[IPNetwork, ...]
    routes: RouteChanges
    keys: Action
    image: Action
    image_tag: str
    server: Action
    relay: Action
    profile: Action
    connect: bool
    warnings: tuple[str, ...]

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        parts = (self.keys, self.image, self.server, self.relay, self.profile)
        return self.connect or any(part is not Action.KEEP for part in parts)


def plan_tunnel(
    config: Config, facts: Facts, port_owner: PortLookup, *, renew_keys: bool = False
) -> Plan:
    """Decide. Raises `PortTaken` or `SubnetConflict` where a value was asked for and collides."""
    tunnel_subnet, relay_subnet = _choose_subnets(config, facts)
    selected = select(
        config, facts.networks, facts.interfaces, facts.routes, tunnel_subnet, relay_subnet
    )
    subnets = routed_subnets(selected)
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
    profile = _profile_action(config, facts, port, subnets, keys)
    manual = config.client is ClientChoice.NONE
    return Plan(
        port=port,
        tunnel_subnet=tunnel_subnet,
        relay_subnet=relay_subnet,
        server_network=server_network(facts),
        networks=selected,
        subnets=subnets,
        routes=diff_routes(facts.profile_routes, subnets),
        keys=keys,
        image=Action.KEEP if facts.image_exists else Action.CREATE,
        image_tag=facts.image_tag,
        server=_container_action(facts.helper.server, spec),
        relay=_container_action(facts.helper.relay, spec),
        profile=profile,
        connect=not manual
        and (
            facts.client.state != "connected"
            or profile is not Action.KEEP
            or not facts.client_current
        ),
        warnings=tuple(filter(None, (port_note, *_left_out(selected), _classic(facts)))),
    )


def select(
    config: Config,
    networks: tuple[Network, ...],
    interfaces: tuple[Interface, ...],
    routes: tuple[Route, ...],
    tunnel_subnet: IPNetwork,
    relay_subnet: IPNetwork,
) -> tuple[Selected, ...]:
    """Which networks are routed, beside what this host and the tunnel use themselves."""
    own = own_interface(interfaces, tunnel_subnet)
    here = bridges_here(networks, interfaces)
    return select_networks(
        networks,
        include=config.networks,
        exclude=config.exclude,
        reserved=(
            (tunnel_subnet, "the tunnel's own subnet"),
            (tunnel_subnet6(tunnel_subnet), "the tunnel's own IPv6 prefix"),
            (relay_subnet, "the relay's link"),
            *host_ranges(interfaces, routes, own, here),
        ),
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


def _profile_action(
    config: Config, facts: Facts, port: int, subnets: tuple[IPNetwork, ...], keys: Action
) -> Action:
    if facts.profile is None:
        return Action.CREATE
    if keys is not Action.KEEP or facts.pki is None:
        return Action.REPLACE
    wanted = render_profile(Profile(port, subnets, config.comp_lzo, config.tun_mtu, facts.pki))
    return Action.KEEP if wanted == facts.profile else Action.REPLACE


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
            hint="choose another with --port, or leave it out: macnet then takes a free one",
        )
    free = next((p for p in range(wanted + 1, wanted + 100) if port_owner(p) is None), None)
    if free is None:
        raise PortTaken(
            f"ports {wanted} to {wanted + 99} on 127.0.0.1 are all in use",
            hint="choose one with --port",
        )
    return free, f"port {wanted} is in use by {who}; the tunnel uses {free}"


def describe_owner(owner: PortOwner) -> str:
    """ "redis-server (pid 42)", or what little is known."""
    if owner.pid is None:
        return "another program"
    return f"{owner.name or 'a program'} (pid {owner.pid})"


def _choose_subnets(config: Config, facts: Facts) -> tuple[IPNetwork, IPNetwork]:
    """The tunnel's subnet and the relay's link, moved away from whatever else is in use."""
    own = own_interface(facts.interfaces, facts.state.tunnel_subnet)
    docker = [
        (subnet.cidr, f"Docker's network {network.name} ({subnet.cidr})")
        for network in facts.networks
        for subnet in network.subnets
    ]
    used = [*docker, *host_ranges(facts.interfaces, facts.routes, own, ())]
    taken = [net for net, _ in used]
    tunnel = config.tunnel_subnet
    if tunnel is None:
        tunnel = _free(facts.state.tunnel_subnet or DEFAULT_TUNNEL_SUBNET, taken, "tunnel")
    elif (owner := next((who for net, who in used if overlap(tunnel, net)), None)) is not None:
        raise SubnetConflict(
            f"the tunnel subnet {tunnel} overlaps {owner}",
            hint="give a free one with --tunnel-subnet, or leave it out",
        )
    relay = _free(facts.state.relay_subnet or DEFAULT_RELAY_SUBNET, [*taken, tunnel], "relay")
    return tunnel, relay


def _free(wanted: IPNetwork, taken: Iterable[IPNetwork], what: str) -> IPNetwork:
    found = find_free_subnet(wanted, taken)
    if found is None:
        raise SubnetConflict(
            f"no free subnet of size /{wanted.prefixlen} is left for the {what}",
            hint="give one with --tunnel-subnet",
        )
    return found


def own_interface(interfaces: Iterable[Interface], tunnel: IPNetwork | None) -> str | None:
    """The interface of our own tunnel: the one that holds the client's address."""
    if tunnel is None:
        return None
    wanted = client_address(tunnel)
    return next(
        (i.name for i in interfaces if any(net.ip == wanted for net in i.addresses)),
        None,
    )


def bridges_here(networks: Iterable[Network], interfaces: Iterable[Interface]) -> tuple[str, ...]:
    """Interfaces of this host that are the engine's own bridges: they hold a gateway address."""
    gateways: set[IPAddress] = {
        s.gateway for network in networks for s in network.subnets if s.gateway is not None
    }
    return tuple(i.name for i in interfaces if any(net.ip in gateways for net in i.addresses))


def host_ranges(
    interfaces: Iterable[Interface],
    routes: Iterable[Route],
    own: str | None,
    skip: Iterable[str],
) -> tuple[tuple[IPNetwork, str], ...]:
    """What this host uses itself: its interfaces' networks and its routes, with whose they are.

    Left out: loopback, link-local, our own tunnel, ``skip``, a default route and the halves
    ``0/1`` and ``128/1`` with which a VPN overrides it: more specific routes go beside those.
    """
    passed = {own, *skip}
    found: dict[IPNetwork, str] = {}
    for interface in interfaces:
        if interface.name in passed or not interface.up:
            continue
        for net in interface.addresses:
            if not (net.ip.is_loopback() or net.ip.is_link_local()):
                found.setdefault(net.cidr, f"the network of {interface.name}")
    for route in routes:
        net = route.destination
        special = net.ip.is_loopback() or net.ip.is_link_local() or net.ip.is_multicast()
        if route.interface in passed or route.scoped or special or net.prefixlen <= 1:
            continue
        if net != CLASSIC_ROUTE:
            found.setdefault(net, f"a route through {route.interface}")
    return tuple(found.items())


def server_network(facts: Facts) -> str:
    """The default bridge where there is one, else a network of our own.

    Never a network of the user's: while the server is on it, it could not be removed.
    """
    return "bridge" if any(n.name == "bridge" for n in facts.networks) else OWN_NETWORK


def _left_out(selected: Iterable[Selected]) -> Iterable[str]:
    for item in selected:
        for subnet, why in item.left_out:
            yield f"{item.network.name} ({subnet.cidr}) is not routed: it overlaps {why}"


def _classic(facts: Facts) -> str | None:
    if any(route.destination == CLASSIC_ROUTE for route in facts.routes):
        return (
            "a docker-mac-network tunnel (route 172.16.0.0/12) is up as well; macnet works "
            "beside it, and it is no longer needed"
        )
    return None
