"""What a user names to be checked: ``TARGET[:PORT]``, an address or a container."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netaddr import IPAddress

from macnet.errors import BadValue, UnknownTarget

Json = Mapping[str, Any]

_HINT = (
    "name a container (its name or the beginning of its id) or an address, with a port or "
    "without: `redis`, `redis:6379`, `172.28.0.3:80`, `[fd00::3]:80`"
)
#: The characters of a container's name, as the engine allows them.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_ID = re.compile(r"[0-9a-f]{1,64}")
#: How many similar names an error suggests.
_SUGGESTIONS = 3


@dataclass(frozen=True, slots=True)
class Target:
    """One target as given: either a ``name`` or an ``address``, and perhaps a TCP port."""

    text: str
    name: str | None = None
    address: IPAddress | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """A target with the container that it names; for an address there is none yet.

    ``state`` is the engine's word (``running``, ``exited``).
    """

    target: Target
    container: str | None = None
    container_id: str | None = None
    state: str | None = None


def parse_target(text: str) -> Target:
    """Read ``TARGET[:PORT]``; an IPv6 address with a port is in brackets. Raises `BadValue`."""
    given = text.strip()
    if bracketed := re.fullmatch(r"\[([^\]]*)\](?::(.*))?", given):
        address = _parse_address(text, bracketed[1])
        return Target(text, address=address, port=_parse_port(text, bracketed[2]))
    if given.count(":") > 1:
        return Target(text, address=_parse_address(text, given))
    name, colon, port = given.partition(":")
    number = _parse_port(text, port if colon else None)
    # Digits and dots alone make a valid name too, but nobody means that.
    if re.fullmatch(r"[0-9.]*\.[0-9.]*", name):
        return Target(text, address=_parse_address(text, name), port=number)
    if not _NAME.fullmatch(name):
        raise BadValue(f"{text!r} is neither a container nor an address", hint=_HINT)
    return Target(text, name=name, port=number)


def _parse_address(text: str, address: str) -> IPAddress:
    # The standard library is strict; netaddr takes "172.28" for 172.0.0.28.
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        raise BadValue(f"{text!r}: {address!r} is not an address", hint=_HINT) from None
    if isinstance(found, ipaddress.IPv6Address) and found.scope_id is not None:
        raise BadValue(f"{text!r}: an address with a zone is never a container's", hint=_HINT)
    return IPAddress(str(found))


def _parse_port(text: str, port: str | None) -> int | None:
    if port is None:
        return None
    if re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536:
        return int(port)
    raise BadValue(f"{text!r}: {port!r} is not a TCP port", hint="a port is 1 to 65535")


def locate_targets(targets: Sequence[Target], containers: Iterable[Json]) -> tuple[Located, ...]:
    """Find the container of each target in ``GET /containers/json?all=1``.

    An exact name wins, then an id, then an id's beginning. Raises `UnknownTarget`, with similar
    names, where nothing or more than one container fits.
    """
    rows = tuple(containers)
    return tuple(
        Located(target) if target.name is None else _locate(target, target.name, rows)
        for target in targets
    )


def _locate(target: Target, name: str, rows: Sequence[Json]) -> Located:
    named = [row for row in rows if name in _names(row)]
    found = named or [
        row for row in rows if _ID.fullmatch(name) and str(row["Id"]).startswith(name)
    ]
    if len(found) == 1:
        row = found[0]
        return Located(target, _names(row)[0], str(row["Id"]), str(row.get("State") or "unknown"))
    if found:
        those = ", ".join(sorted(_names(row)[0] for row in found))
        raise UnknownTarget(
            f"{name!r} is the beginning of several containers' ids: {those}",
            hint="give more of the id, or the name",
        )
    similar = _similar(name, sorted(_names(row)[0] for row in rows))
    raise UnknownTarget(
        f"there is no container named {name!r}",
        hint=f"did you mean {' or '.join(similar)}?"
        if similar
        else "`docker ps` lists the containers that run",
    )


def _names(row: Json) -> list[str]:
    """A container's names, its own first: a link adds one of the form ``/other/alias``."""
    names = [str(name).lstrip("/") for name in row.get("Names") or ()]
    return sorted(names, key=lambda name: "/" in name) or [str(row["Id"])[:12]]


def _similar(name: str, names: Sequence[str]) -> list[str]:
    """Names that are close or that contain it: Compose's ``shop-redis-1`` for ``redis``."""
    inside = [known for known in names if name.lower() in known.lower()]
    close = difflib.get_close_matches(name, names, n=_SUGGESTIONS)
    return list(dict.fromkeys([*inside, *close]))[:_SUGGESTIONS]
