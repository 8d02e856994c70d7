"""Results as text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.goals import Row
from benchmarks.stats import Spread

#: What each way is called.
WAYS = {"classic": "classic recipe", "macnet": "macnet", "published": "published port"}


def number(value: float) -> str:
    """Three figures that count, and no power of ten."""
    if value >= 100 or value == 0:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


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
