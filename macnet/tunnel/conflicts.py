"""Who else uses addresses: this host, Docker, the tunnel itself. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from netaddr import IPAddress, IPNetwork, IPSet

from macnet.errors import SubnetConflict
from macnet.helper.spec import client_address, client_address6, tunnel_subnet6
from macnet.models import Interface, Network, Route
from macnet.networks import (
    Selected,
    find_free_subnet,
    label,
    merge_subnets,
    overlap,
    select_networks,
    why_never,
)
from macnet.remaps import free_range, remap_networks
from macnet.routes import default_pieces
from macnet.settings import Settings
from macnet.state import TunnelState
from macnet.tunnel.observe import Observed
from macnet.values import (
    DEFAULT_RELAY_SUBNET,
    DEFAULT_TUNNEL_SUBNET,
    NO_REMAP,
    Pairs,
    RemapRequest,
    pair_words,
)

#: The route of the classic docker-mac-network profile, and the subnet of its server. The route is
#: wider than most Docker subnets, so macnet's own routes win beside it.
CLASSIC_ROUTE = IPNetwork("172.16.0.0/12")
_CLASSIC_SUBNET = IPNetwork("192.168.255.0/24")
#: The size of a network that fits beside almost anything.
_SMALL_PREFIX = {4: 24, 6: 64}
#: How macOS calls a bridge, and how Podman does, whose API does not tell.
_MAC_BRIDGE, _PODMAN_BRIDGE = re.compile(r"bridge\d+"), re.compile(r"podman\d+")
#: What macnet itself uses, in words.
_OURS = ("the tunnel's own subnet", "the tunnel's own IPv6 prefix", "the relay's link")
_BROADCAST = IPNetwork("255.255.255.255/32")
#: How systems call the interfaces of VPNs.
_VPN = re.compile(r"(utun|tun|tap|ppp|ipsec|wg)\d+")


def select(
    settings: Settings,
    networks: tuple[Network, ...],
    interfaces: tuple[Interface, ...],
    routes: tuple[Route, ...],
    tunnel_subnet: IPNetwork,
    relay_subnet: IPNetwork,
    *,
    own: str | None = None,
    chosen: Pairs = (),
    kept: Pairs = (),
    orbstack: bool = False,
) -> tuple[Selected, ...]:
    """Which networks are routed, beside what this host and the tunnel use themselves.

    ``own`` is the tunnel's interface, where that does not hold an address of ``tunnel_subnet``
    yet; ``chosen`` are the ranges that "auto" gave before, and ``kept`` the pairs of an earlier
    setup. ``orbstack`` tells whether the engine is OrbStack's.
    """
    own = own or own_interface(interfaces, tunnel_subnet)
    here = bridges_here(networks, interfaces, orbstack=orbstack)
    ours = (tunnel_subnet, tunnel_subnet6(tunnel_subnet), relay_subnet)
    reserved = tuple(zip(ours, _OURS, strict=True))
    host = host_ranges(interfaces, routes, own, here)
    selected = select_networks(
        networks, include=settings.networks, exclude=settings.exclude, reserved=(*reserved, *host)
    )
    return remap_networks(
        selected,
        settings.remap,
        reserved,
        host=host,
        # Beside a network that this host is on, a more specific route would cut off its hosts.
        passable={net for net, _ in host} - {n.cidr for i in interfaces for n in i.addresses},
        chosen=chosen,
        kept=kept,
    )


def kept_pairs(settings: Settings, state: TunnelState) -> Pairs:
    """The pairs of ``--remap`` that an earlier setup has recorded.

    What comes into their way later must not end watch, regenerate or setup.
    """
    before = (state.settings or {}).get("remap", {}).get("value") or state.options.get("remap")
    words = before if isinstance(before, list) else []
    return tuple((real, seen) for real, seen in settings.remap.pairs if f"{real}={seen}" in words)


def present_subnets(settings: Settings, state: TunnelState) -> tuple[IPNetwork, IPNetwork]:
    """The tunnel's subnet and the relay's link as they are, or as the first setup wants them."""
    return (
        state.tunnel_subnet or settings.tunnel_subnet or DEFAULT_TUNNEL_SUBNET,
        state.relay_subnet or DEFAULT_RELAY_SUBNET,
    )


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


def choose_subnets(settings: Settings, facts: Observed) -> tuple[IPNetwork, IPNetwork]:
    """The tunnel's subnet and the relay's link, moved away from whatever else is in use.

    Only server and relay see the relay's link, so it avoids Docker's subnets and the tunnel and
    nothing of this host's. The tunnel's subnet avoids this host's networks and routes too; where
    no range is free it lies inside the range of a wider route, as the longer prefix wins. That
    holds for a subnet that was asked for or is in use: a VPN that comes later moves no tunnel.
    One that was asked for and is in use goes beside a wider network too: an error would end
    watch, regenerate and setup for as long as that VPN is up.
    """
    own = present_interface(facts)
    docker = [
        (subnet.cidr, f"{_whose(network)}{label(network, subnet)}")
        for network in facts.networks
        if why_never(network) is None
        for subnet in network.subnets
    ]
    used = [*docker, *host_ranges(facts.interfaces, facts.routes, own, ())]
    in_use = facts.state.tunnel_subnet
    wanted = settings.tunnel_subnet or in_use or DEFAULT_TUNNEL_SUBNET
    # What a tunnel cannot lie in: all but routes that are wider than it.
    fixed = {net for net, _ in docker}
    if settings.tunnel_subnet is None or wanted != in_use:
        fixed |= {n.cidr for i in facts.interfaces for n in i.addresses}
    firm = [(net, who) for net, who in used if net in fixed or net.prefixlen >= wanted.prefixlen]
    owner = next((who for net, who in firm if overlap(wanted, net)), None)
    if settings.tunnel_subnet is None and (owner is not None or in_use is None):
        tunnel = find_free_subnet(wanted, [net for net, _ in used])
        tunnel = tunnel or find_free_subnet(wanted, [net for net, _ in firm])
        if tunnel is None:
            raise _no_room(wanted, "tunnel", facts.networks)
    elif owner is not None:
        free = find_free_subnet(wanted, [net for net, _ in used])
        asked = "" if free is None else f"`macnet setup --tunnel-subnet {free}` takes a free one, "
        raise SubnetConflict(
            f"the tunnel subnet {wanted} overlaps {owner}",
            hint=f"{asked}`macnet setup --unset tunnel-subnet` leaves the choice to macnet",
        )
    else:
        tunnel = wanted
    link = facts.state.relay_subnet or DEFAULT_RELAY_SUBNET
    relay = find_free_subnet(link, [*(net for net, _ in docker), tunnel])
    if relay is None:
        raise _no_room(link, "relay", facts.networks)
    return tunnel, relay


def _whose(network: Network) -> str:
    return "" if network.further is not None else "Docker's network "


def _no_room(wanted: IPNetwork, what: str, networks: Iterable[Network]) -> SubnetConflict:
    """The error where all private ranges are in use; Docker's largest network has room to give."""
    sizes = [
        (subnet.cidr.size, network.name, subnet.cidr)
        for network in networks
        if why_never(network) is None and network.further is None
        for subnet in network.subnets
        if subnet.cidr.version == 4
    ]
    hint = "this host and Docker's networks use all private ranges: "
    _, name, cidr = max(sizes, default=(0, "", wanted))
    half = IPNetwork((cidr.first, min(cidr.prefixlen + 1, 30)), version=4)
    return SubnetConflict(
        f"no free subnet of size /{wanted.prefixlen} is left for the {what}",
        hint=f"{hint}make the largest smaller, with `docker network rm {name}` and "
        f"`docker network create --subnet {half} {name}`",
    )


def left_out(
    networks: Iterable[Selected], taken: Iterable[IPNetwork], remap: RemapRequest = NO_REMAP
) -> Iterator[str]:
    """Each cause for which subnets are left out, with them and the next command: a sentence.

    ``remap`` is what is asked for already; the command in the sentence keeps it.
    """
    taken = [*taken]
    told: dict[tuple[str, str], list[str]] = {}
    for item in networks:
        for subnet, why in item.left_out:
            key = (why, fix_of(subnet.cidr, why, taken, remap))
            told.setdefault(key, []).append(label(item.network, subnet))
    for (why, fix), names in told.items():
        many = len(names) > 1
        these = f"{', '.join(names)} {'are' if many else 'is'} not routed"
        yield (
            f"{these}: {'they overlap' if many else 'it overlaps'} {why}; "
            f"{fix.format(them='them' if many else 'it')}"
        )


def in_use(
    networks: Iterable[Network],
    selected: Iterable[Selected],
    interfaces: Iterable[Interface],
    routes: Iterable[Route],
    own: str | None,
    ours: Iterable[IPNetwork | None],
) -> tuple[IPNetwork, ...]:
    """All ranges in use: by this host, by Docker, by remaps, and by the tunnel (``ours``)."""
    return (
        *(net for net, _ in host_ranges(interfaces, routes, own, ())),
        *(s.cidr for network in networks for s in network.subnets),
        *(s.route for item in selected for s in item.subnets),
        *(net for net in ours if net is not None),
    )


def fix_of(
    subnet: IPNetwork, why: str, taken: Iterable[IPNetwork], remap: RemapRequest = NO_REMAP
) -> str:
    """What to do about a Docker subnet that is left out, as commands that can be run.

    ``taken`` are the ranges in use, by this host and by Docker. ``{them}`` stands for the network.
    ``remap`` is what is asked for already: an option of setup replaces all of it.
    """
    if why in _OURS:
        return "`macnet regenerate` moves the tunnel to other addresses"
    taken = [*taken]
    if free_range(subnet, taken) is not None:
        words = " ".join(f"--remap {word}" for word in ("auto", *pair_words(remap.pairs)))
        return f"`macnet setup {words}` reaches {{them}} under other addresses"
    prefix = max(subnet.prefixlen, _SMALL_PREFIX[subnet.version])
    small = free_range(IPNetwork((subnet.first, prefix), version=subnet.version), taken)
    if small is not None:
        return (
            "no range as large is free, and a smaller network would be reached: "
            f"`docker network create --subnet {small} NAME`"
        )
    return "no private range is free: end what has the addresses, then run `macnet setup` again"


def strangers(
    networks: Iterable[Selected],
    answering: Sequence[IPAddress],
    taken: Iterable[IPNetwork],
    remap: RemapRequest,
) -> Iterator[str]:
    """A sentence where other hosts answer at addresses of containers (``answering``).

    ``remap`` is what is asked for already; the command in the sentence keeps it.
    """
    taken, words = [*taken], [*remap.words]
    for subnet in (subnet for item in networks for subnet in item.subnets):
        if not any(address in subnet.route for address in answering):
            continue
        if (free := free_range(subnet.cidr, taken)) is not None:
            taken.append(free)
            words = [word for word in words if not word.startswith(f"{subnet.cidr}=")]
            words.append(f"{subnet.cidr}={free}")
    where = ", ".join(map(str, answering))
    options = " ".join(f"--remap {word}" for word in words)
    fix = f": `macnet setup {options}` reaches both" if words else ""
    up = "now, and while the tunnel is up the container"
    if len(answering) == 1:
        yield f"another host answers at {where} {up} has that address{fix}"
    elif answering:
        yield f"other hosts answer at {where} {up}s have these addresses{fix}"


def classic_route(
    routes: Iterable[Route], interfaces: Iterable[Interface], own: str | None
) -> Route | None:
    """The route of a docker-mac-network tunnel that is up, None without one.

    Company VPNs route 172.16.0.0/12 as well. The classic tunnel is known by its server's subnet,
    192.168.255.0/24: the gateway is in it, or the interface has an address in it.
    """
    holders = {
        i.name for i in interfaces if any(net.ip in _CLASSIC_SUBNET for net in i.addresses)
    } - {own}
    for route in routes:
        if route.destination != CLASSIC_ROUTE or route.interface == own:
            continue
        if route.interface in holders or (
            route.gateway is not None and route.gateway in _CLASSIC_SUBNET
        ):
            return route
    return None


def own_interface(interfaces: Iterable[Interface], tunnel: IPNetwork | None) -> str | None:
    """The interface of our own tunnel: the one that holds the client's addresses.

    Another VPN may hold the same IPv4 address. Ours has an IPv6 address of the tunnel's own
    prefix too, unless the engine or this host has no IPv6.
    """
    holders = _holders(interfaces, tunnel)
    return next((name for name, sure in holders if sure), holders[0][0] if holders else None)


def _holders(interfaces: Iterable[Interface], tunnel: IPNetwork | None) -> list[tuple[str, bool]]:
    """The interfaces with the client's IPv4 address, and whether each has the IPv6 one."""
    if tunnel is None:
        return []
    wanted, wanted6 = client_address(tunnel), client_address6(tunnel)
    held = [(i.name, {net.ip for net in i.addresses}) for i in interfaces]
    return [(name, wanted6 in addresses) for name, addresses in held if wanted in addresses]


def present_interface(seen: Observed) -> str | None:
    """`tunnel_interface` of what was observed."""
    routed = (*seen.allowed, *seen.profile_routes)
    return tunnel_interface(seen.state, seen.networks, seen.interfaces, seen.routes, routed)


def tunnel_interface(
    state: TunnelState,
    networks: Iterable[Network],
    interfaces: Sequence[Interface],
    routes: Iterable[Route],
    routed: Iterable[IPNetwork] = (),
) -> str | None:
    """`own_interface`, also while the client has not followed the tunnel to a new subnet.

    An interface without the tunnel's IPv6 address counts where it has a route to one of
    Docker's subnets, or to one of ``routed``, what the server lets through and the client's
    profile has. Another VPN that uses the same subnet has not. Where nothing is routed ours has
    no route beyond its own subnet, as another VPN would have.
    """
    routes, routed = tuple(routes), {*routed}
    wanted = {subnet.cidr for network in networks for subnet in network.subnets} | routed
    carrying = {route.interface for route in routes if route.destination in wanted}
    for net in (state.tunnel_subnet, state.moved_from):
        holders = _holders(interfaces, net)
        sure = [name for name, ours in holders if ours]
        likely = [
            name
            for name, _ in holders
            if name in carrying or not (routed or name in _going_beyond(net, routes))
        ]
        if sure or likely:
            return (sure or likely)[0]
    return None


def _going_beyond(tunnel: IPNetwork | None, routes: Iterable[Route]) -> set[str]:
    """The interfaces with a route to something of IPv4 that is not in the tunnel's subnet."""
    found = [(r.interface, r.destination) for r in routes if not _special(r)]
    return {name for name, net in found if net.version == 4 and (not tunnel or net not in tunnel)}


def bridges_here(
    networks: Iterable[Network], interfaces: Iterable[Interface], *, orbstack: bool = False
) -> tuple[str, ...]:
    """Interfaces by which this host itself is on Docker's networks.

    On Linux these are the engine's own bridges, known by name and gateway. On a Mac OrbStack
    makes a ``bridge101`` for each network, with the same subnet and an address that is not the
    gateway's. An equal subnet or address alone proves nothing: macOS gives its first bridge of
    VMs 192.168.64.1/24. So a bridge of macOS counts where the engine is OrbStack's, or where
    there are several and each network that has containers has one, as `find_direct_way` wants it.
    """
    known = tuple(network for network in networks if network.bridge is not None)
    interfaces = tuple(interfaces)
    bridges = {
        (network.bridge, s.gateway)
        for network in known
        for s in network.subnets
        if s.gateway is not None
    }
    gateways = {gateway for _, gateway in bridges}
    of_mac = _bridges_of_orbstack(known, interfaces, sure=orbstack)
    return tuple(
        i.name
        for i in interfaces
        if i.name in of_mac
        or any(
            (i.name, net.ip) in bridges or (_PODMAN_BRIDGE.fullmatch(i.name) and net.ip in gateways)
            for net in i.addresses
        )
    )


def _bridges_of_orbstack(
    networks: Iterable[Network], interfaces: Iterable[Interface], *, sure: bool
) -> set[str]:
    """The bridges of macOS that are OrbStack's; where that is not ``sure``, only with proof."""
    bridges = [i for i in interfaces if _MAC_BRIDGE.fullmatch(i.name)]
    found: set[str] = set()
    each = True
    for network in networks:
        here = {
            i.name
            for i in bridges
            for net in i.addresses
            for s in network.subnets
            if net.cidr == s.cidr and net.ip != s.gateway
        }
        if not here and any(a.version == 4 for e in network.endpoints for a in e.addresses):
            each = False
        found |= here
    return found if sure or (each and len(found) > 1) else set()


def _special(route: Route) -> bool:
    """Whether a route leads to no host elsewhere, or ordinary sockets do not use it."""
    net = route.destination
    own = net.ip.is_loopback() or net.ip.is_link_local() or net.ip.is_multicast()
    return route.scoped or own or net == _BROADCAST


def host_ranges(
    interfaces: Iterable[Interface],
    routes: Iterable[Route],
    own: str | None,
    skip: Iterable[str],
) -> tuple[tuple[IPNetwork, str], ...]:
    """What this host uses itself: its interfaces' networks and its routes, with whose they are.

    Left out: loopback, link-local, our own tunnel, ``skip``, docker-mac-network's route, and a
    default route, whole or in pieces: more specific routes go beside those.
    """
    interfaces, routes = tuple(interfaces), tuple(routes)
    passed = {own, *skip}
    found: dict[IPNetwork, str] = {}
    for interface in interfaces:
        if interface.name in passed or not interface.up:
            continue
        for net in interface.addresses:
            if not (net.ip.is_loopback() or net.ip.is_link_local()):
                found.setdefault(net.cidr, f"the network of {interface.name} ({net.cidr})")
    beside = {*default_pieces(routes), classic_route(routes, interfaces, own)}
    for route in routes:
        net = route.destination
        if route.interface in passed or _special(route) or net.prefixlen <= 1:
            continue
        if route not in beside:
            vpn = _VPN.fullmatch(route.interface)
            text = f"another VPN's route {net} ({route.interface})"
            found.setdefault(net, text if vpn else f"the route {net} through {route.interface}")
    return tuple(found.items())
