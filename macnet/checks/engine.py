"""Checks of the Docker engine and of its networks."""

from __future__ import annotations

import re

from macnet.checks.base import Finding, count, offer, ok, skip, warn
from macnet.checks.facts import Facts
from macnet.donors import list_hints
from macnet.models import Network, ReachKind
from macnet.tunnel.conflicts import fix_of

#: Docker 20.10, the oldest engine that macnet knows.
LEAST_API = (1, 41)
#: Seconds by which the clocks may differ; the answer of a slow engine is part of it.
MOST_SKEW_S = 60


def reachable(facts: Facts) -> Finding:
    """Whether the engine answers."""
    address = facts.engine.address
    return ok(f"{facts.info.name} at {address.url} (from {address.source})")


def version(facts: Facts) -> Finding:
    """Whether the engine is recent enough."""
    info = facts.info
    evidence = (
        f"Docker {info.version}, API {info.api_version}, {info.operating_system}, "
        f"{info.architecture}"
    )
    numbers = tuple(int(part) for part in re.findall(r"\d+", info.api_version)[:2])
    if numbers < LEAST_API:
        least = ".".join(map(str, LEAST_API))
        return warn(f"{evidence}: older than API {least}", "update the engine to 20.10 or later")
    return ok(evidence)


def rootful(facts: Facts) -> Finding:
    """Whether the engine may run the helper."""
    if facts.info.rootless:
        return warn(
            "the engine is rootless: it may refuse the helper its rights",
            "choose an engine that runs as root with --context",
        )
    return ok("the engine runs as root")


def clock(facts: Facts) -> Finding:
    """Whether the engine's clock agrees with this machine's; a VM's may stop while a Mac sleeps."""
    theirs = facts.info.system_time
    if theirs is None:
        return skip("the engine does not tell its time")
    ahead_s = (theirs - facts.now()).total_seconds()
    if abs(ahead_s) <= MOST_SKEW_S:
        return ok("it agrees with this machine's")
    return warn(
        f"it is {_duration(abs(ahead_s))} {'ahead' if ahead_s > 0 else 'behind'}: certificates "
        "may be refused as expired or not valid yet",
        "restart the engine: its VM takes the time from this machine then",
    )


def _duration(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return count(round(seconds / size), unit)
    return count(round(seconds), "second")


def networks(facts: Facts) -> list[Finding]:
    """Which networks are routed, and what others overlap."""
    selected = facts.selected
    routed = [item for item in selected if item.routed]
    subnets = sum(len(item.subnets) for item in routed)
    found = [
        warn(
            f"{subnet.cidr} overlaps {why}, so `macnet setup` leaves it out",
            fix_of(subnet.cidr, why, facts.taken, facts.tunnel.settings.remap).format(
                them="such networks"
            ),
            subject=item.network.name,
        )
        for item in selected
        if not _is_cluster(item.network)  # `kubernetes.cluster` tells those
        for subnet, why in item.left_out
    ]
    found += [offer(hint) for hint in list_hints(item.network for item in selected)]
    if routed:
        number = count(subnets, "subnet"), count(len(routed), "network")
        are = "is" if subnets == 1 else "are"
        return [ok(f"{number[0]} of {number[1]} {are} routed"), *found]
    nothing = warn(
        f"none of {len(selected)} networks is routed",
        "create one with `docker network create NAME`, or choose others with "
        "`macnet setup --network`",
    )
    return [nothing, *found]


def _is_cluster(network: Network) -> bool:
    return network.further is not None and network.further.kind is ReachKind.CLUSTER
