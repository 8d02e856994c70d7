"""The chart as a tree for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from macnet.chart import Chart, ChartContainer, ChartNetwork, Reach
from macnet.models import Subnet

_WORDS = {Reach.YES: "answers", Reach.NO: "no answer", Reach.UNTRIED: ""}


def lines(chart: Chart) -> list[str]:
    """One block per network, a line per container, below it its ports."""
    problem = [chart.problem, ""] if chart.problem else []
    blocks = [line for network in chart.networks for line in (*_network(network), "")]
    return [*problem, *blocks][:-1]


def _network(network: ChartNetwork) -> Iterator[str]:
    kind = ", internal" if network.internal else ""
    yield f"{network.name} ({network.driver}{kind})"
    if network.reason is not None:
        yield f"└─ not routed: {network.reason}"
        return
    for subnet, gateway in zip(network.subnets, network.gateways, strict=True):
        yield f"│  {_range(subnet)}" + (f", gateway {gateway}" if gateway else "")
    if not network.containers:
        yield "└─ no running container"
    for index, container in enumerate(network.containers):
        last = index == len(network.containers) - 1
        yield from _container(container, "└─ " if last else "├─ ", "   " if last else "│  ")


def _range(subnet: Subnet) -> str:
    return f"{subnet.cidr} as {subnet.seen}" if subnet.seen else str(subnet.cidr)


def _container(container: ChartContainer, branch: str, stem: str) -> Iterator[str]:
    addresses = " ".join(map(str, container.addresses))
    word = _WORDS[container.reach]
    yield f"{branch}{container.name}  {addresses}{f'  {word}' if word else ''}"
    if container.names:
        yield f"{stem}   {container.names[0]}"
    ports = " ".join(
        f"{port.port}{' closed' if port.reach is Reach.NO else ''}" for port in container.ports
    )
    node = f"on node {container.node}" if container.node else ""
    more = f"also on {', '.join(container.also_on)}" if container.also_on else ""
    if detail := "  ".join(filter(None, (ports, node, more))):
        yield f"{stem}   {detail}"
