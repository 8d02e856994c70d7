"""Results as text. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.goals import FIGURES, Figure, Row
from benchmarks.stats import Spread
from benchmarks.text import number

#: What each way is called.
WAYS = {
    "classic": "classic recipe",
    "macnet": "macnet",
    "published": "published port",
    "wireguard": "WireGuard",
}


def spread(value: Spread) -> str:
    """A median with what it lies between."""
    return f"{number(value.median)} ({number(value.low)}-{number(value.high)})"


def align(lines: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first line is the head."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    padded = [
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        for line in (lines[0], rule, *lines[1:])
    ]
    return "\n".join("  ".join(line).rstrip() for line in padded)


def results(rows: Sequence[Row]) -> str:
    """The table of a run: macnet, the other way, their ratio and the goal."""
    lines = [["measured", "macnet", "beside", "", "ratio", "goal"]]
    lines += [
        [
            f"{row.metric.title}, {row.metric.unit}",
            spread(row.ours),
            WAYS[row.other],
            spread(row.theirs),
            spread(row.ratio),
            row.verdict,
        ]
        for row in rows
    ]
    return align(lines)


def figure_rows(
    figures: Mapping[str, float], known: Mapping[str, Figure] = FIGURES
) -> Iterator[tuple[str, ...]]:
    """Each figure with its title, its goal, and whether that is met."""
    for key, value in figures.items():
        yield known[key].title, number(value), *known[key].verdict(value)


def figures_table(
    title: str, figures: Mapping[str, float], known: Mapping[str, Figure] = FIGURES
) -> str:
    """What macnet is to keep to whatever other ways do."""
    return align([(title, "figure", "goal", ""), *figure_rows(figures, known)])
