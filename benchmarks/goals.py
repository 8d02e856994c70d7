"""What is measured, what is wanted of it, and whether that is met. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.stats import Spread, ratios, summarize
from benchmarks.text import number


@dataclass(frozen=True)
class Metric:
    """One thing that is measured on each way; ``more`` says whether more of it is better."""

    key: str
    title: str
    unit: str
    more: bool = False


@dataclass(frozen=True)
class Figure:
    """What is measured, and what it should be: at most ``goal``, or at least.

    ``why`` is what is known of the reason where it is missed.
    """

    title: str
    goal: float | None
    at_least: bool = False
    why: str = ""

    def met(self, value: float) -> bool:
        """Whether the goal is met; a figure without one is."""
        if self.goal is None:
            return True
        return value >= self.goal if self.at_least else value <= self.goal

    def verdict(self, value: float) -> tuple[str, str]:
        """The goal in words, and whether it is met."""
        if self.goal is None:
            return "-", ""
        sign = ">=" if self.at_least else "<="
        return f"{sign} {number(self.goal)}", _verdict(value, self.goal, self.met(value), self.why)


METRICS = (
    Metric("http", "HTTP request, new connection", "ms"),
    Metric("connect", "TCP connect, median", "ms"),
    Metric("connect_p99", "TCP connect, p99", "ms"),
    Metric("ping", "ping", "ms"),
    Metric("loaded", "request beside a download, p99", "ms"),
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


_ASKED_FIRST = (
    "a new connection asks the container first, in Python, which takes 0.3 ms; WireGuard and the "
    "classic recipe pass its first packet on"
)
_TWO_CORES = (
    "each byte is encrypted and decrypted, and passes four programs where a published port has "
    "two, on the same two cores"
)

GOALS = (
    Goal("http", "classic", 0.01, why=_ASKED_FIRST),
    Goal(
        "http",
        "published",
        1.35,
        why="its connect is answered on this side, where macnet's goes to the container and back",
    ),
    Goal("http", "wireguard", 1, why=_ASKED_FIRST),
    Goal("connect_p99", "classic", 0.2),
    Goal("ping", "wireguard", 1.3),
    Goal("loaded", "wireguard", 1),
    *(Goal(f"down{streams}", "classic", 10, at_least=True) for streams in (1, 8)),
    *(Goal(f"up{streams}", "classic", 6, at_least=True) for streams in (1, 8)),
    *(
        Goal(f"{way}{streams}", other, limit, at_least=True, why=why)
        for other, limit, why in (("published", 0.35, _TWO_CORES), ("wireguard", 6, ""))
        for way in ("down", "up")
        for streams in (1, 8)
    ),
    *(
        Goal(f"cpu_{way}", other, limit)
        for other, limit in (("classic", 0.1), ("wireguard", 0.5))
        for way in ("down", "up")
    ),
)

#: What macnet is to keep to whatever the other ways do, in `run` and in `readers`.
FIGURES = {
    "loaded": Figure(
        "request beside a download, p99, ms",
        5.0,
        why="the download keeps both cores busy; beside its own, a published port does not reach "
        "it either",
    ),
    "steady": Figure(
        "bulk figures over the rounds: the worst by the best",
        0.7,
        at_least=True,
        why="the next row says how much of that is the machine",
    ),
    "steady_published": Figure("the same of the published port", None),
    "rate": Figure("what a slow reader gets, by what it reads", 0.99, at_least=True),
    "wait": Figure("how long a slow reader waits for data at most, s", 0.05),
}
#: Metrics of bulk transfers.
BULK = ("down1", "up1", "down8", "up8")


def steadiness(values: Mapping[str, Sequence[float]]) -> float:
    """The least of all bulk metrics' worst round by its best."""
    return min(min(values[key]) / max(values[key]) for key in BULK)


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
    return f"{sign} {goal.limit:g}: {_verdict(ratio, goal.limit, meets(ratio, goal), goal.why)}"


def _verdict(value: float, limit: float, met: bool, why: str) -> str:
    if met:
        return "met"
    percent = abs(value - limit) / limit * 100
    return f"MISSED by {percent:.0f} %" + (f": {why}" if why else "")


def goal_of(metric: str, other: str) -> Goal | None:
    """What is wanted of a metric beside another way; None where nothing is."""
    return next((goal for goal in GOALS if (goal.metric, goal.other) == (metric, other)), None)


def rows(
    rounds: Rounds, others: Sequence[str] = ("classic", "published", "wireguard")
) -> list[Row]:
    """Every metric beside every other way that has it."""
    found = []
    for metric in METRICS:
        for other in others:
            ours = rounds["macnet"].get(metric.key)
            theirs = rounds.get(other, {}).get(metric.key)
            if not ours or not theirs:
                continue
            goal = goal_of(metric.key, other)
            found.append(
                Row(metric, other, summarize(ours), summarize(theirs), ratios(ours, theirs), goal)
            )
    return found
