"""The host's routing table: read it, ask it, compare it with what the tunnel needs.

Parsers and comparisons are pure; `list_routes` is the only function that runs a program.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from netaddr import AddrFormatError, IPAddress, IPNetwork, IPSet

from macnet.errors import TunnelError
from macnet.models import Route
from macnet.runner import CommandFailed, CommandRunner

#: Linux route types that carry packets; ``unreachable``, ``blackhole`` and the like don't.
_CARRYING = frozenset({"unicast", "local"})
#: The addresses of the Internet (IANA's registries of unicast and special-purpose addresses).
#: Whoever routes all of them has the default route, in one piece or in many.
_INTERNET = {
    4: IPSet([IPNetwork("0.0.0.0/1"), IPNetwork("128.0.0.0/2"), IPNetwork("192.0.0.0/3")])
    - IPSet(
        IPNetwork(text)
        for text in (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
        )
    ),
    6: IPSet([IPNetwork("2000::/3")]) - IPSet([IPNetwork("2001:db8::/32")]),
}


class UnreadableRoutes(TunnelError):
    """The system's routing table cannot be read."""

    code = "unreadable_routes"


@dataclass(frozen=True, slots=True)
class RouteDiff:
    """Wanted subnets by what the table does with them.

    ``foreign`` pairs a subnet with the route by another interface that takes (part of) it.
    """

    missing: tuple[IPNetwork, ...] = ()
    present: tuple[IPNetwork, ...] = ()
    foreign: tuple[tuple[IPNetwork, Route], ...] = ()


def list_routes(runner: CommandRunner, system: str) -> tuple[Route, ...]:
    """The IPv4 and then the IPv6 routes of this host.

    Raises `UnreadableRoutes` on an unknown system, a failing program or unknown output.
    """
    try:
        if system == "macos":
            netstat = runner.find("netstat", "/usr/sbin/netstat") or "netstat"
            return tuple(
                route
                for family in ("inet", "inet6")
                for route in parse_netstat(runner.run([netstat, "-rn", "-f", family]).stdout)
            )
        if system == "linux":
            ip = runner.find("ip", "/usr/sbin/ip", "/sbin/ip") or "ip"
            return tuple(
                route
                for family in ("-4", "-6")
                for route in parse_ip_route_json(
                    runner.run([ip, "-json", family, "route", "show"]).stdout,
                    is_v6=family == "-6",
                )
            )
    except CommandFailed as error:
        raise UnreadableRoutes(f"cannot read the routing table: {error}") from error
    raise UnreadableRoutes(f"cannot read the routing table of {system}: not known to macnet")


def parse_ip_route_json(text: str, *, is_v6: bool | None = None) -> tuple[Route, ...]:
    """Parse ``ip -json route show`` or ``ip -json -6 route show`` (iproute2).

    Routes that carry no packets are left out. Of several next hops the first one counts.
    "default" has no family of its own: without ``is_v6`` the other rows tell it.
    """
    try:
        rows = json.loads(text) if text.strip() else []
    except ValueError as error:
        raise UnreadableRoutes("`ip -json route` did not print JSON") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UnreadableRoutes("`ip -json route` printed something other than a list of routes")
    if is_v6 is None:
        is_v6 = any(":" in str(row.get(key, "")) for row in rows for key in ("dst", "gateway"))
    routes = [_linux_route(row, is_v6=is_v6) for row in rows]
    return tuple(route for route in routes if route)


def parse_netstat(text: str) -> tuple[Route, ...]:
    """Parse ``netstat -rn`` of macOS, for one or for both address families.

    Older systems print the columns Refs and Use, newer ones don't: columns go by their names.
    A row that is no route (a note, an unknown form) is left out.
    """
    netif: int | None = None
    is_v6 = False
    routes = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] in (["Internet:"], ["Internet6:"]):
            is_v6 = words[0] == "Internet6:"
        elif words[:3] == ["Destination", "Gateway", "Flags"] and "Netif" in words:
            netif = words.index("Netif")
        elif netif is not None and len(words) > netif:
            destination, gateway, flags = words[:3]
            network = _macos_destination(destination, is_v6=is_v6)
            if network is not None:
                routes.append(Route(network, words[netif], _address(gateway), "I" in flags))
    if netif is None:
        raise UnreadableRoutes("`netstat -rn` printed no table of routes")
    return tuple(routes)


def compare_routes(
    wanted: Iterable[IPNetwork], routes: Iterable[Route], interface: str
) -> RouteDiff:
    """Tell which wanted subnets leave by ``interface``, which don't, and which others take.

    A subnet is foreign when another interface has a route that is as specific and wins, or
    one inside it; a wider one (the default route, another VPN's 10/8) takes nothing, as the
    tunnel's own route will be more specific.
    """
    table = tuple(routes)
    missing: list[IPNetwork] = []
    present: list[IPNetwork] = []
    foreign: list[tuple[IPNetwork, Route]] = []
    for net in wanted:
        winner = _find_winner(table, net)
        taken = _find_taker(net, winner, table, interface)
        if taken is not None:
            foreign.append((net, taken))
        elif winner is not None and winner.interface == interface:
            present.append(net)
        else:
            missing.append(net)
    return RouteDiff(tuple(missing), tuple(present), tuple(foreign))


def is_full_tunnel(routes: Iterable[Route]) -> bool:
    """Whether a VPN takes all traffic by routes that together precede the default route."""
    return bool(default_pieces(routes))


def default_pieces(routes: Iterable[Route]) -> frozenset[Route]:
    """The routes that are a default route in pieces: together they lead to all the Internet.

    VPNs set two halves, TUN proxies eight pieces or more, each by one interface, beside the
    default route. A route inside a piece is none: it says more than the default route.
    """
    groups: dict[tuple[str, int], list[Route]] = {}
    for route in routes:
        if route.destination.prefixlen and not route.scoped:
            groups.setdefault((route.interface, route.destination.version), []).append(route)
    found: set[Route] = set()
    for (_, version), group in groups.items():
        internet = _INTERNET[version]
        if sum(route.destination.size for route in group) < internet.size:
            continue
        ranges = {route.destination for route in group}
        if internet.issubset(IPSet(ranges)):
            inner = {net for net in ranges if any(net in other for other in ranges - {net})}
            found.update(route for route in group if route.destination not in inner)
    return frozenset(found)


def _find_winner(routes: Iterable[Route], net: IPNetwork) -> Route | None:
    """The best route that covers all of ``net``; ordinary sockets use no scoped one."""
    covering = [route for route in routes if net in route.destination and not route.scoped]
    # max() keeps the first of equals.
    return max(covering, key=lambda route: route.destination.prefixlen, default=None)


def _find_taker(
    net: IPNetwork, winner: Route | None, routes: Iterable[Route], interface: str
) -> Route | None:
    """The route by another interface that takes ``net`` or a part of it."""
    if winner and winner.destination == net and winner.interface != interface:
        return winner
    for route in routes:
        inside = route.destination in net and route.destination != net
        if inside and not route.scoped and route.interface != interface:
            return route
    return None


def _linux_route(row: dict[str, Any], *, is_v6: bool) -> Route | None:
    hops = row.get("nexthops") or [{}]
    device = row.get("dev") or hops[0].get("dev")
    if row.get("type", "unicast") not in _CARRYING or not device or "dead" in row.get("flags", ()):
        return None
    destination = str(row.get("dst", ""))
    if destination == "default":
        destination = "::/0" if is_v6 else "0.0.0.0/0"
    try:
        network = IPNetwork(destination)
    except (AddrFormatError, ValueError):
        return None
    # A gateway of the other family comes as {"family": ..., "host": ...} under "via".
    via = row.get("via") or hops[0].get("via") or {}
    gateway = row.get("gateway") or hops[0].get("gateway") or via.get("host", "")
    return Route(network, str(device), _address(str(gateway)))


def _macos_destination(text: str, *, is_v6: bool) -> IPNetwork | None:
    """A destination as macOS abbreviates it.

    ``172.17`` is 172.17.0.0/16: without a slash each printed octet counts eight bits. With one
    (``10/24``, ``128.0/1``) only zero octets at the end are missing. IPv6 has the zone before
    the slash (``fe80::%lo0/64``).
    """
    if text == "default":
        return IPNetwork("::/0" if is_v6 else "0.0.0.0/0")
    address, slash, prefix = re.sub(r"%[^/]*", "", text).partition("/")
    try:
        if ":" in address:
            return IPNetwork(f"{address}/{prefix or 128}")
        octets = address.split(".")
        padded = ".".join([*octets, *["0"] * (4 - len(octets))])
        return IPNetwork(f"{padded}/{prefix if slash else 8 * len(octets)}")
    except (AddrFormatError, ValueError):
        return None


def _address(text: str) -> IPAddress | None:
    """A gateway's or a mask's address; None for ``link#11``, a MAC address, an interface."""
    try:
        return IPAddress(text.partition("%")[0])
    except (AddrFormatError, ValueError):
        return None
