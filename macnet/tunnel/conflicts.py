"""Who else uses addresses: this host, Docker, the tunnel itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from netaddr import IPAddress, IPNetwork, IPSet

from macnet.config import DEFAULT_RELAY_SUBNET, DEFAULT_TUNNEL_SUBNET, Config
from macnet.errors import SubnetConflict
from macnet.helper.spec import client_address, tunnel_subnet6
from macnet.models import Interface, Network, Route
from macnet.networks import Selected, find_free_subnet, merge_subnets, overlap, select_networks
from macnet.remaps import remap_networks
from macnet.tunnel.facts import Facts

#: The route of the classic docker-mac-network profile. It is wider than any Docker subnet, so
#: macnet's own routes win beside it, and it is no reason to leave a network out.
CLASSIC_ROUTE = IPNetwork("172.16.0.0/12")


def select(
    config: Config,
    networks: tuple[Network, ...],
    interfaces: tuple[Interface, ...],
    routes: tuple[Route, ...],
    tunnel_subnet: IPNetwork,
    relay_subnet: IPNetwork,
    *,
    own: str | None = None,
) -> tuple[Selected, ...]:
    """Which networks are routed, beside what this host and the tunnel use themselves.

    ``own`` is the tunnel's interface, where that does not hold an address of ``tunnel_subnet``
    yet.
    """
    own = own or own_interface(interfaces, tunnel_subnet)
    here = bridges_here(networks, interfaces)
    reserved = (
        (tunnel_subnet, "the tunnel's own subnet"),
        (tunnel_subnet6(tunnel_subnet), "the tunnel's own IPv6 prefix"),
        (relay_subnet, "the relay's link"),
        *host_ranges(interfaces, routes, own, here),
    )
    selected = select_networks(
        networks, include=config.networks, exclude=config.exclude, reserved=reserved
    )
    return remap_networks(selected, config.remap, reserved)


def pool_routes(
    pools: Iterable[IPNetwork],
    subnets: Iterable[IPNetwork],
    reserved: Iterable[tuple[IPNetwork, str]],
) -> tuple[IPNetwork, ...]:
    """The engine's pools less what this host uses itself, and the subnets outside of them.

    A network that the engine makes from its pools later is then routed already.
    """
    free = IPSet(pools) - IPSet([net for net, _ in reserved])
    return merge_subnets((*free.iter_cidrs(), *subnets))


def choose_subnets(config: Config, facts: Facts) -> tuple[IPNetwork, IPNetwork]:
    """The tunnel's subnet and the relay's link, moved away from whatever else is in use."""
    own = present_interface(facts)
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


def present_interface(facts: Facts) -> str | None:
    """`own_interface`, also while the client has not followed the tunnel to a new subnet."""
    chosen = (facts.state.tunnel_subnet, facts.state.moved_from)
    return next((own for net in chosen if (own := own_interface(facts.interfaces, net))), None)


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
