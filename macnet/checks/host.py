"""Checks of this machine itself."""

from __future__ import annotations

from macnet.checks.base import Finding, count, ok, warn
from macnet.checks.facts import Facts
from macnet.routes import is_full_tunnel
from macnet.tunnel.conflicts import CLASSIC_ROUTE, classic_route


def routes(facts: Facts) -> Finding:
    """Whether the routing table can be read, and which other VPNs are in it."""
    number, interfaces = len(facts.routes), len(facts.interfaces)
    evidence = f"{count(number, 'route')}, {count(interfaces, 'interface')}"
    if is_full_tunnel(facts.routes):
        evidence += "; another VPN takes all other traffic, which the tunnel's routes precede"
    classic = None
    if any(route.destination == CLASSIC_ROUTE for route in facts.routes):
        classic = classic_route(facts.routes, facts.interfaces, facts.interface)
    if classic is not None:
        return warn(
            f"{evidence}; a docker-mac-network tunnel is up as well ({classic.interface})",
            "disconnect docker-mac-network in the VPN client: it is no longer needed",
        )
    return ok(evidence)
