"""Names as `macnet names` shows them, and other tables. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

from netaddr import IPAddress

from macnet.names.claims import Kind
from macnet.names.zone import Zone
from macnet.networks import Selected


@dataclass(frozen=True, slots=True)
class NameRow:
    """A name with its addresses, or why it has none; ``given`` is False for a refused one."""

    name: str
    containers: tuple[str, ...]
    networks: tuple[str, ...]
    addresses: tuple[IPAddress, ...]
    given: bool = True
    why: str | None = None


@dataclass(frozen=True, slots=True)
class NamesView:
    """All names of a tunnel's domain, by name; the refused ones come last.

    Other spellings (hyphens for underscores) are left out: they repeat what is there.
    """

    domain: str
    names: tuple[NameRow, ...]


def names_table(zone: Zone) -> NamesView:
    """The rows of a zone."""
    given = [
        NameRow(entry.name, entry.containers, entry.networks, entry.addresses, why=entry.why)
        for _, entry in sorted(zone.names.items())
        if entry.kind is not Kind.SPELLING
    ]
    refused = [
        NameRow(item.name, (item.container,), (), (), given=False, why=item.why)
        for item in sorted(zone.refused, key=lambda item: (item.name, item.container))
    ]
    return NamesView(zone.domain, (*given, *refused))


def add_names(selected: Iterable[Selected], zone: Zone) -> tuple[Selected, ...]:
    """``selected`` with the names of each container on each network, the shortest first."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in zone.names.values():
        if entry.kind is not Kind.SPELLING and entry.addresses:
            for key in product(entry.containers, entry.networks):
                found.setdefault(key, []).append(entry.name)
    return tuple(
        replace(
            item,
            network=replace(
                item.network,
                endpoints=tuple(
                    replace(point, names=_in_order(found.get((point.container, point.network), ())))
                    for point in item.network.endpoints
                ),
            ),
        )
        for item in selected
    )


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: (len(name), name)))
