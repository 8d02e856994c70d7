"""Remaps: a Docker subnet is reached under another range of the same size, address by address.

The server's NETMAP rule translates; here is decided what to what. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from netaddr import IPNetwork, IPSet

from macnet.errors import SubnetConflict
from macnet.models import Subnet
from macnet.networks import NEVER_ROUTED, Selected, overlap, why_never
from macnet.values import Pairs, RemapRequest

#: Where automatic remaps are taken from, in this order and from the bottom up, by IP version.
#: The first for IPv4 is seldom used by home networks, Docker or cloud networks, and large enough
#: for any Docker subnet. That for IPv6 is unique local (RFC 4193).
POOLS = {
    4: (
        IPNetwork("10.192.0.0/10"),
        IPNetwork("172.16.0.0/12"),
        IPNetwork("10.0.0.0/8"),
        IPNetwork("198.18.0.0/15"),
        IPNetwork("100.64.0.0/10"),
        IPNetwork("192.168.0.0/16"),
    ),
    6: (IPNetwork("fd6d:6163:6e65::/48"),),
}

Reserved = Iterable[tuple[IPNetwork, str]]


def remap_networks(
    selected: Iterable[Selected],
    requested: RemapRequest,
    reserved: Reserved,
    *,
    host: Reserved = (),
    passable: Collection[IPNetwork] = frozenset(),
    chosen: Pairs = (),
    kept: Pairs = (),
) -> tuple[Selected, ...]:
    """Give subnets other addresses, as asked for or where they collide with this host.

    A range that "auto" has ``chosen`` before stays as it is while it is free. ``reserved`` are
    the ranges in use, each with the words that say whose they are; a range that was asked for and
    overlaps one of them or one of Docker's raises `SubnetConflict`. What this ``host`` uses comes
    and goes and never raises: such a range is left out, but that of a wider route (one of
    ``passable``) is no obstacle, as the longer prefix wins. Nor do pairs raise that are ``kept``
    from an earlier setup: a network of Docker's that lies in such a range is left out itself.
    """
    selected = tuple(selected)
    used = _Used([*NEVER_ROUTED, *reserved], [], [*host], passable)
    for item in selected:
        if why_never(item.network) is not None:
            continue
        whose = "" if item.network.further is not None else "Docker's network "
        used.docker += [(s.cidr, f"{whose}{item.network.name}") for s in item.network.subnets]
    wanted = {subnet.cidr for item in selected for subnet in _in_order(item)}
    held = [
        (seen, real)
        for real, seen in requested.pairs
        if (real, seen) in kept and real in wanted and used.later(seen) is None
    ]
    return tuple(
        _remap(_beside(item, requested, held), requested, dict(chosen), used, kept)
        for item in selected
    )


def kept_choices(
    requested: RemapRequest, selected: Iterable[Selected], before: Pairs = ()
) -> Pairs:
    """What "auto" has chosen, with the choices of ``before`` for networks that are not there now.

    Those are kept until another needs their range, as the network may come back.
    """
    if not requested.auto:
        return ()
    asked = dict(requested.pairs)
    now = {s.cidr: s.seen for item in selected for s in item.subnets if s.seen is not None}
    used = [*now.values(), *asked.values()]
    kept = {
        real: seen
        for real, seen in before
        if real in now or not any(overlap(seen, net) for net in used)
    }
    return tuple((real, seen) for real, seen in {**kept, **now}.items() if real not in asked)


@dataclass(slots=True)
class _Used:
    """The ranges in use, each with whose it is: what never yields, Docker's, and this host's."""

    firm: list[tuple[IPNetwork, str]]
    docker: list[tuple[IPNetwork, str]]
    host: Sequence[tuple[IPNetwork, str]]
    passable: Collection[IPNetwork]

    def ranges(self) -> list[IPNetwork]:
        return [net for net, _ in (*self.firm, *self.docker, *self.host)]

    def later(self, seen: IPNetwork) -> str | None:
        """Whose range keeps ``seen`` from being routed that was asked for by an earlier setup."""
        firm = next((owner for net, owner in self.firm if overlap(seen, net)), None)
        return firm or self.obstacle(seen)

    def obstacle(self, seen: IPNetwork) -> str | None:
        """Whose range of this host keeps ``seen`` from being routed, None without one."""
        for net, owner in self.host:
            beside = net in self.passable and net.prefixlen < seen.prefixlen
            if overlap(seen, net) and not beside:
                return owner
        return None


def _beside(
    item: Selected, requested: RemapRequest, held: Iterable[tuple[IPNetwork, IPNetwork]]
) -> Selected:
    """``item`` without what lies in a range that a remap has (``held``: seen, real)."""
    asked = dict(requested.pairs)
    out = {
        subnet: f"the remap of {real}"
        for subnet in item.subnets
        if subnet.cidr not in asked
        for seen, real in held
        if overlap(subnet.cidr, seen)
    }
    rest = tuple(subnet for subnet in item.subnets if subnet not in out)
    return replace(item, subnets=rest, left_out=(*item.left_out, *out.items()))


def _remap(
    item: Selected,
    requested: RemapRequest,
    known: Mapping[IPNetwork, IPNetwork],
    used: _Used,
    kept: Pairs,
) -> Selected:
    asked = dict(requested.pairs)
    colliding = {subnet.cidr for subnet, _ in item.left_out}
    routed: list[Subnet] = []
    left_out: list[tuple[Subnet, str]] = []
    for subnet in _in_order(item):
        seen: IPNetwork | None = None
        owner: str | None = None
        if subnet.cidr in asked:
            seen = asked[subnet.cidr]
            if (subnet.cidr, seen) not in kept:
                _claim(subnet.cidr, seen, used)
            owner = used.later(seen)
        elif requested.auto and (subnet.cidr in colliding or subnet.cidr in known):
            seen = _choose(subnet.cidr, known, [*used.ranges(), *asked.values()])
        if seen is not None:
            used.firm.append((seen, f"the remap of {subnet.cidr}"))
        if seen is not None and owner is not None:
            left_out.append((replace(subnet, seen=seen), f"{owner} by its remap {seen}"))
        elif seen is not None:
            routed.append(replace(subnet, seen=seen))
        elif subnet.cidr in colliding:
            left_out.append((subnet, dict(item.left_out)[subnet]))
        else:
            routed.append(subnet)
    told = "; ".join(f"{subnet.cidr} overlaps {why}" for subnet, why in left_out)
    reason = None if routed else told or item.reason
    return replace(item, subnets=tuple(routed), left_out=tuple(left_out), reason=reason)


def _in_order(item: Selected) -> list[Subnet]:
    wanted = {*item.subnets, *(subnet for subnet, _ in item.left_out)}
    return [subnet for subnet in item.network.subnets if subnet in wanted]


def _claim(real: IPNetwork, seen: IPNetwork, used: _Used) -> None:
    for net, owner in (*used.firm, *used.docker):
        if overlap(seen, net):
            free = free_range(real, used.ranges())
            asked = "" if free is None else f"`macnet setup --remap {real}={free}` takes a free one"
            raise SubnetConflict(
                f"the remap {real}={seen} cannot be: {seen} overlaps {owner}",
                hint=asked or "no range of this size is free; `macnet setup --unset remap` ends it",
            )


def _choose(
    real: IPNetwork, known: Mapping[IPNetwork, IPNetwork], used: list[IPNetwork]
) -> IPNetwork | None:
    """The range of before if it is free, else the first free one that is nobody else's."""
    before = known.get(real)
    if before is not None and not any(overlap(before, net) for net in used):
        return before
    return free_range(real, [*used, *known.values()]) or free_range(real, used)


def free_range(like: IPNetwork, taken: Iterable[IPNetwork]) -> IPNetwork | None:
    """The first range of `POOLS` that is as large as ``like`` and free, None without one."""
    used = IPSet([net for net in taken if net.version == like.version])
    for pool in POOLS[like.version]:
        for candidate in (IPSet([pool]) - used).iter_cidrs():
            if candidate.prefixlen <= like.prefixlen:
                return IPNetwork((candidate.first, like.prefixlen), version=like.version)
    return None
