"""Overlay networks of a swarm, and which container of this engine can lend a way into them. Pure.

An overlay is not in the engine's own network namespace, but in those of the containers on it. One
such container on this engine opens the whole network, other engines' tasks too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from netaddr import IPNetwork

from macnet.models import Network
from macnet.networks import LABEL_NAME
from macnet.swarm import NODE

Json = Mapping[str, Any]

#: A task of a service has this label (swarmkit `agent/exec/dockerapi`).
_TASK = "com.docker.swarm.task.id"
#: As many networks may have a donor each (`macnet.helper.spec.MAX_JOINERS`).
MANY = 15


def is_overlay(network: Network) -> bool:
    """Whether containers on a network of this kind can lend a way into it.

    The routing mesh does not count: what it carries are published ports, which need no tunnel.
    """
    return network.driver == "overlay" and network.scope == "swarm" and not network.ingress


def subnets_of(network: Network) -> tuple[IPNetwork, ...]:
    """The ranges of a network."""
    return tuple(subnet.cidr for subnet in network.subnets)


def list_donors(network: Network, containers: Iterable[Json]) -> tuple[Json, ...]:
    """The running containers of this engine that are on an overlay, the best donor first.

    Tasks of services come before single containers, which are often there for a moment only, and
    older ones before younger ones, so that a choice stays. On an engine with more networks of
    services than there may be donors, those come first that are on most of them, so that few do.
    ``containers`` are rows of ``GET /containers/json``.
    """
    rows = [row for row in containers if _can_lend(row)]
    spread = {name for row in rows if _is_task(row) for name in _networks_of(row)}
    counted = spread if len(spread) > MANY else set()

    def rank(row: Json) -> tuple[int, bool, int, str]:
        opened = len(counted & _networks_of(row))
        return (-opened, not _is_task(row), int(row.get("Created") or 0), str(row["Id"]))

    on_it = {endpoint.container_id for endpoint in network.user_endpoints}
    return tuple(sorted((row for row in rows if str(row["Id"]) in on_it), key=rank))


def _can_lend(row: Json) -> bool:
    if NODE in row:
        return False
    mode = str((row.get("HostConfig") or {}).get("NetworkMode") or "")
    mine = LABEL_NAME in (row.get("Labels") or {})
    return not mine and mode != "host" and not mode.startswith("container:")


def _is_task(row: Json) -> bool:
    return _TASK in (row.get("Labels") or {})


def _networks_of(row: Json) -> set[str]:
    return set((row.get("NetworkSettings") or {}).get("Networks") or ())
