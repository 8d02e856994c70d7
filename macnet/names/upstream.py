"""Names of clusters' services, which the clusters' own resolvers know. Pure.

``web.default.svc.kind.docker.test`` is ``web.default.svc.cluster.local`` there. So each cluster has
names of its own, and none needs ``.local``, which macOS keeps for itself. Where the user asked for
it, one cluster has the names of its own domain here as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from netaddr import IPAddress

from macnet.kubernetes import CLUSTER_DOMAIN
from macnet.models import ReachKind, Subnet
from macnet.names.domain import is_below
from macnet.networks import Selected

_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
#: What a cluster's domain holds (Kubernetes, "DNS for Services and Pods").
_KINDS = ("svc", "pod")


@dataclass(frozen=True, slots=True)
class Upstream:
    """A cluster's resolver: names below ``suffix`` are names below ``domain`` there.

    ``server`` is its address as this host reaches it. ``subnets`` are all that this host reaches:
    an answer with another address would lead nowhere, or somewhere else.
    """

    cluster: str
    suffix: str
    domain: str
    server: IPAddress
    subnets: tuple[Subnet, ...]

    def takes(self, name: str) -> bool:
        """Whether it is asked for a full name in lower case."""
        if self.suffix == CLUSTER_DOMAIN:
            return is_below(name, CLUSTER_DOMAIN)
        return any(name.endswith(f".{kind}.{self.suffix}") for kind in _KINDS)

    def seen(self, address: IPAddress) -> IPAddress | None:
        """An address of an answer as this host reaches it, None where it does not."""
        for subnet in self.subnets:
            if address in subnet.cidr:
                return subnet.seen_at(address)
        return None


def is_label(cluster: str) -> bool:
    """Whether a cluster's name can be a part of names; kind takes one with dots as well."""
    return _LABEL.fullmatch(cluster.lower()) is not None


def list_upstreams(
    selected: Iterable[Selected], domain: str, owner: str | None = None
) -> tuple[Upstream, ...]:
    """The resolvers of the clusters that are reached; of two with one name, the first.

    The one of the cluster ``owner`` is there twice: as the resolver of `CLUSTER_DOMAIN` too.
    """
    items = tuple(selected)
    subnets = tuple(subnet for item in items for subnet in item.subnets)
    found: dict[str, Upstream] = {}
    for item in items:
        further = item.network.further
        if further is None or further.kind is not ReachKind.CLUSTER or further.dns is None:
            continue
        server = next(
            (one.seen_at(further.dns) for one in item.subnets if further.dns in one.cidr), None
        )
        name = further.name.lower()
        if server is not None and is_label(name):
            one = Upstream(
                further.name, f"{name}.{domain}", further.domain.lower(), server, subnets
            )
            found.setdefault(name, one)
    owned = [
        replace(one, suffix=CLUSTER_DOMAIN)
        for one in found.values()
        if (one.cluster, one.domain) == (owner, CLUSTER_DOMAIN)
    ]
    return (*found.values(), *owned)
