"""Which names containers ask for, before it is decided who gets them. Pure.

Names come from container names, Compose's labels, network aliases and the label
`io.macnet.names`. All of it is text that anybody with a container may choose: what is not a
plain DNS name is refused, never repaired, and no name leaves the tunnel's domain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from netaddr import IPAddress

from macnet.names.domain import MAX_NAME, is_probe
from macnet.networks import Homes, Selected, container_names, seen_addresses
from macnet.swarm import SERVICE_NAME, TASK_NAME

Json = Mapping[str, Any]
#: The names on each network of a container, by the id that the container's row has for it.
Aliases = Mapping[str, Sequence[str]]

LABEL_NAMES = "io.macnet.names"
_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
#: The most names that one container's label may ask for; what follows is passed over.
_MOST_LABEL_NAMES = 64
#: The length at which the text of a refused name is cut.
_SHOWN = 80


class Kind(IntEnum):
    """Where a name comes from. Of two that want the same name the first kind gets it."""

    CONTAINER = 1
    SERVICE = 2
    NETWORK = 3
    LABEL = 4
    #: A name with hyphens for its underscores, which many programs refuse in host names.
    SPELLING = 5


@dataclass(frozen=True, slots=True)
class Place:
    """A container on one network: its addresses as this host sees them, or why it has none.

    ``network_id`` is as in `Aliases`, which on Podman is a name.
    """

    network_id: str
    network: str
    addresses: tuple[IPAddress, ...]
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A name, still without the domain, that a container asks for.

    Claims with the same name, kind and ``owner`` belong together, like those of a service's
    replicas.
    """

    name: str
    kind: Kind
    owner: tuple[str, ...]
    container: str
    container_id: str
    places: tuple[Place, ...]


def list_claims(
    selected: Iterable[Selected],
    containers: Iterable[Json],
    aliases: Mapping[str, Aliases],
) -> Iterator[Claim]:
    """Every name that the running containers ask for, kind by kind, oldest containers first.

    ``containers`` are rows of ``GET /containers/json``; ``aliases`` holds what inspecting them
    has told, by container id.
    """
    rows = sorted(containers, key=lambda row: (row.get("Created") or 0, str(row["Id"])))
    places = _Places(selected, rows)
    placed = [(row, places.of(row)) for row in rows]
    for row, own in placed:
        yield _claim(row, own, _name(row), Kind.CONTAINER, (str(row["Id"]),))
    for row, own in placed:
        yield from _service(row, own)
    for row, own in placed:
        yield from _on_networks(row, own, aliases.get(str(row["Id"]), {}))
    for row, own in placed:
        yield from _labelled(row, own)


def _claim(
    row: Json, places: tuple[Place, ...], name: str, kind: Kind, owner: tuple[str, ...]
) -> Claim:
    return Claim(name.lower(), kind, owner, _name(row), str(row["Id"]), places)


def _name(row: Json) -> str:
    return container_names(row)[0]


def _labels(row: Json) -> Json:
    return row.get("Labels") or {}


class _Places:
    """Where containers are."""

    def __init__(self, selected: Iterable[Selected], rows: Iterable[Json]) -> None:
        self._networks = {item.network.id: item for item in selected}
        self._homes = Homes(item.network for item in self._networks.values())
        self._rows = {str(row["Id"]): row for row in rows}
        self._seen = {
            (point.container_id, identity): seen_addresses(item, point)
            for identity, item in self._networks.items()
            for point in item.network.endpoints
        }

    def of(self, row: Json) -> tuple[Place, ...]:
        """The networks of a container: that of its default route first, then by name."""
        row = self._lender(row)
        settings: Mapping[str, Json] = (row.get("NetworkSettings") or {}).get("Networks") or {}
        ordered = sorted(
            settings.items(), key=lambda item: (-int(item[1].get("GwPriority") or 0), item[0])
        )
        return tuple(self._place(str(row["Id"]), name, endpoint) for name, endpoint in ordered)

    def _lender(self, row: Json) -> Json:
        """Whose network a container uses: that of another one, which may use a third one's."""
        seen: set[str] = set()
        while (identity := str(row["Id"])) not in seen:
            seen.add(identity)
            mode = str((row.get("HostConfig") or {}).get("NetworkMode") or "")
            kind, _, other = mode.partition(":")
            row = self._rows.get(other, row) if kind == "container" else row
        return row

    def _place(self, container: str, network: str, endpoint: Json) -> Place:
        identity = str(endpoint.get("NetworkID") or "")
        home = self._homes.find(network, endpoint)
        if home is None:
            return Place(identity, network, (), _why_none(network, None))
        addresses = self._seen.get((container, home.id), ())
        why = None if addresses else _why_none(home.name, self._networks[home.id])
        return Place(identity, home.name, addresses, why)


def _why_none(network: str, item: Selected | None) -> str:
    if item is not None and item.reason:
        return item.reason
    left_out = [f"{subnet.cidr} overlaps {why}" for subnet, why in item.left_out] if item else []
    return "; ".join(left_out) or f"it has no address on {network}"


def _service(row: Json, places: tuple[Place, ...]) -> Iterator[Claim]:
    labels = _labels(row)
    service, project = labels.get(_SERVICE), labels.get(_PROJECT)
    if service and project:
        owner = (str(project), str(service))
        yield _claim(row, places, f"{service}.{project}", Kind.SERVICE, owner)
    if (service := labels.get(SERVICE_NAME)) and (task := labels.get(TASK_NAME)):
        # Of a swarm: the service, and its task by the number that it has there.
        owner = ("swarm", str(service))
        yield _claim(row, places, str(service), Kind.SERVICE, owner)
        number = str(task).removeprefix(f"{service}.").partition(".")[0]
        yield _claim(row, places, f"{number}.{service}", Kind.SERVICE, (*owner, number))


def _on_networks(row: Json, places: tuple[Place, ...], aliases: Aliases) -> Iterator[Claim]:
    """The container's name and its aliases below each network's name.

    Several containers may share an alias of a network, as they do in Docker's own DNS. The
    short id, which Docker adds to the aliases, is left out.
    """
    short_id = str(row["Id"])[:12]
    for place in places:
        names = [_name(row), *aliases.get(place.network_id, ())]
        for name in dict.fromkeys(str(name).lower() for name in names):
            if name != short_id:
                owner = (place.network_id, name)
                yield _claim(row, (place,), f"{name}.{place.network}", Kind.NETWORK, owner)


def _labelled(row: Json, places: tuple[Place, ...]) -> Iterator[Claim]:
    """The names of the label; replicas of a service share theirs."""
    labels = _labels(row)
    text = str(labels.get(LABEL_NAMES) or "")
    if not text:
        return
    shared = tuple(str(labels[key]) for key in (_PROJECT, _SERVICE) if labels.get(key))
    names = dict.fromkeys(name.strip() for name in text.split(","))
    for name in list(filter(None, names))[:_MOST_LABEL_NAMES]:
        yield _claim(row, places, name, Kind.LABEL, shared or (str(row["Id"]),))


def why_refused(name: str, kind: Kind, domain: str) -> str | None:
    """Why nobody can have ``name`` (lower case, without the domain); None if it is a name."""
    rest = name.removeprefix("*.") if kind is Kind.LABEL else name
    if rest == "*":
        return "a wildcard needs a name behind it, like *.blog"
    if len(name) + 1 + len(domain) > MAX_NAME:
        return f"it is longer than the {MAX_NAME} characters that DNS allows"
    if not all(map(_LABEL.fullmatch, rest.split("."))):
        return "DNS names have letters, digits, - and _, at most 63 between two dots"
    if is_probe(name):
        return "macnet's own checks use it"
    return None


def shown(name: str) -> str:
    """``name`` so that it can be printed: a refused one may hold anything."""
    text = "".join(char if char.isprintable() else "�" for char in name)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
