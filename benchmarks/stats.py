"""Numbers from measurements. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing: their median, the least and the greatest."""

    median: float
    low: float
    high: float
    count: int


def summarize(values: Sequence[float]) -> Spread:
    """The median and the spread of at least one measurement."""
    if not values:
        raise ValueError("nothing was measured")
    return Spread(statistics.median(values), min(values), max(values), len(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that ``percent`` of all do not exceed (nearest rank)."""
    if not values or not 0 < percent <= 100:
        raise ValueError(f"no percentile {percent} of {len(values)} values")
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times theirs is ours: that of the medians, and the spread over the rounds.

    A round's two values were measured right after each other, so what slowed the machine down
    meanwhile has slowed both.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} rounds beside {len(theirs)}")
    each = summarize([mine / other for mine, other in zip(ours, theirs, strict=True)])
    middle = statistics.median(ours) / statistics.median(theirs)
    return Spread(middle, each.low, each.high, each.count)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Exponent with which y grows with x: 1 is linear, 2 quadratic (least squares of the logs)."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    return statistics.linear_regression([x for x, _ in logs], [y for _, y in logs]).slope
