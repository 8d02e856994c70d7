"""The names of one tunnel's domain at one moment, and those that were refused. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from netaddr import IPAddress, IPNetwork

from macnet.names.claims import Aliases, Claim, Json, Kind, Place, list_claims, shown, why_refused
from macnet.names.upstream import Upstream, list_upstreams
from macnet.networks import Selected, routed_subnets


@dataclass(frozen=True, slots=True)
class Name:
    """A name of the zone, in full and lower case, and what it stands for.

    ``addresses`` are as this host reaches them. Without any, ``why`` tells the reason; the name
    exists all the same.
    """

    name: str
    kind: Kind
    containers: tuple[str, ...]
    networks: tuple[str, ...]
    addresses: tuple[IPAddress, ...]
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A name that a container asked for and did not get. ``name`` is safe to print."""

    name: str
    kind: Kind
    container: str
    why: str


@dataclass(frozen=True, slots=True)
class Zone:
    """What holds for one domain.

    ``reverse`` maps addresses to container names; ``subnets`` are the routed ranges as this host
    sees them; ``parents`` are names that exist only because there are names below them. What
    ``upstreams`` take is known to the resolvers of clusters; the cluster ``owner`` has its own
    domain here. In a zone that is not ``complete`` some aliases are still unknown, so nothing may
    be denied from it.
    """

    domain: str
    names: Mapping[str, Name] = field(default_factory=dict)
    refused: tuple[Refused, ...] = ()
    reverse: Mapping[IPAddress, str] = field(default_factory=dict)
    subnets: tuple[IPNetwork, ...] = ()
    parents: frozenset[str] = frozenset()
    complete: bool = True
    upstreams: tuple[Upstream, ...] = ()
    owner: str | None = None

    def find_upstream(self, name: str) -> Upstream | None:
        """The resolver that knows a full name in lower case."""
        return next((one for one in self.upstreams if one.takes(name)), None)

    def find(self, name: str) -> Name | None:
        """The entry for a full name in lower case, by wildcard too (RFC 4592)."""
        if entry := self.names.get(name):
            return entry
        if name in self.parents:
            return None
        for parent in parents(name, self.domain):
            if entry := self.names.get(f"*.{parent}"):
                return entry
            if parent in self.names or parent in self.parents:
                # The closest name that exists decides: a wildcard above it does not count.
                return None
        return None

    def exists(self, name: str) -> bool:
        """Whether a full name exists, if only as the parent of others."""
        return name == self.domain or name in self.parents or self.find(name) is not None


def build_zone(
    domain: str,
    selected: Iterable[Selected],
    containers: Iterable[Json],
    aliases: Mapping[str, Aliases],
    *,
    complete: bool = True,
    owner: str | None = None,
) -> Zone:
    """Decide who gets which name.

    ``selected`` says how this host reaches the networks, ``containers`` are the rows of
    ``GET /containers/json`` of the same moment, and ``aliases`` maps container and network ids
    to the names there, ``owner`` is the cluster that has its own domain here. Names that a
    container cannot have are in the zone's ``refused``.
    """
    selected = tuple(selected)
    held: dict[str, _Held] = {}
    refused: list[Refused] = []
    reverse: dict[IPAddress, str] = {}
    for claim in list_claims(selected, containers, aliases):
        why = why_refused(claim.name, claim.kind, domain) or _give(claim, held)
        if why is not None:
            refused.append(_refusal(claim, domain, why))
        elif claim.kind is Kind.CONTAINER:
            for address in _addresses(claim.places):
                reverse.setdefault(address, f"{claim.name}.{domain}")
    refused += _take_wildcards_back(domain, held)
    names = {entry.name: entry for entry in (_entry(domain, one) for one in held.values())}
    _add_spellings(names)
    return Zone(
        domain=domain,
        names=names,
        refused=tuple(refused),
        reverse=reverse,
        subnets=routed_subnets(selected),
        parents=frozenset(_all_parents(names, domain) - names.keys()),
        complete=complete,
        upstreams=list_upstreams(selected, domain, owner),
        owner=owner,
    )


class _Held:
    """A name that was given: to the first claim, and to those that belong to it."""

    def __init__(self, claim: Claim) -> None:
        self.first = claim
        self.containers = {claim.container_id: claim.container}
        self.places = list(claim.places)

    def why_not(self, claim: Claim) -> str | None:
        """Let a claim share the name; else say why it cannot."""
        if (claim.kind, claim.owner) == (self.first.kind, self.first.owner):
            self.containers[claim.container_id] = claim.container
            self.places += [place for place in claim.places if place not in self.places]
            return None
        if claim.container_id in self.containers:
            return None  # it has the name already, for a better reason
        return f"{_HOLDERS[self.first.kind]} {shown(self.first.container)} has it"


_HOLDERS = {
    Kind.CONTAINER: "container",
    Kind.SERVICE: "the service of container",
    Kind.NETWORK: "the network alias of container",
    Kind.LABEL: "the label of container",
}


def _give(claim: Claim, held: dict[str, _Held]) -> str | None:
    """Give a name away; else say why not."""
    if holder := held.get(claim.name):
        return holder.why_not(claim)
    held[claim.name] = _Held(claim)
    return None


def _refusal(claim: Claim, domain: str, why: str) -> Refused:
    name = shown(f"{claim.name}.{domain}")
    return Refused(name, claim.kind, shown(claim.container), why)


def _take_wildcards_back(domain: str, held: dict[str, _Held]) -> Iterator[Refused]:
    """Refuse wildcards below names of others: what is stopped there must not be theirs."""
    wildcards = [name for name in held if name.startswith("*.")]
    owners: dict[str, set[str]] = {}
    for name, one in held.items() if wildcards else ():
        if one.first.kind is not Kind.LABEL:
            for parent in (name, *parents(name, "")):
                owners.setdefault(parent, set()).update(one.containers)
    for name in wildcards:
        if owners.get(name[2:], set()) - held[name].containers.keys():
            claim = held.pop(name).first
            yield _refusal(claim, domain, "other containers have names there")


def _entry(domain: str, held: _Held) -> Name:
    addresses = tuple(_addresses(held.places))
    reasons = dict.fromkeys(place.why for place in held.places if place.why)
    return Name(
        name=f"{held.first.name}.{domain}",
        kind=held.first.kind,
        containers=tuple(held.containers.values()),
        networks=tuple(dict.fromkeys(place.network for place in held.places)),
        addresses=addresses,
        why=None if addresses else "; ".join(reasons) or "it is on no network",
    )


def _addresses(places: Iterable[Place]) -> Iterator[IPAddress]:
    return iter(dict.fromkeys(address for place in places for address in place.addresses))


def _add_spellings(names: dict[str, Name]) -> None:
    for full, entry in tuple(names.items()):
        spelled = full.replace("_", "-")
        if spelled not in names:
            names[spelled] = replace(entry, name=spelled, kind=Kind.SPELLING)


def parents(name: str, domain: str) -> Iterator[str]:
    """The names above ``name``, from the nearest up, that are below ``domain``."""
    parent = name.partition(".")[2]
    while parent and parent != domain:
        yield parent
        parent = parent.partition(".")[2]


def _all_parents(names: Iterable[str], domain: str) -> set[str]:
    return {parent for name in names for parent in parents(name, domain)}
