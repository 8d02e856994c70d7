"""Measures one way once: times, bulk transfers, and the CPU time that they cost."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median

from benchmarks import procs
from benchmarks.bed import Bed, Route
from benchmarks.machine import wait_for_quiet
from tests.lab.process import PIPE

#: Whose CPU time is shown apart: publishing ports is the engine's affair, and the same for all.
APART = "forwarder"
_GB = 1e9


@dataclass(frozen=True)
class Sizes:
    """How much is measured in each round."""

    requests: int = 40
    #: So few that they end before the download beside them.
    beside: int = 30
    connects: int = 150
    pings: int = 50
    seconds: float = 3.0
    #: How long to wait, before each measurement, for the machine to be quiet.
    patience_s: float = 0.0


SWEEP = Sizes(requests=20, beside=20, connects=30, pings=10, seconds=2.0)
SMALL = Sizes(requests=5, beside=2, connects=10, pings=5, seconds=0.5)


@dataclass
class Taken:
    """What one round of one way has given; times in milliseconds, bulk in Mbit/s."""

    values: dict[str, float] = field(default_factory=dict)
    connects: list[float] = field(default_factory=list)
    #: Requests while a download fills the way.
    loaded: list[float] = field(default_factory=list)
    #: CPU seconds per GB of each part, by transfer.
    cpu: dict[str, dict[str, float]] = field(default_factory=dict)
    longest_pause: float = 0.0


def measure(bed: Bed, route: Route, sizes: Sizes) -> Taken:
    """One round of one way."""
    taken = Taken()
    if sizes.patience_s:
        wait_for_quiet(sizes.patience_s)
    with bed.using(route):
        counts = ("--requests", str(sizes.requests), "--connects", str(sizes.connects))
        quick = bed.work(route.host, route.http_port, *counts)
        taken.values["http"] = median(quick["requests"]) * 1e3
        taken.connects = [seconds * 1e3 for seconds in quick["connects"]]
        taken.values["connect"] = median(taken.connects)
        if route.key != "published":
            taken.values["ping"] = median(bed.ping_ms(route.host, sizes.pings))
        taken.loaded = _beside_a_download(bed, route, sizes)
        for streams in (1, 8):
            for name in ("down", "up"):
                _bulk(bed, route, name, streams, sizes.seconds, taken)
    return taken


def _beside_a_download(bed: Bed, route: Route, sizes: Sizes) -> list[float]:
    """Milliseconds of each request."""
    seconds = ("--seconds", str(sizes.seconds))
    load = bed.start_work(route.host, route.http_port, "--down", "1", *seconds, stdout=PIPE)
    time.sleep(sizes.seconds / 4)
    taken = bed.work(route.host, route.http_port, "--requests", str(sizes.beside))["requests"]
    bed.finish_work(load, sizes.seconds + 60)
    return [seconds * 1e3 for seconds in taken]


def _bulk(bed: Bed, route: Route, name: str, streams: int, seconds: float, taken: Taken) -> None:
    roots = {part: pids() for part, pids in route.parts.items()}
    before = {part: procs.cpu_seconds(pids) for part, pids in roots.items()}
    port = route.http_port if name == "down" else route.sink_port
    words = (f"--{name}", str(streams), "--seconds", str(seconds))
    moved = bed.work(route.host, port, *words, timeout_s=seconds + 60)["moved"]
    spent = {part: procs.cpu_seconds(pids) - before[part] for part, pids in roots.items()}
    gigabytes = moved["bytes"] / _GB
    key = f"{name}{streams}"
    taken.values[key] = moved["bytes"] * 8 / moved["seconds"] / 1e6
    taken.cpu[key] = {part: value / gigabytes for part, value in spent.items()}
    taken.longest_pause = max(taken.longest_pause, moved["longest_pause"])
    if streams == 1 and len(roots) > 1:
        own = [value for part, value in spent.items() if part != APART]
        taken.values[f"cpu_{name}"] = sum(own) / gigabytes
