"""Checks of the Docker engine and of its networks."""

from __future__ import annotations

import re

from netaddr import IPNetwork

from macnet.checks.base import Check, Finding, ok, warn
from macnet.checks.context import Context
from macnet.networks import overlap

#: Docker 20.10, the oldest engine that macnet knows.
LEAST_API = (1, 41)


def _reachable(context: Context) -> Finding:
    address = context.engine.address
    return ok(f"{context.info.name} at {address.url} (from {address.source})")


def _version(context: Context) -> Finding:
    info = context.info
    evidence = (
        f"Docker {info.version}, API {info.api_version}, {info.operating_system}, "
        f"{info.architecture}"
    )
    numbers = tuple(int(part) for part in re.findall(r"\d+", info.api_version)[:2])
    if numbers < LEAST_API:
        least = ".".join(map(str, LEAST_API))
        return warn(f"{evidence}: older than API {least}", "update the engine to 20.10 or later")
    return ok(evidence)


def _rootful(context: Context) -> Finding:
    if context.info.rootless:
        return warn(
            "the engine is rootless: it may refuse the helper its rights",
            "choose an engine that runs as root with --context",
        )
    return ok("the engine runs as root")


def _networks(context: Context) -> list[Finding]:
    selected = context.selected
    routed = [item for item in selected if item.routed]
    subnets = sum(len(item.subnets) for item in routed)
    found = [
        warn(
            f"{subnet.cidr} overlaps {why}, so `macnet setup` leaves it out",
            _overlap_fix(context, item.network.name, subnet.cidr),
            subject=item.network.name,
        )
        for item in selected
        for subnet, why in item.left_out
    ]
    if routed:
        return [ok(f"{subnets} subnets of {len(routed)} networks are routed"), *found]
    nothing = warn(
        f"none of {len(selected)} networks is routed",
        "create one with `docker network create NAME`, or choose others with "
        "`macnet setup --network`",
    )
    return [nothing, *found]


def _overlap_fix(context: Context, network: str, cidr: IPNetwork) -> str:
    if any(overlap(cidr, own) for own in (context.tunnel_subnet, context.relay_subnet)):
        return "`macnet regenerate` moves the tunnel to other addresses"
    return (
        f"create {network} again with another --subnet, or end what uses it on this machine, "
        "then `macnet regenerate`"
    )


CHECKS = (
    Check(
        id="engine.reachable",
        title="The engine answers",
        about="Connects to the engine that the Docker context, DOCKER_HOST or a socket names.",
        needs=(),
        fix="start the engine, or name another with --context",
        run=_reachable,
    ),
    Check(
        id="engine.version",
        title="The engine is recent enough",
        about="Compares the engine's API with the oldest one that macnet knows.",
        needs=("engine.reachable",),
        fix="update the engine to 20.10 or later",
        run=_version,
    ),
    Check(
        id="engine.rootful",
        title="The engine may run the helper",
        about="Looks whether the engine is rootless, as such engines refuse the helper's rights.",
        needs=("engine.reachable",),
        fix="choose an engine that runs as root with --context",
        run=_rootful,
    ),
    Check(
        id="engine.networks",
        title="The engine's networks can be routed",
        about="Decides which Docker networks are routed, and which overlap others of this host.",
        needs=("engine.reachable", "host.routes", "tunnel.setup"),
        fix="`docker network ls` has to list the networks",
        run=_networks,
    ),
)
