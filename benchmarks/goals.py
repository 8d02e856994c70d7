"""What is measured, what is wanted of it, and whether that is met. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.stats import Spread, ratios, summarize


@dataclass(frozen=True)
class Metric:
    """One thing that is measured on each way; ``more`` says whether more of it is better."""

    key: str
    title: str
    unit: str
    more: bool = False


METRICS = (
    Metric("http", "HTTP request, new connection", "ms"),
    Metric("connect", "TCP connect, median", "ms"),
    Metric("connect_p99", "TCP connect, p99", "ms"),
    Metric("ping", "ping", "ms"),
    Metric("down1", "download, 1 stream", "Mbit/s", more=True),
    Metric("up1", "upload, 1 stream", "Mbit/s", more=True),
    Metric("down8", "download, 8 streams", "Mbit/s", more=True),
    Metric("up8", "upload, 8 streams", "Mbit/s", more=True),
    Metric("cpu_down", "CPU per GB down", "s"),
    Metric("cpu_up", "CPU per GB up", "s"),
)


@dataclass(frozen=True)
class Goal:
    """A limit for a ratio: of macnet to another way, in one metric.

    ``why`` is what is known of the reason where it is missed.
    """

    metric: str
    other: str
    limit: float
    at_least: bool = False
    why: str = ""


GOALS = (
    Goal("http", "classic", 0.05),
    Goal(
        "http",
        "published",
        1.2,
        why="connect and request each go through client, forwarder, server and relay and back; "
        "a published port accepts at once",
    ),
    Goal("connect_p99", "classic", 0.2),
    Goal("down1", "classic", 3, at_least=True),
    Goal("up1", "classic", 3, at_least=True),
    Goal("down8", "classic", 3, at_least=True),
    Goal("up8", "classic", 3, at_least=True),
    Goal("cpu_down", "classic", 0.5),
    Goal("cpu_up", "classic", 0.5),
)

#: Rounds of each metric of each way: way -> metric -> one value a round.
Rounds = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class Row:
    """One line of the result: macnet beside another way in one metric."""

    metric: Metric
    other: str
    ours: Spread
    theirs: Spread
    ratio: Spread
    goal: Goal | None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        return None if self.goal is None else meets(self.ratio.median, self.goal)

    @property
    def verdict(self) -> str:
        """What to say of the goal."""
        return "" if self.goal is None else verdict(self.ratio.median, self.goal)


def meets(ratio: float, goal: Goal) -> bool:
    """Whether a ratio is on the right side of the limit."""
    return ratio >= goal.limit if goal.at_least else ratio <= goal.limit


def verdict(ratio: float, goal: Goal) -> str:
    """The limit, and met, or by how much it is missed, and why."""
    sign = ">=" if goal.at_least else "<="
    if meets(ratio, goal):
        return f"{sign} {goal.limit:g}: met"
    percent = abs(ratio - goal.limit) / goal.limit * 100
    why = f": {goal.why}" if goal.why else ""
    return f"{sign} {goal.limit:g}: MISSED by {percent:.0f} %{why}"


def rows(rounds: Rounds, others: Sequence[str] = ("classic", "published")) -> list[Row]:
    """Every metric beside every other way that has it."""
    found = []
    for metric in METRICS:
        for other in others:
            ours = rounds["macnet"].get(metric.key)
            theirs = rounds[other].get(metric.key)
            if not ours or not theirs:
                continue
            goal = next((g for g in GOALS if (g.metric, g.other) == (metric.key, other)), None)
            found.append(
                Row(metric, other, summarize(ours), summarize(theirs), ratios(ours, theirs), goal)
            )
    return found
