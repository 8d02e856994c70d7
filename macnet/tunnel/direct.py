"""Whether this host reaches the engine's containers without any tunnel."""

from __future__ import annotations

from macnet.networks import seen_addresses
from macnet.runner import CommandRunner
from macnet.tunnel.conflicts import bridges_here, own_interface, present_interface
from macnet.tunnel.facts import Facts
from macnet.tunnel.plan import Plan

#: Seconds to wait for a container that might answer without a tunnel.
_DIRECT_PING_S = 0.5


def find_direct_way(facts: Facts, plan: Plan, runner: CommandRunner) -> str | None:
    """Why no tunnel is needed, in words; None where containers don't answer without one."""
    if present_interface(facts) or own_interface(facts.interfaces, plan.tunnel_subnet):
        return None
    if bridges := bridges_here(facts.networks, facts.interfaces):
        return f"the engine's bridges are on this host ({', '.join(bridges)})"
    known = [
        address
        for item in plan.networks
        for endpoint in item.network.endpoints
        for address in seen_addresses(item, endpoint)
        if address.version == 4
    ][:8]
    if not known:
        return None
    from macnet import probe  # noqa: PLC0415 - asyncio, which few commands need

    answers = probe.ping_all(known, timeout_s=_DIRECT_PING_S, runner=runner)
    found = next((answer.address for answer in answers if answer.ok), None)
    return f"{found} answers without a tunnel" if found is not None else None
