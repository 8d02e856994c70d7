"""Checks of this machine itself."""

from __future__ import annotations

from macnet.checks.base import Check, Finding, ok, warn
from macnet.checks.context import Context
from macnet.routes import is_full_tunnel
from macnet.tunnel.conflicts import CLASSIC_ROUTE


def _routes(context: Context) -> Finding:
    count, interfaces = len(context.routes), len(context.interfaces)
    evidence = f"{count} routes, {interfaces} interfaces"
    if is_full_tunnel(context.routes):
        evidence += "; another VPN takes all other traffic, which the tunnel's routes precede"
    classic = next((r for r in context.routes if r.destination == CLASSIC_ROUTE), None)
    if classic is not None and classic.interface != context.interface:
        return warn(
            f"{evidence}; a docker-mac-network tunnel is up as well ({classic.interface})",
            "disconnect docker-mac-network in the VPN client: it is no longer needed",
        )
    return ok(evidence)


CHECKS = (
    Check(
        id="host.routes",
        title="This machine's routes can be read",
        about="Reads interfaces and the routing table, and looks for other VPNs in it.",
        needs=(),
        fix="mend what `netstat -rn` (macOS) or `ip route` (Linux) says: macnet reads its output",
        run=_routes,
    ),
)
