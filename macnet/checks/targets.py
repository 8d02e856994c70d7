"""What a user names to be checked: ``TARGET[:PORT]``, and where that is."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from netaddr import IPAddress

from macnet import survey
from macnet.donors import list_hints
from macnet.errors import BadValue, UnknownTarget
from macnet.models import Endpoint, Port
from macnet.names import Zone
from macnet.names.claims import Kind
from macnet.networks import Selected, container_names
from macnet.survey import ReadPorts, Target

Json = Mapping[str, Any]

_HINT = (
    "name a container (its name or the beginning of its id), a network or an address, with a port "
    "or without: `redis`, `redis:6379`, `172.28.0.3:80`, `[fd00::3]:80`, `http://redis/`"
)
#: The characters of a container's name, as the engine allows them.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_ID = re.compile(r"[0-9a-f]{1,64}")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:[^/?#]*@)?([^/?#]*)")
#: Ports of URLs that name none.
_SCHEMES = {"http": 80, "https": 443}
#: How many similar names an error suggests.
_SUGGESTIONS = 3


@dataclass(frozen=True, slots=True)
class Request:
    """A target as given: either a ``name`` or an ``address``, and perhaps a TCP port."""

    name: str | None = None
    address: IPAddress | None = None
    port: int | None = None


def parse_target(text: str) -> Request:
    """Read ``TARGET[:PORT]`` or a URL; an IPv6 address with a port is in brackets.

    Raises `BadValue`. What a URL says of user and password is dropped.
    """
    given = text.strip()
    if url := _URL.match(given):
        request = parse_target(url[2])
        return replace(request, port=request.port or _SCHEMES.get(url[1].lower()))
    if bracketed := re.fullmatch(r"\[([^\]]*)\](?::(.*))?", given):
        address = _parse_address(text, bracketed[1])
        return Request(address=address, port=_parse_port(text, bracketed[2]))
    if given.count(":") > 1:
        return Request(address=_parse_address(text, given))
    name, colon, port = given.partition(":")
    number = _parse_port(text, port if colon else None)
    # Digits and dots alone make a valid name too, but nobody means that.
    if re.fullmatch(r"[0-9.]*\.[0-9.]*", name):
        return Request(address=_parse_address(text, name), port=number)
    if not _NAME.fullmatch(name):
        raise BadValue(f"{text!r} is no container, network or address", hint=_HINT)
    return Request(name=name, port=number)


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


@dataclass(frozen=True, slots=True)
class Named:
    """The containers that a name stands for; only on ``networks``, None for all of theirs."""

    rows: tuple[Json, ...]
    networks: tuple[str, ...] | None = None


class Places:
    """The engine's networks and containers, and where a request is among them.

    ``rows`` is ``GET /containers/json?all=1``, ``domain`` that of the containers' names while
    these are on, and ``find_zone`` tells these names.
    """

    def __init__(
        self,
        selected: Sequence[Selected],
        rows: Iterable[Json],
        *,
        domain: str | None = None,
        find_zone: Callable[[], Zone],
    ) -> None:
        self._domain = domain
        self._selected = selected
        self._rows = tuple(rows)
        self._find_zone = find_zone

    def find(self, request: Request) -> Named | Selected | None:
        """The containers or the network that it names; None for an address.

        An exact name of a container wins, then a network's, then a container's id, then an id's
        beginning, then a name in the tunnel's domain, with the domain (while names are on) or
        without. Raises `UnknownTarget`, with similar names, where nothing or more than one
        container fits, and for an address outside every network.
        """
        if request.address is not None:
            self._require(request.address)
            return None
        name = request.name or ""
        if named := [row for row in self._rows if name in container_names(row)]:
            return Named((named[0],))
        if network := next((item for item in self._selected if item.network.name == name), None):
            return network
        found = [r for r in self._rows if _ID.fullmatch(name) and str(r["Id"]).startswith(name)]
        if len(found) == 1:
            return Named((found[0],))
        if found:
            those = ", ".join(sorted(container_names(row)[0] for row in found))
            raise UnknownTarget(
                f"{name!r} is the beginning of several containers' ids: {those}",
                hint="give more of the id, or the name",
            )
        return self._find_in_domain(name)

    def _find_in_domain(self, name: str) -> Named:
        end = f".{self._domain}"
        short = name.lower().removesuffix(end) if self._domain else name.lower()
        if named := [row for row in self._rows if short in map(str.lower, container_names(row))]:
            return Named((named[0],))  # also one that does not run
        zone = self._find_zone()
        if entry := zone.find(f"{short}.{zone.domain}"):
            rows = [row for row in self._rows if container_names(row)[0] in entry.containers]
            return Named(tuple(rows), entry.networks)
        if self._domain is None and name.lower().endswith(f".{zone.domain}"):
            raise UnknownTarget(
                f"{name!r} is nobody's name: names are off",
                hint="`macnet names on`, or name the container without the domain",
            )
        known = [*(container_names(row)[0] for row in self._rows), *self._network_names()]
        more = {
            given.removesuffix(f".{zone.domain}")
            for given, entry in zone.names.items()
            if entry.kind is not Kind.SPELLING
        }
        # The longer names are of the same containers.
        similar = _similar(short, sorted(set(known))) or _similar(short, sorted(more))
        raise UnknownTarget(
            f"there is no container, network or name {name!r}",
            hint=f"did you mean {' or '.join(similar)}?"
            if similar
            else "`docker ps` lists the containers that run",
        )

    def _network_names(self) -> Iterator[str]:
        return (item.network.name for item in self._selected)

    def _require(self, address: IPAddress) -> None:
        ranges = (
            net
            for item in self._selected
            for subnet in (*item.network.subnets, *item.subnets)
            for net in (subnet.cidr, subnet.route)
        )
        if not any(address in net for net in ranges):
            hints = list_hints(item.network for item in self._selected)
            raise UnknownTarget(
                f"{address} is outside every network of this engine",
                hint="; ".join(hints) or "`macnet networks` shows the engine's networks",
            )

    def place(self, request: Request, bridges: Sequence[Target], read: ReadPorts) -> list[Target]:
        """What to try for a request; one target with a fix where it cannot be tried."""
        found = self.find(request)
        if request.address is not None:
            return self._place_address(request.address, bridges, read, request.port)
        if isinstance(found, Selected):
            return _place_network(found, bridges, read, request.port)
        if found is None:
            return []
        targets = [
            target
            for row in found.rows
            for target in self._place_container(row, bridges, read, request.port)
        ]
        if found.networks is None:
            return targets
        return [target for target in targets if target.network in found.networks] or targets

    def _place_container(
        self, row: Json, bridges: Sequence[Target], read: ReadPorts, port: int | None
    ) -> list[Target]:
        name, state = container_names(row)[0], str(row.get("State") or "unknown")
        if state != "running":
            why = f"it is not running ({state})"
            return [Target(name, container=name, why_not=why, fix=_start_fix(name, state))]
        mode = str((row.get("HostConfig") or {}).get("NetworkMode") or "")
        kind, _, other = mode.partition(":")
        if kind == "container" and (owner := self._find_row(other)) is not None:
            followed = self._place_container(owner, bridges, read, port)
            return [replace(target, named=name) for target in followed]
        found = [
            target
            for item in self._selected
            for endpoint in item.network.endpoints
            if endpoint.container_id == str(row["Id"])
            for target in survey.endpoint_targets(item, endpoint, bridges, read, port)
        ]
        if any(target.why_not is None for target in found):
            return found
        why = "; ".join(target.why_not or "" for target in found)
        networks = (row.get("NetworkSettings") or {}).get("Networks") or {}
        # Podman says "host" of every container in its listing, so only together with the network.
        if not why and mode in _MODES and mode in networks:
            why, fix = _MODES[mode]
            return [Target(name, container=name, why_not=why, fix=fix)]
        why = why or "it has no address of its own"
        return [Target(name, container=name, why_not=why, fix=_connect_fix(name))]

    def _find_row(self, name: str) -> Json | None:
        return next((r for r in self._rows if r["Id"] == name or name in container_names(r)), None)

    def _place_address(
        self,
        address: IPAddress,
        bridges: Sequence[Target],
        read: ReadPorts,
        port: int | None,
    ) -> list[Target]:
        for item in self._selected:
            for endpoint in item.network.endpoints:
                real = _real_address(item, endpoint, address)
                if real is not None:
                    one = replace(endpoint, addresses=(real,))
                    fix = _connect_fix(endpoint.container)
                    found = survey.endpoint_targets(item, one, bridges, read, port)
                    return [replace(t, fix=fix) if t.why_not else t for t in found]
        ports = () if port is None else (Port(port),)
        for bridge in bridges:
            if bridge.subnet is not None and address in bridge.subnet.route:
                return [replace(bridge, address=address, ports=ports, asked=bool(ports))]
        item = next(i for i in self._selected if any(address in s.cidr for s in i.network.subnets))
        return [
            Target(
                item.network.name,
                address=address,
                why_not=survey.why_not_routed(item, address),
                fix="`macnet networks` shows what is routed; name a container there",
            )
        ]


def _place_network(
    item: Selected,
    bridges: Sequence[Target],
    read: ReadPorts,
    port: int | None,
) -> list[Target]:
    name = item.network.name
    found = [
        target
        for endpoint in item.network.user_endpoints
        for target in survey.endpoint_targets(item, endpoint, bridges, read, port)
    ]
    if any(target.why_not is None for target in found):
        return found
    if item.reason is not None:
        fix = "`macnet networks` shows what is routed, and why not"
        return [Target(name, why_not=f"it is not routed: {item.reason}", fix=fix)]
    fix = "`docker ps` lists the containers that run"
    return [Target(name, why_not="no container runs on this network", fix=fix)]


def _real_address(item: Selected, endpoint: Endpoint, address: IPAddress) -> IPAddress | None:
    """The container's own address if ``address`` is that, or the one under which it is seen."""
    for own in endpoint.addresses:
        seen = {own, *(s.seen_at(own) for s in item.subnets if own in s.cidr)}
        if address in seen:
            return own
    return None


def _similar(name: str, names: Sequence[str]) -> list[str]:
    """Names that are close or that contain it: Compose's ``shop-redis-1`` for ``redis``."""
    inside = [known for known in names if name.lower() in known.lower()]
    close = difflib.get_close_matches(name, names, n=_SUGGESTIONS)
    return list(dict.fromkeys([*inside, *close]))[:_SUGGESTIONS]


#: Containers without a network of their own: why they cannot be tried, and what to do.
_MODES = {
    "host": (
        "it uses the engine's own addresses (network mode host) and has none of its own",
        "start it on a Docker network to reach it by an address: `docker run --network NETWORK`",
    ),
    "none": (
        "it has no network (network mode none)",
        "start it on a Docker network: `docker run --network NETWORK`",
    ),
}


def _start_fix(container: str, state: str) -> str:
    if state == "paused":
        return f"`docker unpause {container}`"
    if state == "restarting":
        return f"`docker logs {container}` tells why it ends again and again"
    return f"`docker start {container}`"


def _connect_fix(container: str) -> str:
    return (
        "`macnet networks` shows what is routed; put it on such a network: "
        f"`docker network connect NETWORK {container}`"
    )
