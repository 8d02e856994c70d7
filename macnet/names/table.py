"""What holds for names right now: the last zone, what has just gone, and whether to trust it. Pure.

macOS keeps a wrong "no such name" for 77 seconds (`mDNSCore/mDNS.c`: negative answers live for
at least 60 s, and a quarter and 2 s more), so no name is denied lightly: not before the engine
was asked after the question came, and not while a container restarts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from netaddr import IPAddress, IPNetwork

from macnet.kubernetes import CLUSTER_DOMAIN
from macnet.names.domain import is_below, is_probe
from macnet.names.upstream import Upstream
from macnet.names.zone import Name, Zone, parents

#: Seconds for which a name is answered as before when its container has stopped: a restart or a
#: new container of the same service takes less.
KEEP_S = 10.0
#: Seconds for which the last zone is answered from when the engine does not answer.
TRUST_S = 10.0

_PROBE_ADDRESS = IPAddress("127.0.0.1")
#: The domains of addresses (RFC 1035 3.5, RFC 3596 2.5): their labels, bits of each, number base.
_REVERSE = (
    ("in-addr.arpa", re.compile(r"0|[1-9][0-9]{0,2}"), 8, 10),
    ("ip6.arpa", re.compile(r"[0-9a-f]"), 4, 16),
)


class Verdict(Enum):
    """What to answer to a question for one name."""

    ADDRESSES = auto()
    POINTER = auto()
    APEX = auto()
    #: The name exists and has no address.
    EMPTY = auto()
    MISSING = auto()
    #: Nobody knows: the engine does not answer.
    UNKNOWN = auto()
    #: A cluster's resolver knows.
    FORWARD = auto()
    #: It would, but is not reached now.
    NOT_REACHED = auto()
    #: The name is not in the domain.
    OUTSIDE = auto()


@dataclass(frozen=True, slots=True)
class Settled:
    """A verdict, with the addresses, name or resolver that go with it, and its zone's name."""

    verdict: Verdict
    addresses: tuple[IPAddress, ...] = ()
    pointer: str | None = None
    apex: str = ""
    upstream: Upstream | None = None


class Table:
    """The names of one domain, and who knows those of a cluster's own.

    Times are seconds of any clock that only goes forward.
    """

    def __init__(self, domain: str, owner: str | None = None) -> None:
        """Know nothing yet; ``owner`` as in `Zone`."""
        self.zone = Zone(domain, complete=False, owner=owner)
        self._departed: dict[str, tuple[Name, float]] = {}
        self._away_since: float | None = None
        self._known = False

    @property
    def domain(self) -> str:
        """The domain whose names are here."""
        return self.zone.domain

    def replace(self, zone: Zone, now: float) -> None:
        """Take what the engine has just told; names without addresses now are kept for a while."""
        departed = {
            name: (entry, until) for name, (entry, until) in self._departed.items() if until > now
        }
        for name, entry in self.zone.names.items():
            if entry.addresses:
                departed[name] = (entry, now + KEEP_S)
        self._departed = {
            name: item
            for name, item in departed.items()
            if not ((there := zone.names.get(name)) and there.addresses)
        }
        self.zone, self._known, self._away_since = zone, True, None

    def engine_away(self, now: float) -> None:
        """Note that the engine does not answer; the zone is trusted for `TRUST_S` longer."""
        if self._away_since is None:
            self._away_since = now

    @property
    def away(self) -> bool:
        """Whether the engine has not answered when it was asked last."""
        return self._away_since is not None

    def trusted(self, now: float) -> bool:
        """Whether the zone may be answered from."""
        return self._known and (self._away_since is None or now < self._away_since + TRUST_S)

    def settle(
        self, name: str, now: float, *, fresh: bool, lacking: int | None = None
    ) -> Settled | None:
        """The verdict on a full name in lower case; None if the engine has to be asked first.

        ``fresh`` says that it was asked after the question came, whether it answered or not. Of a
        name that has no address of the IP version ``lacking`` it is asked first too: something has
        changed that the zone may not have yet.
        """
        if any(is_below(name, top) for top, *_ in _REVERSE):
            return self._settle_reverse(name, now, fresh=fresh)
        if self.zone.owner is not None and is_below(name, CLUSTER_DOMAIN):
            return self._settle_cluster(name, now, fresh=fresh)
        if is_below(name, self.domain):
            settled = self._settle_own(name, now, fresh=fresh)
            return settled if fresh or not _lacks(settled, lacking) else None
        return Settled(Verdict.OUTSIDE)

    def _settle_own(self, name: str, now: float, *, fresh: bool) -> Settled | None:
        if name == self.domain:
            return Settled(Verdict.APEX, apex=self.domain)
        if self.trusted(now) and (upstream := self.zone.find_upstream(name)) is not None:
            return Settled(Verdict.FORWARD, apex=self.domain, upstream=upstream)
        if addresses := self._addresses(name, now, fresh=fresh):
            return Settled(Verdict.ADDRESSES, addresses, apex=self.domain)
        return self._deny(name) if fresh else None

    def _settle_cluster(self, name: str, now: float, *, fresh: bool) -> Settled | None:
        if is_probe(name.removesuffix(f".{CLUSTER_DOMAIN}")):
            return Settled(Verdict.ADDRESSES, (_PROBE_ADDRESS,), apex=CLUSTER_DOMAIN)
        if not self.trusted(now):
            return Settled(Verdict.UNKNOWN) if fresh else None
        upstream = self.zone.find_upstream(name)
        if upstream is not None:
            return Settled(Verdict.FORWARD, apex=CLUSTER_DOMAIN, upstream=upstream)
        return Settled(Verdict.NOT_REACHED) if fresh else None

    def _addresses(self, name: str, now: float, *, fresh: bool) -> tuple[IPAddress, ...]:
        if is_probe(name.removesuffix(f".{self.domain}")):
            return (_PROBE_ADDRESS,)
        if not self.trusted(now):
            return ()
        entry = self.zone.find(name)
        if entry is not None and entry.addresses:
            return entry.addresses
        return self._kept(name, now) if fresh else ()

    def _deny(self, name: str) -> Settled:
        if not self._may_deny():
            return Settled(Verdict.UNKNOWN)
        found = Verdict.EMPTY if self.zone.exists(name) else Verdict.MISSING
        return Settled(found, apex=self.domain)

    def _may_deny(self) -> bool:
        """Whether a name may be denied: the engine answers and has told everything."""
        return not self.away and self._known and self.zone.complete

    def _kept(self, name: str, now: float) -> tuple[IPAddress, ...]:
        """The addresses of a name whose container has just stopped, but those that others have."""
        wildcards = (f"*.{parent}" for parent in parents(name, self.domain))
        for known in (name, *wildcards):
            entry, until = self._departed.get(known, (None, 0.0))
            if entry is not None and now < until:
                return tuple(a for a in entry.addresses if a not in self.zone.reverse)
        return ()

    def _settle_reverse(self, name: str, now: float, *, fresh: bool) -> Settled | None:
        block = reverse_block(name)
        host = block is not None and block.size == 1
        apex = name.partition(".")[2] if host else name
        pointer = self.zone.reverse.get(block.network) if block is not None and host else None
        if pointer and self.trusted(now):
            return Settled(Verdict.POINTER, pointer=pointer, apex=apex)
        if not fresh:
            return None
        if not self._may_deny():
            return Settled(Verdict.UNKNOWN)
        if block is None or not any(_contains(subnet, block) for subnet in self.zone.subnets):
            return Settled(Verdict.OUTSIDE)
        return Settled(Verdict.MISSING if host else Verdict.EMPTY, apex=apex)


def _lacks(settled: Settled | None, version: int | None) -> bool:
    """Whether addresses are the verdict, and none is of an IP version that was asked for."""
    return (
        version is not None
        and settled is not None
        and settled.verdict is Verdict.ADDRESSES
        and all(address.version != version for address in settled.addresses)
    )


def reverse_block(name: str) -> IPNetwork | None:
    """The addresses that a name below ``in-addr.arpa`` or ``ip6.arpa`` is about, None for none."""
    for top, pattern, width, base in _REVERSE:
        if name.endswith(f".{top}"):
            labels = name.removesuffix(f".{top}").split(".")[::-1]
            most = (32 if width == 8 else 128) // width
            if len(labels) > most or not all(map(pattern.fullmatch, labels)):
                return None
            digits = [int(label, base) for label in labels] + [0] * (most - len(labels))
            if max(digits) >= 1 << width:
                return None
            value = 0
            for digit in digits:
                value = value << width | digit
            return IPNetwork((value, len(labels) * width), version=4 if width == 8 else 6)
    return None


def _contains(subnet: IPNetwork, block: IPNetwork) -> bool:
    return bool(subnet.version == block.version and block in subnet)
