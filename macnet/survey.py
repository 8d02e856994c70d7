"""What answers: which addresses and ports are tried, and what came back.

`macnet check`, `macnet map`, the last step of setup and the question whether a tunnel is needed at
all ask here. A `Target` is what is to be tried, an `Answer` what came back. Nothing is changed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from netaddr import IPAddress, IPNetwork

from macnet.errors import TunnelTimeout
from macnet.models import Endpoint, Interface, Network, Port, Route, Subnet
from macnet.networks import Selected, gateway_of, not_routed, seen_addresses

if TYPE_CHECKING:
    from macnet.probe import PingResult, ProgramRunner, TcpResult

#: Pings and connects in flight. With 256 open files, as macOS gives, `probe` takes fewer.
CONCURRENCY = 200
#: RFC 863's port, on which hardly anything listens: a refusal is the answer. Seconds for one.
_DISCARD, TCP_S = 9, 2.0
#: Seconds for a container that might answer without a tunnel.
DIRECT_PING_S = 0.5
#: Seconds between two rounds of pings.
_PAUSE_S = 0.05
#: How many bridges stand for all, and how many containers may prove a way without a tunnel.
_BRIDGES, _CONTAINERS = 20, 32

#: How macOS calls a bridge, as OrbStack makes one for each Docker network.
_MAC_BRIDGE = re.compile(r"bridge\d+")

_GIVES_A_WAY = (
    "gives this machine a way to its containers, as OrbStack does (Settings > Network > Allow "
    "access to container domains & IPs)"
)

ReadPorts = Callable[[str], tuple[Port, ...]]
#: A subnet of a network, by the network's name.
Home = tuple[str, Subnet | None]


@dataclass(frozen=True, slots=True)
class Target:
    """An address to try: a container's, a bridge's, or one that the user named.

    ``address`` is as this host reaches it; None for a bridge whose address nobody knows.
    ``asked`` says that the user named the ports. ``blocked`` is the id of the check that found its
    subnet broken. ``why_not`` says why it cannot be tried, with a ``fix`` where the user had named
    it. ``named`` is the container that shares this one's network, where the user named that.
    """

    network: str
    subnet: Subnet | None = None
    address: IPAddress | None = None
    container: str | None = None
    ports: tuple[Port, ...] = ()
    asked: bool = False
    blocked: str | None = None
    why_not: str | None = None
    fix: str | None = None
    named: str | None = None

    @property
    def home(self) -> Home:
        """The subnet that it is on."""
        return self.network, self.subnet

    @property
    def label(self) -> str:
        """How results name the address."""
        parts = [str(part) for part in (self.container, self.address) if part is not None]
        return " ".join(parts) or self.network

    @property
    def subnet_label(self) -> str:
        """How results name the subnet."""
        if self.subnet is None:
            return self.network
        alias = f" as {self.subnet.seen}" if self.subnet.seen is not None else ""
        return f"{self.network} {self.subnet.cidr}{alias}"

    @property
    def tcp_ports(self) -> tuple[int, ...]:
        """The ports that are tried: silence of a UDP port says nothing."""
        return tuple(sorted({port.number for port in self.ports if port.protocol == "tcp"}))

    def port_label(self, port: int) -> str:
        """How results name one of its ports."""
        v6 = self.address is not None and self.address.version == 6
        where = f"[{self.address}]:{port}" if v6 else f"{self.address}:{port}"
        return f"{self.container} {where}" if self.container else where


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from a target; nothing at all where it was not tried."""

    target: Target
    ping: PingResult | None = None
    tcp: tuple[TcpResult, ...] = ()

    @property
    def reached(self) -> bool:
        """Whether anything came back; a refused connection is an answer too."""
        pinged = self.ping is not None and self.ping.ok
        return pinged or any(result.rtt_ms is not None for result in self.tcp)

    @property
    def silence(self) -> str:
        """Why no ping came back."""
        return (self.ping.error if self.ping is not None else None) or "no answer"


class Prober(Protocol):
    """Sends pings and connects; tests bring another one."""

    def ping_all(
        self, addresses: Sequence[IPAddress], *, timeout_s: float
    ) -> tuple[PingResult, ...]:
        """Ping every address, in the given order."""

    def connect_all(
        self, targets: Sequence[tuple[IPAddress, int]], *, timeout_s: float
    ) -> tuple[TcpResult, ...]:
        """Open and close a TCP connection to every target, in the given order."""


class SystemProber:
    """Sends from this machine, all at once."""

    def __init__(self, runner: ProgramRunner) -> None:
        """``runner`` runs the system's ``ping`` where this user may not send ICMP."""
        self._runner = runner

    def ping_all(
        self, addresses: Sequence[IPAddress], *, timeout_s: float
    ) -> tuple[PingResult, ...]:
        """See `Prober.ping_all`."""
        from macnet import probe  # asyncio, which few commands need

        return probe.ping_all(
            addresses, timeout_s=timeout_s, concurrency=CONCURRENCY, runner=self._runner
        )

    def connect_all(
        self, targets: Sequence[tuple[IPAddress, int]], *, timeout_s: float
    ) -> tuple[TcpResult, ...]:
        """See `Prober.connect_all`."""
        from macnet import probe  # asyncio, which few commands need

        return probe.connect_all(targets, timeout_s=timeout_s, concurrency=CONCURRENCY)


class TcpToo(SystemProber):
    """Takes an answer to a TCP connect for one to a ping, where that did not come.

    For engines of other machines: their kernels may let nobody ping, and macnet leaves them so.
    """

    def __init__(self, runner: ProgramRunner) -> None:
        """Nothing was asked yet."""
        super().__init__(runner)
        #: Whether a ping was answered, ever.
        self.pinged = False

    def ping_all(
        self, addresses: Sequence[IPAddress], *, timeout_s: float
    ) -> tuple[PingResult, ...]:
        """See `Prober.ping_all`."""
        answers = super().ping_all(addresses, timeout_s=timeout_s)
        self.pinged |= any(answer.ok for answer in answers)
        silent = [answer.address for answer in answers if not answer.ok]
        tried = self.connect_all([(one, _DISCARD) for one in silent], timeout_s=TCP_S)
        reached = {result.address for result in tried if result.rtt_ms is not None}
        return tuple(
            replace(answer, ok=True) if answer.address in reached else answer for answer in answers
        )


def covered(net: IPNetwork, by: Iterable[IPNetwork]) -> bool:
    """Whether ``net`` lies inside one of the ranges."""
    return any(net in other for other in by)


def bridge_of(network: Network, subnet: Subnet) -> IPAddress | None:
    """The bridge's own address as this host reaches it; None where nobody knows it.

    A container's address is never the bridge's: in a /31 the engine gives out both. What lies
    beyond the bridges has none: the gateway of an overlay answers on each of its engines alone.
    """
    address = gateway_of(subnet)
    if network.further is not None or any(
        address in endpoint.addresses for endpoint in network.endpoints
    ):
        return None
    return None if address is None else subnet.seen_at(address)


def bridges(selected: Iterable[Selected], carried: Sequence[IPNetwork] = ()) -> tuple[Target, ...]:
    """One target for the bridge of every routed subnet.

    A subnet that is left out by now counts as long as the tunnel has a route for it (``carried``):
    what it overlaps may be the reason for a failure.
    """
    return tuple(
        Target(item.network.name, subnet, bridge_of(item.network, subnet))
        for item in selected
        for subnet in (
            *item.subnets,
            *(subnet for subnet, _ in item.left_out if covered(subnet.route, carried)),
        )
    )


def containers(
    selected: Iterable[Selected],
    bridges: Sequence[Target],
    *,
    read_ports: ReadPorts,
) -> tuple[Target, ...]:
    """Every address of every running container, except the helper's own."""
    return tuple(
        target
        for item in selected
        for endpoint in item.network.user_endpoints
        for target in endpoint_targets(item, endpoint, bridges, read_ports)
    )


def endpoint_targets(
    item: Selected,
    endpoint: Endpoint,
    bridges: Sequence[Target],
    read_ports: ReadPorts,
    port: int | None = None,
) -> list[Target]:
    """The addresses of one container on one network, those that are not routed with the reason.

    ``port`` is tried in place of the exposed ones. ``read_ports`` asks the engine for a container's
    ports where its listing leaves them out: on internal networks.
    """
    found = []
    for address in endpoint.addresses:
        bridge = _bridge(item.network, address, bridges)
        ports = endpoint.ports if port is None else (Port(port),)
        target = Target(
            item.network.name,
            container=endpoint.container,
            ports=ports,
            asked=port is not None,
        )
        if bridge is None or bridge.subnet is None:
            why = why_not_routed(item, address)
            found.append(replace(target, address=address, why_not=why))
            continue
        if not ports and item.network.internal and endpoint.node is None:
            ports = read_ports(endpoint.container_id)
        seen = bridge.subnet.seen_at(address)
        found.append(
            replace(target, subnet=bridge.subnet, address=seen, ports=ports, blocked=bridge.blocked)
        )
    return found


def _bridge(network: Network, address: IPAddress, bridges: Sequence[Target]) -> Target | None:
    return next(
        (
            bridge
            for bridge in bridges
            if bridge.network == network.name and bridge.subnet and address in bridge.subnet.cidr
        ),
        None,
    )


def why_not_routed(item: Selected, address: IPAddress) -> str:
    """Why the tunnel does not carry an address of a network."""
    name = item.network.name
    for subnet, why in item.left_out:
        if address in subnet.cidr:
            return not_routed(item.network, subnet, why)
    if item.reason:
        return f"{name} is not routed: {item.reason}"
    return f"{address} is in no subnet of {name}"


def merge(targets: Iterable[Target]) -> tuple[Target, ...]:
    """One target per address: two names may mean the same one. What was asked for wins."""
    merged: dict[object, Target] = {}
    for target in targets:
        key = target.address if target.why_not is None else target.label
        known = merged.get(key)
        if known is None:
            merged[key] = target
        elif known.asked == target.asked:
            ports = tuple(dict.fromkeys((*known.ports, *target.ports)))
            merged[key] = replace(known, ports=ports)
        elif target.asked:
            merged[key] = replace(known, ports=target.ports, asked=True)
    return tuple(merged.values())


def ask(targets: Iterable[Target], prober: Prober, *, timeout_s: float) -> tuple[Answer, ...]:
    """Try everything that can be tried; ``timeout_s`` is for each ping and each connect.

    All pings in one batch, then all connects: together they need too many files.
    """
    wanted = tuple(targets)
    tried = [
        (target, target.address)
        for target in wanted
        if target.address is not None and not target.blocked and target.why_not is None
    ]
    addresses = list(dict.fromkeys(address for _, address in tried))
    doors = list(dict.fromkeys((a, port) for target, a in tried for port in target.tcp_ports))
    pings = {answer.address: answer for answer in prober.ping_all(addresses, timeout_s=timeout_s)}
    tcp = {(a.address, a.port): a for a in prober.connect_all(doors, timeout_s=timeout_s)}
    answered = {
        target: Answer(target, pings[address], tuple(tcp[address, p] for p in target.tcp_ports))
        for target, address in tried
    }
    return tuple(answered.get(target, Answer(target)) for target in wanted)


def landmarks(selected: Iterable[Selected]) -> tuple[IPAddress, ...]:
    """IPv4 addresses that answer as long as their network exists: the bridges that are known."""
    known = [target.address for target in bridges(selected)]
    return tuple(a for a in known if a is not None and a.version == 4)[:_BRIDGES]


def wait_until_answers(
    addresses: Sequence[IPAddress], *, timeout_s: float, ping_timeout_s: float, prober: Prober
) -> tuple[IPAddress | None, tuple[IPAddress, ...]]:
    """Ping until all ``addresses`` have answered: the first that did, and those still silent.

    All, since after a change the old routes answer before the new ones are there. Raises
    `TunnelTimeout` if not one answers within ``timeout_s``; (None, ()) where there is none to ping.
    """
    silent = tuple(addresses)
    first: IPAddress | None = None
    deadline = time.monotonic() + timeout_s
    while silent:
        answers = prober.ping_all(silent, timeout_s=ping_timeout_s)
        first = first or next((answer.address for answer in answers if answer.ok), None)
        silent = tuple(answer.address for answer in answers if not answer.ok)
        if silent and time.monotonic() > deadline:
            if first is None:
                raise TunnelTimeout(
                    f"the client is connected, but {silent[0]} does not answer "
                    f"within {timeout_s:g} s",
                    hint="`macnet check` finds the broken hop",
                )
            break
        if silent:
            time.sleep(_PAUSE_S)
    return first, silent


def find_strangers(selected: Iterable[Selected], prober: Prober) -> tuple[IPAddress, ...]:
    """Addresses of containers that answer before there is a tunnel: other hosts have them too."""
    known = [
        address
        for item in selected
        for endpoint in item.network.user_endpoints
        for address in seen_addresses(item, endpoint)
        if address.version == 4
    ][:_CONTAINERS]
    answers = prober.ping_all(known, timeout_s=DIRECT_PING_S) if known else ()
    return tuple(answer.address for answer in answers if answer.ok)


def find_way_of_orbstack(
    selected: Iterable[Selected], interfaces: Iterable[Interface], routes: Iterable[Route]
) -> str | None:
    """Why no tunnel is needed to OrbStack's engine, in words; None where that is not proved.

    It makes a bridge of macOS in the subnet of each network, so that a single one is proof. A new
    OrbStack has the default bridge alone, and no container that could answer a ping. Each network
    that has containers needs its bridge.
    """
    default = {route.interface for route in routes if route.destination.prefixlen == 0}
    usable = [
        i for i in interfaces if i.up and i.name not in default and _MAC_BRIDGE.fullmatch(i.name)
    ]
    found: set[str] = set()
    for item in selected:
        if item.network.driver != "bridge" or item.network.scope != "local":
            continue
        here = {
            interface.name
            for interface in usable
            for held in interface.addresses
            for subnet in item.network.subnets
            if held.version == 4 and held.cidr == subnet.cidr and held.ip != subnet.gateway
        }
        if not here and any(a.version == 4 for e in item.network.endpoints for a in e.addresses):
            return None
        found |= here
    return f"by {', '.join(sorted(found))} the engine itself {_GIVES_A_WAY}" if found else None


def find_direct_way(
    selected: Iterable[Selected],
    interfaces: Sequence[Interface],
    routes: Sequence[Route],
    *,
    system: str,
    prober: Prober,
    own: str | None = None,
) -> str | None:
    """Why no tunnel is needed, in words; None where that is not proved.

    Proof is a route of just that subnet for each network that has containers, on an interface that
    is not the tunnel's (``own``), and a container that answers; or several bridges of macOS in
    exactly these subnets, which only an engine on this machine makes. An equal address
    somewhere, or an answer through the default route, may be another machine's.
    """
    homes = [
        (item.network, subnet, [a for e in item.network.endpoints for a in e.addresses])
        for item in selected
        if item.network.driver == "bridge" and item.network.scope == "local"
        for subnet in (*item.subnets, *(subnet for subnet, _ in item.left_out))
        if subnet.cidr.version == 4
    ]
    paths = [
        (path, network, [address for address in addresses if address in subnet.cidr])
        for network, subnet, addresses in homes
        if (path := _find_path(network, subnet, interfaces, routes, system, own)) is not None
    ]
    reached = {network.id for _, network, _ in paths}
    elsewhere = any(network.id not in reached for network, _, addresses in homes if addresses)
    if why := _proved_by_interfaces([(path, network) for path, network, _ in paths], elsewhere):
        return why
    known = list(dict.fromkeys(a for _, _, addresses in paths for a in addresses))[:_CONTAINERS]
    if not known:
        idle = {path.interface for path, _, _ in paths if path.kind == "bridge"} & {"docker0"}
        return _say_bridges(idle) if idle and not any(found for *_, found in homes) else None
    answers = prober.ping_all(known, timeout_s=DIRECT_PING_S)
    answering = {answer.address for answer in answers if answer.ok}
    good = [(path, a) for path, _, addresses in paths for a in addresses if a in answering]
    if any(path.kind == "bridge" for path, _ in good):
        return _say_bridges(path.interface for path, _ in good if path.kind == "bridge")
    if not good or elsewhere:
        return None
    path, address = good[0]
    if path.kind == "engine":
        held = f"{address} answers by {path.interface}, which holds an address of its network"
        return f"{held}: the engine itself {_GIVES_A_WAY}"
    return f"{address} answers without a tunnel, by {path.interface} (route {path.subnet})"


def _proved_by_interfaces(
    paths: Sequence[tuple[_DirectPath, Network]], elsewhere: bool
) -> str | None:
    """Why no tunnel is needed, where the interfaces alone prove it."""
    if any(path.interface == f"br-{network.id[:12]}" for path, network in paths):
        return _say_bridges(path.interface for path, _ in paths if path.kind == "bridge")
    own = {path.interface for path, _ in paths if path.kind == "engine"}
    if len(own) > 1 and not elsewhere and all(map(_MAC_BRIDGE.fullmatch, own)):
        # Also where macOS lets no program of this terminal ping its local networks.
        return f"by {', '.join(sorted(own))} the engine itself {_GIVES_A_WAY}"
    return None


@dataclass(frozen=True, slots=True)
class _DirectPath:
    """How this host reaches a subnet without a tunnel.

    ``kind`` is "bridge" (the engine's own bridge is here), "engine" (this host has an address on
    the network) or "route".
    """

    kind: str
    interface: str
    subnet: IPNetwork


def _find_path(
    network: Network,
    subnet: Subnet,
    interfaces: Sequence[Interface],
    routes: Sequence[Route],
    system: str,
    own: str | None,
) -> _DirectPath | None:
    default = {route.interface for route in routes if route.destination.prefixlen == 0}
    for interface in interfaces:
        held = [net.ip for net in interface.addresses if net.cidr == subnet.cidr]
        if not held or not interface.up or interface.name == own:
            continue
        if subnet.gateway in held:
            # A Mac never has the engine's bridges: a VM's bridge has the same address by chance.
            return None if system == "macos" else _DirectPath("bridge", interface.name, subnet.cidr)
        if interface.name in default:
            return None  # the network around this machine has the same range
        return _DirectPath("engine", interface.name, subnet.cidr)
    for route in routes:
        if route.destination == subnet.cidr and route.interface != own and not route.scoped:
            return _DirectPath("route", route.interface, subnet.cidr)
    return None


def _say_bridges(names: Iterable[str]) -> str:
    return f"the engine's bridges are on this host ({', '.join(sorted(set(names)))})"
