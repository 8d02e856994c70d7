"""Where each part of the picture goes, in pixels. Pure; the templates only draw it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from macnet.chart.chart import Chart, ChartContainer, ChartNetwork

COLUMNS = 3
BOX_WIDTH = 380
GAP = 56
MARGIN = 24
HEAD = 64
ROW = 40
#: Characters that fit in a row at the size that the templates use.
NAME_CHARS, PORTS_CHARS = 26, 44


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
class Join:
    """A curve between two rows of one container."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The whole picture."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    joins: tuple[Join, ...]


def lay_out(chart: Chart) -> Layout:
    """Place the networks in columns, each below the shortest so far."""
    bottoms = [MARGIN] * COLUMNS
    boxes = []
    for network in chart.networks:
        column = bottoms.index(min(bottoms))
        box = _box(network, MARGIN + column * (BOX_WIDTH + GAP), bottoms[column])
        bottoms[column] = box.y + box.height + GAP // 2
        boxes.append(box)
    return Layout(
        width=2 * MARGIN + COLUMNS * BOX_WIDTH + (COLUMNS - 1) * GAP,
        height=max(bottoms) + MARGIN,
        boxes=tuple(boxes),
        joins=tuple(_joins(boxes)),
    )


def _box(network: ChartNetwork, x: int, y: int) -> Box:
    rows = tuple(
        Row(
            container=container,
            y=y + HEAD + index * ROW,
            name=shorten(container.name, NAME_CHARS),
            address=" ".join(map(str, container.addresses[:1])),
            ports=shorten(
                " ".join(_port(str(port.port)) for port in container.ports)
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
        title=shorten(network.name, 40),
        ranges=shorten(network.reason or ranges, 54),
        rows=rows,
    )


def _port(text: str) -> str:
    return text.removesuffix("/tcp")


def _joins(boxes: Iterable[Box]) -> Iterable[Join]:
    seen: dict[str, tuple[Box, Row]] = {}
    for box in boxes:
        for row in box.rows:
            name = row.container.name
            if name in seen:
                yield Join(name, _curve(*seen[name], box, row))
            seen[name] = (box, row)


def _curve(box: Box, row: Row, other: Box, other_row: Row) -> str:
    """Between facing edges, or around the right side where both are in one column."""
    y1, y2 = row.y + ROW // 2, other_row.y + ROW // 2
    if box.x == other.x:
        x = box.x + box.width
        return f"M{x} {y1} C{x + GAP} {y1} {x + GAP} {y2} {x} {y2}"
    left, right = ((box, y1), (other, y2)) if box.x < other.x else ((other, y2), (box, y1))
    x1, x2 = left[0].x + left[0].width, right[0].x
    return f"M{x1} {left[1]} C{x1 + GAP} {left[1]} {x2 - GAP} {right[1]} {x2} {right[1]}"


def shorten(text: str, limit: int) -> str:
    """Cut a text that is too long, with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
