"""Checks of what `--also` reaches: clusters, networks of a swarm, ranges behind containers."""

from __future__ import annotations

from collections.abc import Iterator

from macnet.checks.base import Finding, count, fail, ok, skip, warn
from macnet.checks.facts import Facts
from macnet.donors import NOT_PRIVATE, NOT_RUNNING, NOT_TOLD
from macnet.helper.spec import MAX_JOINERS
from macnet.models import Donor, Further, ReachKind, Subnet
from macnet.names.upstream import Upstream, is_label, list_upstreams
from macnet.networks import CLUSTER_PREFIX, Selected
from macnet.swarm import runs
from macnet.tunnel.conflicts import fix_of
from macnet.tunnel.joiners import TOO_MANY

#: A service of every cluster, whatever runs in it.
ALWAYS = "kubernetes.default.svc"
_AGAIN = "`macnet regenerate`"
_MAKE_ANEW = "make the cluster again with other ranges"
_NAME_IT = "`macnet setup --also RANGE=CONTAINER`, where the range is right"
_EXCLUDED = "--exclude"
#: The resolvers are asked whether names are on or off, so in the domain of no tunnel.
_DOMAIN = "test"


def asked(facts: Facts) -> bool:
    """Whether anything beyond the bridges is asked for."""
    return bool(facts.tunnel.settings.also)


def asked_for_clusters(facts: Facts) -> bool:
    """Whether clusters are."""
    also = facts.tunnel.settings.also
    return also.kubernetes or bool(also.clusters)


def asked_for_overlays(facts: Facts) -> bool:
    """Whether networks of a swarm are."""
    return facts.tunnel.settings.also.overlays


def cluster(facts: Facts) -> list[Finding]:
    """Which clusters were found, and where their ranges were read."""
    return [_cluster(item, facts) for item in _of_kind(facts, ReachKind.CLUSTER)] or [
        skip("no container of this engine runs as a node of a cluster")
    ]


def _cluster(item: Selected, facts: Facts) -> Finding:
    further = item.network.further
    name = further.name if further is not None else item.network.name
    if item.left_out and further is not None:
        return _in_the_way(item, further, facts)
    if item.reason is not None or further is None:
        return warn(f"it is not reached: {item.reason}", _start_fix(item), subject=name)
    if NOT_PRIVATE in further.source:
        return warn(_routed(item, further), _NAME_IT, subject=name)
    return ok(_routed(item, further), subject=name)


def _routed(item: Selected, further: Further) -> str:
    """The ranges that are routed, with where they were read and by which way they are reached."""
    nets = ", ".join(f"{s.cidr} as {s.seen}" if s.seen else str(s.cidr) for s in item.subnets)
    through = f", through {further.donor.container}" if further.donor else ""
    return f"{nets}, read from {further.source}{through}"


def _in_the_way(item: Selected, further: Further, facts: Facts) -> Finding:
    """What of a cluster this machine uses for something else, and what to do about that."""
    out = "; ".join(f"{subnet.cidr} overlaps {why}" for subnet, why in item.left_out)
    fixes = dict.fromkeys(_other_range(subnet, why, facts) for subnet, why in item.left_out)
    told = f"it is not reached: {out}"
    if item.routed:
        told = f"{_routed(item, further)}; not reached: {out}"
    return warn(told, "; ".join(fixes), subject=further.name)


def _other_range(subnet: Subnet, why: str, facts: Facts) -> str:
    fix = fix_of(subnet.cidr, why, facts.taken, facts.tunnel.settings.remap).format(them="it")
    # A smaller network of Docker's would be no way to a cluster.
    return fix if fix.startswith("`macnet") else _MAKE_ANEW


def _start_fix(item: Selected) -> str:
    """What to do about a cluster that is not reached, though this machine has room for it."""
    further = item.network.further
    why = further.reason if further is not None else ""
    if f"overlaps {CLUSTER_PREFIX}" in (item.reason or ""):
        return "`macnet setup --also kubernetes=NAME` chooses one of two clusters"
    if NOT_PRIVATE in why:
        return _NAME_IT
    if not item.network.subnets or why:
        return "start the cluster, then `macnet regenerate`"
    if _EXCLUDED in (item.reason or ""):
        return "`macnet setup --unset exclude`"
    return f"take what goes first out of the tunnel, with `macnet setup --exclude`; or {_MAKE_ANEW}"


def joiners(facts: Facts) -> list[Finding]:
    """Whether each donor's namespace is held, as it is since the donor's last start.

    And which ranges and networks of a swarm have no way at all; `kubernetes.cluster` tells it of
    clusters, and `engine.networks` of what this machine has in the way.
    """
    donors = {donor.container_id: donor for _, donor in _donors(facts)}
    found = [_joiner(donor, facts) for donor in donors.values()]
    if not donors:
        found = [skip("nothing is reached through a container")]
    return [*found, *_not_reached(facts)]


def _not_reached(facts: Facts) -> Iterator[Finding]:
    for item in facts.selected:
        further, why = item.network.further, item.reason
        if further is None or further.kind is ReachKind.CLUSTER:
            continue
        if why is None or item.routed or item.left_out or _EXCLUDED in why:
            continue
        yield warn(f"it is not reached: {why}", _way_fix(further, why), subject=item.network.name)


def _way_fix(further: Further, why: str) -> str:
    """What to do about something that is not reached, though this machine has room for it."""
    if not further.reason:
        return "take what goes first out of the tunnel, with `macnet setup --exclude`"
    if further.kind is ReachKind.OVERLAY:
        return f"start a container of this engine on it, then {_AGAIN}"
    if why.endswith(NOT_RUNNING):
        return f"start the container, then {_AGAIN}"
    if why == NOT_TOLD:
        return _AGAIN
    return "`macnet setup --also RANGE=CONTAINER`, with a container behind which the range is"


def _joiner(donor: Donor, facts: Facts) -> Finding:
    attached = facts.joined.get(donor.container_id)
    if attached is None and len(facts.joined) >= MAX_JOINERS:
        return fail(
            TOO_MANY,
            "`macnet setup --also`, with less to reach: it replaces what is remembered",
            subject=donor.container,
        )
    if (why := facts.why_not_joined(donor)) is not None:
        waits = attached is not None and not attached.attached
        fix = "`macnet logs relay` shows what the relay said" if waits else _AGAIN
        return fail(why, fix, subject=donor.container)
    lane = facts.joined[donor.container_id].number
    return ok(f"a joiner is in its namespace, and the relay's lane {lane}", subject=donor.container)


def dns(facts: Facts) -> list[Finding]:
    """Whether the resolvers of the clusters answer through the tunnel."""
    found = [_dns(one, facts) for one in list_upstreams(facts.selected, _DOMAIN)]
    found += _without_names(facts)
    return found or [skip("no cluster is reached")]


def _without_names(facts: Facts) -> Iterator[Finding]:
    """The clusters that are reached, and whose resolver is asked for nothing."""
    named: set[str] = set()
    for item in _of_kind(facts, ReachKind.CLUSTER):
        further = item.network.further
        if not item.routed or further is None:
            continue
        if not is_label(further.name):
            why = "its name is no label of DNS, so its services have no names here"
        elif further.dns is None:
            why = "nothing tells which resolver it has"
        elif not list_upstreams([item], _DOMAIN):
            why = f"its resolver {further.dns} is in no range that is reached"
        elif further.name.lower() in named:
            why = "an older cluster of that name has its names"
        else:
            named.add(further.name.lower())
            continue
        yield skip(why, subject=further.name)


def _dns(upstream: Upstream, facts: Facts) -> Finding:
    name = f"{ALWAYS}.{upstream.domain}"
    # The service has an address of the first range, as the resolver has.
    version = upstream.server.version
    reply = facts.resolver.ask_server(name, upstream.server, version=version)
    if reply.addresses:
        told = " ".join(map(str, reply.addresses))
        return ok(f"{upstream.server} says that {name} is {told}", subject=upstream.cluster)
    return fail(
        f"{upstream.server} was asked for {name}: {reply.problem}",
        "look at the cluster's resolver: `kubectl -n kube-system get pods -l k8s-app=kube-dns`",
        subject=upstream.cluster,
    )


def swarm(facts: Facts) -> Finding:
    """What the swarm is made of, where this engine manages it."""
    info = facts.info
    if not info.manager:
        where = "a worker of a swarm" if info.node else "in no swarm"
        return skip(f"this engine is {where}: only a manager tells nodes and services")
    nodes, services, tasks = facts.engine.swarm()
    away = [node for node in nodes if (node.get("Status") or {}).get("State") != "ready"]
    running = [task for task in tasks if runs(task)]
    evidence = (
        f"{count(len(nodes), 'node')}, {count(len(services), 'service')}, "
        f"{count(len(running), 'running task')}"
    )
    if away:
        names = ", ".join(str((n.get("Description") or {}).get("Hostname")) for n in away)
        return warn(f"{evidence}; not ready: {names}", "`docker node ls` shows the nodes")
    return ok(evidence)


def _of_kind(facts: Facts, kind: ReachKind) -> Iterator[Selected]:
    for item in facts.selected:
        if item.network.further is not None and item.network.further.kind is kind:
            yield item


def _donors(facts: Facts) -> Iterator[tuple[Selected, Donor]]:
    """The donors of what is routed."""
    for item in facts.selected:
        further = item.network.further
        if item.routed and further is not None and further.donor is not None:
            yield item, further.donor
