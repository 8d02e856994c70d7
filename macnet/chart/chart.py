"""The picture of what can be reached: networks, their containers and ports, with answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from netaddr import IPAddress

from macnet import survey
from macnet.helper import HelperStatus, LaneKind
from macnet.helper.spec import RELAY, SERVER, container_name
from macnet.models import Endpoint, Port, Subnet
from macnet.networks import Selected, by_number
from macnet.state import Way
from macnet.survey import Answer, Prober, SystemProber, Target
from macnet.tunnel import Tunnel
from macnet.tunnel.conflicts import own_interface, present_subnets
from macnet.tunnel.naming import list_named_networks


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

    ``also_on`` are its other networks, ``names`` its names on this one, the shortest first,
    while `macnet names` is on. ``node`` is the swarm's node where it runs, where that is another
    engine's.
    """

    name: str
    addresses: tuple[IPAddress, ...]
    ports: tuple[ChartPort, ...]
    reach: Reach
    also_on: tuple[str, ...]
    names: tuple[str, ...] = ()
    node: str | None = None


@dataclass(frozen=True, slots=True)
class ChartNetwork:
    """A network; ``reason`` tells why it is not routed.

    ``gateways`` are the addresses of its bridge, one for each routed subnet; None where nobody
    knows it.
    """

    name: str
    driver: str
    internal: bool
    subnets: tuple[Subnet, ...]
    gateways: tuple[IPAddress | None, ...]
    containers: tuple[ChartContainer, ...]
    reason: str | None

    @property
    def routed(self) -> bool:
        """Whether the tunnel carries it."""
        return self.reason is None


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything that the picture shows, the routed networks first.

    ``problem`` says why the tunnel is down and what to do, where nothing answers because of that;
    everything counts as untried then. ``engine`` is the engine's name and version, and the way to
    another machine; ``lane`` is what carries TCP, None while that is not known.
    """

    networks: tuple[ChartNetwork, ...]
    problem: str | None = None
    engine: str = ""
    drawn: datetime | None = None
    lane: LaneKind | None = None

    @property
    def containers(self) -> int:
        """How many containers there are; one on two networks counts once."""
        return len({c.name for network in self.networks for c in network.containers})


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look at the engine has shown: who is there, and nothing yet of what answers."""

    networks: tuple[Selected, ...]
    targets: tuple[Target, ...]
    helper: HelperStatus
    engine: str
    lane: LaneKind | None


def draw_chart(tunnel: Tunnel, *, timeout_s: float = 1.0, prober: Prober | None = None) -> Chart:
    """Ask the engine, try every container at once, and put the answers together.

    The helper's own containers are left out. Raises `macnet.errors.EngineError`.
    """
    return ask(tunnel, look(tunnel), timeout_s=timeout_s, prober=prober)


def look(
    tunnel: Tunnel, networks: Callable[[Tunnel], tuple[Selected, ...]] = list_named_networks
) -> Sight:
    """Ask the engine what there is. Raises `macnet.errors.EngineError`."""
    selected, info = networks(tunnel), tunnel.engine.info()
    way = tunnel.state().way or Way()
    return Sight(
        networks=selected,
        targets=survey.containers(
            selected, survey.bridges(selected), read_ports=tunnel.engine.exposed_ports
        ),
        helper=tunnel.helper.status(),
        engine=", ".join(filter(None, (info.name, f"Docker {info.version}", way.words))),
        lane=tunnel.helper.lane(),
    )


def ask(
    tunnel: Tunnel, sight: Sight, *, timeout_s: float = 1.0, prober: Prober | None = None
) -> Chart:
    """Try every container of ``sight`` at once; the engine is asked nothing."""
    prober = prober or SystemProber(tunnel.host.runner)
    answers = survey.ask(sight.targets, prober, timeout_s=timeout_s)
    problem = None
    if not any(answer.reached for answer in answers):
        problem = _why_down(tunnel, sight.helper)
    return chart_of(sight, None if problem else answers, problem)


def chart_of(sight: Sight, answers: Sequence[Answer] | None, problem: str | None) -> Chart:
    """The chart of ``sight`` with these answers; with None all counts as untried."""
    return make_chart(
        sight.networks,
        map(Answer, sight.targets) if answers is None else answers,
        problem=problem,
        engine=sight.engine,
        drawn=datetime.now(UTC),
        lane=sight.lane,
    )


def _why_down(tunnel: Tunnel, status: HelperStatus) -> str | None:
    """Why the tunnel carries nothing, and the next step; None where it seems to be up."""
    for role, part in ((SERVER, status.server), (RELAY, status.relay)):
        name = container_name(tunnel.settings.name, role)
        if part is None:
            return f"the tunnel is down, there is no container {name}: `macnet setup`"
        if not part.running:
            return f"the tunnel is down, {name} does not run: `macnet setup`"
    subnet, _ = present_subnets(tunnel.settings, tunnel.state())
    if own_interface(tunnel.host.interfaces(), subnet) is None:
        return "the tunnel is down, this machine is not connected to it: `macnet connect`"
    return None


def make_chart(
    selected: Sequence[Selected],
    answers: Iterable[Answer],
    *,
    problem: str | None = None,
    engine: str = "",
    drawn: datetime | None = None,
    lane: LaneKind | None = None,
) -> Chart:
    """Put facts and answers together. ``answers`` has every container that is shown. Pure."""
    found: dict[tuple[str, str], list[Answer]] = {}
    homes: dict[str, list[str]] = {}
    for answer in answers:
        network, name = answer.target.network, answer.target.container or ""
        found.setdefault((network, name), []).append(answer)
    for network, name in found:
        homes.setdefault(name, []).append(network)
    points = {
        (item.network.name, point.container): point
        for item in selected
        for point in item.network.endpoints
    }
    networks = [
        ChartNetwork(
            name=item.network.name,
            driver=item.network.driver,
            internal=item.network.internal,
            subnets=item.subnets or item.network.subnets,
            gateways=tuple(bridge.address for bridge in survey.bridges([item])),
            containers=tuple(
                _container(
                    name, given, [n for n in homes[name] if n != network], points[network, name]
                )
                for (network, name), given in found.items()
                if network == item.network.name
            ),
            reason=None if item.routed else item.reason or "not routed",
        )
        for item in selected
    ]
    ordered = sorted(networks, key=lambda network: (not network.routed, by_number(network.name)))
    return Chart(tuple(ordered), problem, engine, drawn, lane)


def _container(
    name: str, answers: Sequence[Answer], also_on: Sequence[str], point: Endpoint
) -> ChartContainer:
    routed = [answer for answer in answers if answer.target.why_not is None]
    tcp = {(result.port, result.outcome == "open") for a in routed for result in a.tcp}
    ports = tuple(
        ChartPort(port, _reach((port.number, True) in tcp, (port.number, False) in tcp))
        if port.protocol == "tcp"
        else ChartPort(port, Reach.UNTRIED)
        for port in dict.fromkeys(port for a in answers for port in a.target.ports)
    )
    pinged = [answer.ping.ok for answer in routed if answer.ping is not None]
    reach = _reach(any(pinged), bool(pinged))
    if any(port.reach is Reach.YES for port in ports):
        reach = Reach.YES  # some containers answer no ping
    shown = (answer.target.address for answer in routed or answers)
    return ChartContainer(
        name=name,
        addresses=tuple(address for address in shown if address is not None),
        ports=ports,
        reach=reach,
        also_on=tuple(also_on),
        names=point.names,
        node=point.node,
    )


def _reach(yes: bool, no: bool) -> Reach:
    """From whether something answered, and whether something did not."""
    return Reach.YES if yes else Reach.NO if no else Reach.UNTRIED
