"""The picture of what can be reached: networks, their containers and ports, with answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from netaddr import IPAddress

from macnet import probe
from macnet.models import Endpoint, Port, Subnet
from macnet.networks import Selected, gateway_of, seen_addresses
from macnet.probe import TcpOutcome
from macnet.tunnel import Tunnel


class Reach(StrEnum):
    """Whether something answers; UNTRIED where nothing can be said (UDP, or not routed)."""

    YES = "yes"
    NO = "no"
    UNTRIED = "untried"


@dataclass(frozen=True, slots=True)
class ChartPort:
    """A port that a container exposes."""

    port: Port
    reach: Reach


@dataclass(frozen=True, slots=True)
class ChartContainer:
    """A container on one network, under the addresses by which this host reaches it.

    ``also_on`` are its other networks.
    """

    name: str
    addresses: tuple[IPAddress, ...]
    ports: tuple[ChartPort, ...]
    reach: Reach
    also_on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChartNetwork:
    """A network; ``reason`` tells why it is not routed."""

    name: str
    driver: str
    internal: bool
    subnets: tuple[Subnet, ...]
    gateways: tuple[IPAddress, ...]
    containers: tuple[ChartContainer, ...]
    reason: str | None

    @property
    def routed(self) -> bool:
        """Whether the tunnel carries it."""
        return self.reason is None


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything that the picture shows, the routed networks first."""

    networks: tuple[ChartNetwork, ...]

    @property
    def containers(self) -> int:
        """How many containers there are; one on two networks counts once."""
        return len({c.name for network in self.networks for c in network.containers})


@dataclass(frozen=True, slots=True)
class Answers:
    """What answered: a ping of an address, a connect to a port."""

    pings: Mapping[IPAddress, bool]
    ports: Mapping[tuple[IPAddress, int], bool]


def draw_chart(tunnel: Tunnel, *, timeout_s: float = 1.0) -> Chart:
    """Ask the engine, try every container at once, and put the answers together.

    The helper's own containers are left out. Raises `macnet.errors.EngineError`.
    """
    selected = tunnel.networks()
    status = tunnel.helper.status()
    own = {part.id for part in (status.server, status.relay) if part is not None}
    ports = {
        endpoint.container_id: endpoint.ports
        or (tunnel.engine.exposed_ports(endpoint.container_id) if item.network.internal else ())
        for item in selected
        for endpoint in item.network.endpoints
        if endpoint.container_id not in own
    }
    return make_chart(selected, ports, _try(selected, ports, tunnel, timeout_s))


def _try(
    selected: Sequence[Selected],
    ports: Mapping[str, tuple[Port, ...]],
    tunnel: Tunnel,
    timeout_s: float,
) -> Answers:
    spots = [
        (address, ports[endpoint.container_id])
        for item in selected
        for endpoint in item.network.endpoints
        if endpoint.container_id in ports
        for address in seen_addresses(item, endpoint)
    ]
    pings = probe.ping_all(
        list(dict.fromkeys(address for address, _ in spots)),
        timeout_s=timeout_s,
        runner=tunnel.around.runner,
    )
    targets = [(a, p.number) for a, exposed in spots for p in exposed if p.protocol == "tcp"]
    tcp = probe.connect_all(list(dict.fromkeys(targets)), timeout_s=timeout_s)
    return Answers(
        {answer.address: answer.ok for answer in pings},
        {(a.address, a.port): a.outcome is TcpOutcome.OPEN for a in tcp},
    )


def make_chart(
    selected: Sequence[Selected], ports: Mapping[str, tuple[Port, ...]], answers: Answers
) -> Chart:
    """Put facts and answers together. ``ports`` has every container that is to be shown. Pure."""
    homes: dict[str, list[str]] = {}
    for item in selected:
        for endpoint in item.network.endpoints:
            homes.setdefault(endpoint.container_id, []).append(item.network.name)
    networks = [
        ChartNetwork(
            name=item.network.name,
            driver=item.network.driver,
            internal=item.network.internal,
            subnets=item.subnets or item.network.subnets,
            gateways=tuple(subnet.seen_at(gateway_of(subnet)) for subnet in item.subnets),
            containers=tuple(
                _container(item, endpoint, ports, homes, answers)
                for endpoint in item.network.endpoints
                if endpoint.container_id in ports
            ),
            reason=None if item.routed else item.reason or "not routed",
        )
        for item in selected
    ]
    return Chart(tuple(sorted(networks, key=lambda network: (not network.routed, network.name))))


def _container(
    item: Selected,
    endpoint: Endpoint,
    ports: Mapping[str, tuple[Port, ...]],
    homes: Mapping[str, list[str]],
    answers: Answers,
) -> ChartContainer:
    addresses = seen_addresses(item, endpoint)
    shown = tuple(
        ChartPort(port, _reach([answers.ports.get((a, port.number)) for a in addresses]))
        if port.protocol == "tcp"
        else ChartPort(port, Reach.UNTRIED)
        for port in ports[endpoint.container_id]
    )
    reach = _reach([answers.pings.get(address) for address in addresses])
    if any(port.reach is Reach.YES for port in shown):
        reach = Reach.YES  # some containers answer no ping
    return ChartContainer(
        name=endpoint.container,
        addresses=addresses or endpoint.addresses,
        ports=shown,
        reach=reach,
        also_on=tuple(n for n in homes[endpoint.container_id] if n != item.network.name),
    )


def _reach(answers: Sequence[bool | None]) -> Reach:
    if any(answers):
        return Reach.YES
    return Reach.NO if any(answer is False for answer in answers) else Reach.UNTRIED
