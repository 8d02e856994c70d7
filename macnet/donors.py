"""Finds what ``--also`` reaches beyond the engine's bridges, and through which container.

Such a container, the donor, lends its network namespace: a container of the helper (the joiner)
goes into it, and the relay opens its connections from there. Nothing is asked of the engine unless
``--also`` was given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from netaddr import IPNetwork

from macnet import kubernetes, overlays
from macnet.engine import EngineEvent
from macnet.kubernetes import Cluster
from macnet.models import Donor, Further, Network, ReachKind
from macnet.networks import (
    LABEL_NAME,
    PRIVATE_BLOCKS,
    Selected,
    container_names,
    overlap,
    parse_networks,
)
from macnet.values import AlsoRequest

Json = Mapping[str, Any]
#: Unique local addresses (RFC 4193), the private ones of IPv6.
_PRIVATE_6 = IPNetwork("fc00::/7")

#: Why a range of the engine's host is not routed before the first relay runs.
NOT_TOLD = "only a running relay can tell whether the engine's host has a route for it"
#: How the reasons end where a container has to be started.
NOT_RUNNING = ("runs", "does not run")
#: What is said of a cluster's range that has public addresses.
NOT_PRIVATE = "is no private range"
#: The fewest characters of an id that count as one.
_SHORTEST_ID = 4
#: What changes who can be a donor: after a restart its namespace is another one.
_ACTIONS = frozenset({"start", "die"})
#: What changes who is on a network. The event names its driver, so that macnet's own containers,
#: which are on bridges alone, cause no look by what a look does.
_MEMBERS = frozenset({"connect", "disconnect"})


class Source(Protocol):
    """The calls to the engine that finding needs; `macnet.engine.Engine` has them."""

    def containers(self, *, everything: bool = False) -> Sequence[Json]:
        """``GET /containers/json``: the running containers, or all."""

    def inspect(self, identity: str) -> Json | None:
        """``GET /containers/ID/json``; None for a container that is gone."""

    def read_file(self, identity: str, path: str) -> bytes | None:
        """A file of a container; None if it or the container is missing."""


def find(
    also: AlsoRequest,
    networks: Sequence[Json],
    containers: Sequence[Json],
    source: Source,
    host_routes: Iterable[IPNetwork] | None,
) -> tuple[Further, ...]:
    """Everything that ``also`` asks for, each with its donor or with the reason why it has none.

    ``networks`` and ``containers`` are rows of ``GET /networks`` and ``GET /containers/json``.
    ``host_routes`` are the routes of the engine's host but for its default ones; None while no
    relay runs that could tell them.
    """
    found: list[Further] = []
    found += _behind_containers(also, containers, source)
    found += _clusters(also, containers, source)
    found += _overlays(also, networks, containers, source)
    found += _of_the_host(also, host_routes, networks)
    return tuple(found)


def list_hints(networks: Iterable[Network]) -> tuple[str, ...]:
    """What is there and could be reached with ``--also``, but was not asked for.

    Only what the engine's listings tell: nothing is asked for it.
    """
    networks = tuple(networks)
    known = {(one.further.kind, one.further.name) for one in networks if one.further is not None}
    points = [(network, point) for network in networks for point in network.user_endpoints]
    clusters = {point.cluster for _, point in points if point.cluster}
    clusters -= {name for kind, name in known if kind is ReachKind.CLUSTER}
    there = {network.name for network, _ in points if overlays.is_overlay(network)}
    there -= {name for kind, name in known if kind is ReachKind.OVERLAY}
    hints = [
        f"the Kubernetes cluster {name} runs here: `macnet setup --also kubernetes` reaches its "
        "pods and services"
        for name in sorted(clusters)
    ]
    if there:
        names = ", ".join(sorted(there))
        hints.append(
            f"containers are on networks of a swarm ({names}): `macnet setup --also overlays` "
            "reaches those, and the tasks of its other nodes"
        )
    return tuple(hints)


def concerns(also: AlsoRequest, event: EngineEvent) -> bool:
    """Whether an event can change what `find` finds."""
    if event.type == "network":
        on_overlay = event.labels.get("type") == "overlay"
        return also.overlays and on_overlay and event.action in _MEMBERS
    if event.type != "container" or event.action not in _ACTIONS or LABEL_NAME in event.labels:
        return False
    # Any container may be a node, or a task on an overlay network.
    if also.overlays or also.kubernetes or also.clusters:
        return True
    return any(_is_called(name, event.name, event.id) for _, name in also.through)


def has_spare(
    selected: Iterable[Selected], ended: str, list_containers: Callable[[], Sequence[Json]]
) -> bool:
    """Whether there is another donor for all that the container with the id ``ended`` opened.

    Then nobody has to wait whether it starts again. ``selected`` is as it was before its end. Of
    a container that opened nothing it is False; ``list_containers`` is called for nodes alone.
    """
    opened = [item.network for item in selected if item.routed and _opens(ended, item.network)]
    return bool(opened) and all(_has_other(one, ended, list_containers) for one in opened)


def _opens(identity: str, network: Network) -> bool:
    donor = network.further.donor if network.further is not None else None
    return donor is not None and donor.container_id == identity


def _has_other(network: Network, ended: str, list_containers: Callable[[], Sequence[Json]]) -> bool:
    further = network.further
    if further is not None and further.kind is ReachKind.CLUSTER:
        return kubernetes.has_other_node(further.name, ended, list_containers())
    # Of a range behind a named container there are no endpoints.
    return any(
        point.container_id != ended and point.node is None for point in network.user_endpoints
    )


def _is_called(name: str, container: str, identity: str) -> bool:
    return name == container or (len(name) >= _SHORTEST_ID and identity.startswith(name))


def make_donor(container: Json, source: Source) -> Donor | str:
    """A running container as a donor; the reason where it can be none.

    ``container`` is a row of ``GET /containers/json``.
    """
    identity, name = str(container["Id"]), container_names(container)[0]
    if LABEL_NAME in (container.get("Labels") or {}):
        return f"{name} is macnet's own"
    seen = source.inspect(identity)
    state = (seen or {}).get("State") or {}
    if seen is None or not state.get("Running"):
        return f"the container {name} does not run"
    mode = str((seen.get("HostConfig") or {}).get("NetworkMode") or "")
    if mode == "host":
        return f"{name} has the engine's own network and none of its own"
    if mode == "none":
        return f"{name} has no network"
    if mode.startswith("container:"):
        return f"{name} has the network of another container: name that one"
    return Donor(identity, name, str(state.get("StartedAt") or ""))


def _behind_containers(
    also: AlsoRequest, containers: Sequence[Json], source: Source
) -> Iterator[Further]:
    known: dict[str, Donor | str] = {}
    for net, name in also.through:
        if name not in known:
            row = _find(name, containers)
            known[name] = f"no container {name} runs" if row is None else make_donor(row, source)
        donor = known[name]
        if isinstance(donor, Donor):
            yield Further(str(net), ReachKind.CIDR, (net,), donor)
        else:
            yield Further(str(net), ReachKind.CIDR, (net,), reason=donor)


def _clusters(also: AlsoRequest, containers: Sequence[Json], source: Source) -> Iterator[Further]:
    if not also.kubernetes and not also.clusters:
        return
    clusters = kubernetes.list_clusters(containers)
    named = frozenset((*(net for net, _ in also.through), *also.ranges))
    if any(map(kubernetes.lacks_first, clusters)):
        # Where its control plane does not run, its files are still there.
        clusters = kubernetes.list_clusters(source.containers(everything=True))
    for cluster in clusters:
        if cluster.running and (also.kubernetes or cluster.name in also.clusters):
            yield _cluster(cluster, source, named)
    for name in also.clusters:
        if not any(cluster.name == name and cluster.running for cluster in clusters):
            reason = "no container of this engine runs as a node of such a cluster"
            yield Further(name, ReachKind.CLUSTER, (), reason=reason)


def _cluster(cluster: Cluster, source: Source, named: Collection[IPNetwork]) -> Further:
    """``named`` are the ranges that have a word of ``--also`` of their own.

    Of clusters with equal ranges `select_networks` takes the first that is routed at all.
    """
    name = cluster.name
    ranges = kubernetes.read_ranges(cluster, source.read_file)
    if isinstance(ranges, str):
        return Further(name, ReachKind.CLUSTER, (), reason=ranges)
    subnets = (*ranges.pods, *ranges.services)
    # An image may carry labels and files of a node, and must not get this host's traffic.
    private = tuple(net for net in subnets if _is_private(net))
    public = [net for net in subnets if net not in private and net not in named]
    without = " and ".join(f"{net}, which {NOT_PRIVATE}" for net in public)
    found = Further(
        name,
        ReachKind.CLUSTER,
        private or subnets,
        dns=ranges.dns,
        domain=ranges.domain,
        source=ranges.source + (f" (without {without})" if without else ""),
    )
    if not private:
        net = subnets[0]
        why = f"{net} {NOT_PRIVATE}: name it with `--also {net}=CONTAINER` if it is right"
        return replace(found, source=ranges.source, reason=why)
    donor = _first_donor(cluster.running, source)
    if isinstance(donor, str):
        return replace(found, reason=donor)
    return replace(found, donor=donor)


def _is_private(net: IPNetwork) -> bool:
    return any(net in block for block in (*PRIVATE_BLOCKS, _PRIVATE_6))


def _overlays(
    also: AlsoRequest, networks: Sequence[Json], containers: Sequence[Json], source: Source
) -> Iterator[Further]:
    if not also.overlays:
        return
    for network in filter(overlays.is_overlay, parse_networks(networks, containers)):
        subnets = overlays.subnets_of(network)
        rows = overlays.list_donors(network, containers)
        donor = _first_donor(rows, source) if rows else "no container of this engine is on it"
        if isinstance(donor, str):
            yield Further(network.name, ReachKind.OVERLAY, subnets, reason=donor)
        else:
            yield Further(network.name, ReachKind.OVERLAY, subnets, donor)


def _first_donor(rows: Iterable[Json], source: Source) -> Donor | str:
    """The first of some containers that can be a donor, else why the last of them is none."""
    why = "none of its containers runs"
    for row in rows:
        found = make_donor(row, source)
        if isinstance(found, Donor):
            return found
        why = found
    return why


def _find(name: str, containers: Iterable[Json]) -> Json | None:
    """The container of that name, else the only one whose id begins so."""
    rows = list(containers)
    by_name = [row for row in rows if name in container_names(row)]
    by_id = [row for row in rows if len(name) >= _SHORTEST_ID and str(row["Id"]).startswith(name)]
    return by_name[0] if by_name else by_id[0] if len(by_id) == 1 else None


def _of_the_host(
    also: AlsoRequest, routes: Iterable[IPNetwork] | None, networks: Sequence[Json]
) -> Iterator[Further]:
    if not also.ranges:
        return
    known = None if routes is None else list(routes)
    bridges = [net for one in parse_networks(networks, ()) for net in _of_a_bridge(one)]
    for net in also.ranges:
        if known is None:
            yield Further(str(net), ReachKind.CIDR, (net,), reason=NOT_TOLD)
            continue
        covered = [route for route in known if route.version == net.version and net in route]
        # A cluster's host has one route for each of its nodes, and none for the whole range.
        parts = [net] if covered else [r for r in known if r.version == net.version and r in net]
        # Those of Docker's bridges are routed anyway, and one that overlaps would lose the others.
        parts = [one for one in parts if not any(overlap(one, b) for b in bridges)] or parts
        reason = "" if parts else "the engine's host has no route for it but its default one"
        yield Further(str(net), ReachKind.CIDR, tuple(parts) or (net,), reason=reason)


def _of_a_bridge(network: Network) -> tuple[IPNetwork, ...]:
    """The ranges for which the engine's host has a route since Docker's bridge has them."""
    return tuple(s.cidr for s in network.subnets) if network.driver == "bridge" else ()
