"""What is to be reached, and over which subnets. Pure: decided from facts.

A lane is one subnet of a Docker network that the tunnel carries or should carry; a spot is one
address on it with the ports to try; a gap is something that cannot be tried, with why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from netaddr import IPAddress, IPNetwork

from macnet.checks.targets import Located
from macnet.models import Endpoint, Network, Port, Subnet
from macnet.networks import Selected, gateway_of
from macnet.routes import RouteDiff

#: The checks that can take single lanes out of those that follow.
SUBNETS_CHECK, ROUTES_CHECK = "tunnel.subnets", "reach.routes"


@dataclass(frozen=True, slots=True)
class Lane:
    """A Docker subnet that is expected to be reachable.

    ``blocked`` is the id of the check that found that it is not.
    """

    network: Network
    subnet: Subnet
    blocked: str | None = None

    @property
    def label(self) -> str:
        """How results name it."""
        seen = f" as {self.subnet.seen}" if self.subnet.seen is not None else ""
        return f"{self.network.name} {self.subnet.cidr}{seen}"

    @property
    def gateway(self) -> IPAddress:
        """The bridge's address as this host reaches it."""
        return self.subnet.seen_at(gateway_of(self.subnet))


@dataclass(frozen=True, slots=True)
class Spot:
    """An address to try. ``asked`` are the TCP ports that the user named, ``exposed`` the
    ones that the container declares."""

    address: IPAddress
    lane: Lane
    container: str | None = None
    asked: frozenset[int] = frozenset()
    exposed: frozenset[int] = frozenset()

    @property
    def ports(self) -> tuple[int, ...]:
        """The TCP ports to try: those that were asked for, else the exposed ones."""
        return tuple(sorted(self.asked or self.exposed))

    @property
    def label(self) -> str:
        """How results name it."""
        return f"{self.container} {self.address}" if self.container else str(self.address)

    def port_label(self, port: int) -> str:
        """How results name one of its ports."""
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{self.container} {host}:{port}" if self.container else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that cannot be tried. ``fix`` is there where the user had named it."""

    subject: str
    reason: str
    fix: str | None = None


ReadPorts = Callable[[str], tuple[Port, ...]]


def covered(net: IPNetwork, by: Iterable[IPNetwork]) -> bool:
    """Whether ``net`` lies inside one of the ranges."""
    return any(net in other for other in by)


def plan_lanes(selected: Iterable[Selected], carried: Sequence[IPNetwork]) -> tuple[Lane, ...]:
    """Every routed subnet, and those left out by now that the tunnel still carries.

    A subnet is left out when another route of this host overlaps it; while the tunnel has a
    route for it, that is worth a look, and the other route may be the reason for a failure.
    """
    lanes = []
    for item in selected:
        left_out = (subnet for subnet, _ in item.left_out if covered(subnet.route, carried))
        for subnet in (*item.subnets, *left_out):
            blocked = None if covered(subnet.route, carried) else SUBNETS_CHECK
            lanes.append(Lane(item.network, subnet, blocked))
    return tuple(lanes)


def mark_routes(lanes: Iterable[Lane], diff: RouteDiff) -> tuple[Lane, ...]:
    """Block the lanes that don't leave this host by the tunnel."""
    present = set(diff.present)
    return tuple(
        lane
        if lane.blocked or lane.subnet.route in present
        else replace(lane, blocked=ROUTES_CHECK)
        for lane in lanes
    )


def plan_spots(
    selected: Sequence[Selected],
    lanes: Sequence[Lane],
    targets: Sequence[Located],
    *,
    own: Iterable[str],
    read_ports: ReadPorts,
) -> tuple[tuple[Spot, ...], tuple[Gap, ...]]:
    """What to try and what not.

    Without ``targets`` every running container, except the helper's own (their ids are
    ``own``); else only the targets. ``read_ports`` asks the engine for a container's ports.
    """
    scene = _Scene(selected, lanes, read_ports)
    if targets:
        found = [scene.place(target) for target in targets]
    else:
        hidden = set(own)
        found = [
            scene.try_endpoint(item, endpoint)
            for item in selected
            for endpoint in item.network.endpoints
            if endpoint.container_id not in hidden
        ]
    return (
        _merge(spot for spots, _ in found for spot in spots),
        tuple(gap for _, gaps in found for gap in gaps),
    )


def _merge(spots: Iterable[Spot]) -> tuple[Spot, ...]:
    """One spot per address: targets may name the same one twice."""
    merged: dict[IPAddress, Spot] = {}
    for spot in spots:
        known = merged.get(spot.address)
        merged[spot.address] = (
            spot
            if known is None
            else replace(
                known,
                container=known.container or spot.container,
                asked=known.asked | spot.asked,
                exposed=known.exposed | spot.exposed,
            )
        )
    return tuple(merged.values())


_Placed = tuple[list[Spot], list[Gap]]


class _Scene:
    """The networks, their lanes, and where a target is among them."""

    def __init__(
        self, selected: Sequence[Selected], lanes: Sequence[Lane], read_ports: ReadPorts
    ) -> None:
        self._selected = selected
        self._lanes = lanes
        self._read_ports = read_ports

    def place(self, located: Located) -> _Placed:
        """The spots of one target; a gap with a fix where it has none."""
        target = located.target
        asked = frozenset({target.port} if target.port is not None else ())
        if target.address is not None:
            return self._place_address(target.address, asked, target.text)
        name = located.container or target.text
        if located.state != "running":
            reason = f"it is not running ({located.state})"
            return [], [Gap(name, reason, _start_fix(name, located.state))]
        spots: list[Spot] = []
        gaps: list[Gap] = []
        for item in self._selected:
            for endpoint in item.network.endpoints:
                if endpoint.container_id == located.container_id:
                    more_spots, more_gaps = self.try_endpoint(item, endpoint, asked)
                    spots += more_spots
                    gaps += more_gaps
        if not spots:
            why = "; ".join(gap.reason for gap in gaps) or "it has no address of its own"
            return [], [Gap(name, why, _connect_fix(name))]
        return spots, gaps

    def try_endpoint(
        self, item: Selected, endpoint: Endpoint, asked: frozenset[int] = frozenset()
    ) -> _Placed:
        """The spots of one container on one network, and its addresses that are not routed."""
        spots: list[Spot] = []
        gaps: list[Gap] = []
        for address in endpoint.addresses:
            lane = self._find_lane(address, item.network)
            if lane is None:
                subject = f"{endpoint.container} {address}"
                gaps.append(Gap(subject, _why_not_routed(item, address)))
            else:
                exposed = frozenset() if asked else self._exposed(item.network, endpoint)
                seen = lane.subnet.seen_at(address)
                spots.append(Spot(seen, lane, endpoint.container, asked, exposed))
        return spots, gaps

    def _place_address(self, address: IPAddress, asked: frozenset[int], text: str) -> _Placed:
        for item in self._selected:
            for endpoint in item.network.endpoints:
                real = _real_address(item, endpoint, address)
                if real is not None:
                    one = replace(endpoint, addresses=(real,))
                    spots, gaps = self.try_endpoint(item, one, asked)
                    fix = _connect_fix(endpoint.container)
                    return spots, [replace(gap, fix=fix) for gap in gaps]
        lane = next((lane for lane in self._lanes if address in lane.subnet.route), None)
        if lane is not None:
            return [Spot(address, lane, asked=asked)], []
        for item in self._selected:
            if any(address in subnet.cidr for subnet in item.network.subnets):
                fix = "`macnet networks` shows what is routed; name a container there"
                return [], [Gap(text, _why_not_routed(item, address), fix)]
        fix = "`macnet networks` shows the engine's networks; name an address on one of them"
        return [], [Gap(text, "it is outside every network of this engine", fix)]

    def _find_lane(self, address: IPAddress, network: Network) -> Lane | None:
        """The lane of a container's own address."""
        return next(
            (
                lane
                for lane in self._lanes
                if lane.network.id == network.id and address in lane.subnet.cidr
            ),
            None,
        )

    def _exposed(self, network: Network, endpoint: Endpoint) -> frozenset[int]:
        ports = endpoint.ports
        # The engine's listing leaves the ports out where a container has only such networks.
        if not ports and network.internal:
            ports = self._read_ports(endpoint.container_id)
        return frozenset(port.number for port in ports if port.protocol == "tcp")


def _real_address(item: Selected, endpoint: Endpoint, address: IPAddress) -> IPAddress | None:
    """The container's own address if ``address`` is that, or the one under which it is seen."""
    for own in endpoint.addresses:
        seen = {own, *(s.seen_at(own) for s in item.subnets if own in s.cidr)}
        if address in seen:
            return own
    return None


def _why_not_routed(item: Selected, address: IPAddress) -> str:
    name = item.network.name
    for subnet, why in item.left_out:
        if address in subnet.cidr:
            return f"{name} ({subnet.cidr}) is not routed: it overlaps {why}"
    if item.reason:
        return f"{name} is not routed: {item.reason}"
    return f"{address} is in no subnet of {name}"


def _start_fix(container: str, state: str | None) -> str:
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
