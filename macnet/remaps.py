"""Remaps: a Docker subnet is reached under another range of the same size, address by address.

The server's NETMAP rule translates; here is decided what to what. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from netaddr import IPNetwork, IPSet

from macnet.config import RemapWish
from macnet.errors import SubnetConflict
from macnet.models import Subnet
from macnet.networks import Selected, overlap

#: Where automatic remaps are taken from, from the bottom up, by IP version: seldom used by home
#: networks, Docker or cloud networks, and large enough for any Docker subnet. The second is
#: unique local (RFC 4193).
POOLS = {4: IPNetwork("10.192.0.0/10"), 6: IPNetwork("fd6d:6163:6e65::/48")}

Reserved = Iterable[tuple[IPNetwork, str]]


def remap_networks(
    selected: Iterable[Selected],
    wish: RemapWish,
    reserved: Reserved,
) -> tuple[Selected, ...]:
    """Give subnets other addresses, as asked for or where they collide with this host.

    A range that was chosen before stays as it is while it is free. ``reserved`` are the ranges
    in use, each with the words that say whose they are. Raises `SubnetConflict` where a range
    that was asked for is not free.
    """
    selected = tuple(selected)
    taken = [*reserved]
    for item in selected:
        taken += [(s.cidr, f"Docker's network {item.network.name}") for s in item.network.subnets]
    return tuple(_remap(item, wish, taken) for item in selected)


def kept_choices(
    wish: RemapWish, selected: Iterable[Selected]
) -> tuple[tuple[IPNetwork, IPNetwork], ...]:
    """What "auto" has chosen, with the choices of before for networks that are not there now.

    Those are kept until another needs their range, as the network may come back.
    """
    if not wish.auto:
        return ()
    asked = dict(wish.pairs)
    now = {s.cidr: s.seen for item in selected for s in item.subnets if s.seen is not None}
    used = [*now.values(), *asked.values()]
    kept = {
        real: seen
        for real, seen in wish.chosen
        if real in now or not any(overlap(seen, net) for net in used)
    }
    return tuple((real, seen) for real, seen in {**kept, **now}.items() if real not in asked)


def _remap(
    item: Selected,
    wish: RemapWish,
    taken: list[tuple[IPNetwork, str]],
) -> Selected:
    asked, known = dict(wish.pairs), dict(wish.chosen)
    colliding = {subnet.cidr for subnet, _ in item.left_out}
    routed: list[Subnet] = []
    left_out: list[tuple[Subnet, str]] = []
    for subnet in _in_order(item):
        seen: IPNetwork | None = None
        if subnet.cidr in asked:
            seen = asked[subnet.cidr]
            _claim(subnet.cidr, seen, taken)
        elif wish.auto and (subnet.cidr in colliding or subnet.cidr in known):
            seen = _choose(subnet.cidr, known, [net for net, _ in taken] + [*asked.values()])
        if seen is not None:
            taken.append((seen, f"the remap of {subnet.cidr}"))
            routed.append(replace(subnet, seen=seen))
        elif subnet.cidr in colliding:
            left_out.append((subnet, dict(item.left_out)[subnet]))
        else:
            routed.append(subnet)
    reason = item.reason if not routed else None
    return replace(item, subnets=tuple(routed), left_out=tuple(left_out), reason=reason)


def _in_order(item: Selected) -> list[Subnet]:
    wanted = {*item.subnets, *(subnet for subnet, _ in item.left_out)}
    return [subnet for subnet in item.network.subnets if subnet in wanted]


def _claim(real: IPNetwork, seen: IPNetwork, taken: Iterable[tuple[IPNetwork, str]]) -> None:
    for net, owner in taken:
        if overlap(seen, net):
            raise SubnetConflict(
                f"the remap {real}={seen} cannot be: {seen} overlaps {owner}",
                hint="give another range of this size, or --remap auto",
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
    free = IPSet(POOLS[like.version]) - IPSet([net for net in taken if net.version == like.version])
    for candidate in free.iter_cidrs():
        if candidate.prefixlen <= like.prefixlen:
            return IPNetwork((candidate.first, like.prefixlen), version=like.version)
    return None
