"""The host's routing table: read it, ask it, compare it with what the tunnel needs.

Parsers and comparisons are pure; `list_routes` is the only function that runs a program.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from netaddr import AddrFormatError, IPAddress, IPNetwork

from macnet.errors import TunnelError
from macnet.models import Route
from macnet.runner import CommandFailed, CommandRunner

#: Linux route types that carry packets; ``unreachable``, ``blackhole`` and the like don't.
_CARRYING = frozenset({"unicast", "local"})
#: The halves of everything: how a full tunnel overrides the default route without touching it.
_HALVES = (
    (IPNetwork("0.0.0.0/1"), IPNetwork("128.0.0.0/1")),
    (IPNetwork("::/1"), IPNetwork("8000::/1")),
)


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


def parse_route_get(text: str) -> Route | None:
    """Parse ``route -n get ADDRESS`` of macOS; None if there is no route.

    ``destination: default`` with ``mask: 128.0.0.0`` is real: the mask decides.
    """
    fields = {
        key.strip(): value.strip()
        for key, colon, value in (line.partition(":") for line in text.splitlines())
        if colon
    }
    destination, interface = fields.get("destination"), fields.get("interface")
    if not destination or not interface:
        return None
    is_v6 = ":" in fields.get("route to", "") or ":" in destination
    network = _macos_destination(destination.partition("/")[0], is_v6=is_v6)
    if network is None:
        return None
    flags = fields.get("flags", "").strip("<>").split(",")
    mask = _address(fields.get("mask", ""))
    if mask is not None:
        network = IPNetwork(f"{network.ip}/{mask.netmask_bits()}").cidr
    elif destination != "default":
        network = IPNetwork(network.ip)
    return Route(network, interface, _address(fields.get("gateway", "")), "IFSCOPE" in flags)


def find_route(routes: Iterable[Route], address: IPAddress) -> Route | None:
    """The route that packets to ``address`` take, or None.

    The longest prefix wins; a scoped route only where no other matches, as ordinary sockets
    don't use it; among equals the first.
    """
    return _find_winner(routes, IPNetwork(address))


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
        winner = _find_winner((route for route in table if not route.scoped), net)
        taken = _find_taker(net, winner, table, interface)
        if taken is not None:
            foreign.append((net, taken))
        elif winner is not None and winner.interface == interface:
            present.append(net)
        else:
            missing.append(net)
    return RouteDiff(tuple(missing), tuple(present), tuple(foreign))


def is_full_tunnel(routes: Iterable[Route]) -> bool:
    """Whether a VPN takes all traffic by a pair of half-of-everything routes."""
    there = {(route.destination, route.interface) for route in routes}
    interfaces = {interface for _, interface in there}
    return any(
        all((half, interface) in there for half in halves)
        for halves in _HALVES
        for interface in interfaces
    )


def _find_winner(routes: Iterable[Route], net: IPNetwork) -> Route | None:
    """The best route that covers all of ``net``."""
    covering = [route for route in routes if net in route.destination]
    # max() keeps the first of equals.
    return max(
        covering, key=lambda route: (not route.scoped, route.destination.prefixlen), default=None
    )


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
