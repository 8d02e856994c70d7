"""Where each part of the picture goes, in pixels. Pure; the template only draws it."""

from __future__ import annotations

from dataclasses import dataclass

from macnet.chart.chart import Chart, ChartContainer, ChartNetwork

COLUMNS = 3
BOX_WIDTH = 380
GAP = 28
MARGIN = 24
HEAD = 64
ROW = 40
#: Characters that fit in a row at the size that the template uses.
NAME_CHARS, PORTS_CHARS, TITLE_CHARS, RANGES_CHARS = 26, 44, 40, 54


@dataclass(frozen=True, slots=True)
class Row:
    """A container in its network's box; ``y`` is the row's top."""

    container: ChartContainer
    y: int
    name: str
    address: str
    ports: str


@dataclass(frozen=True, slots=True)
class Box:
    """A network with its rows."""

    network: ChartNetwork
    x: int
    y: int
    width: int
    height: int
    title: str
    ranges: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The whole picture."""

    width: int
    height: int
    boxes: tuple[Box, ...]


def lay_out(chart: Chart) -> Layout:
    """Place the networks in columns, each below the shortest so far."""
    bottoms = [MARGIN] * COLUMNS
    boxes = []
    for network in chart.networks:
        column = bottoms.index(min(bottoms))
        box = _box(network, MARGIN + column * (BOX_WIDTH + GAP), bottoms[column])
        bottoms[column] = box.y + box.height + GAP
        boxes.append(box)
    width = 2 * MARGIN + COLUMNS * BOX_WIDTH + (COLUMNS - 1) * GAP
    return Layout(width, max(bottoms) + MARGIN, tuple(boxes))


def _box(network: ChartNetwork, x: int, y: int) -> Box:
    rows = tuple(
        Row(
            container=container,
            y=y + HEAD + index * ROW,
            name=shorten(container.name, NAME_CHARS),
            address=" ".join(map(str, container.addresses[:1])),
            ports=shorten(
                " ".join(str(port.port).removesuffix("/tcp") for port in container.ports)
                + "".join(f"  also on {name}" for name in container.also_on),
                PORTS_CHARS,
            ),
        )
        for index, container in enumerate(network.containers)
    )
    ranges = ", ".join(
        f"{subnet.cidr} as {subnet.seen}" if subnet.seen else str(subnet.cidr)
        for subnet in network.subnets
    )
    return Box(
        network=network,
        x=x,
        y=y,
        width=BOX_WIDTH,
        height=HEAD + max(1, len(rows)) * ROW,
        title=shorten(network.name, TITLE_CHARS),
        ranges=shorten(network.reason or ranges, RANGES_CHARS),
        rows=rows,
    )


def shorten(text: str, limit: int) -> str:
    """Cut a text that is too long, with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
