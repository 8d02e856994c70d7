"""`remote`: an engine on another machine, by ssh, beside ``ssh -L`` to a published port.

The distance is played: a program holds each packet of the link back (tests/lab/delay.py), and the
kernel drops some. TCP has cubic on it, as most machines have, whatever this one's own choice is.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import describe, save_json
from benchmarks.table import align
from benchmarks.text import number
from tests.lab import BASE_IMAGE, HTTP_PORT, PUBLISHED_PORT, Lab
from tests.lab.process import DEVNULL, wait_until
from tests.lab.remote import HOST
from tests.lab.remote import remote as other_machine

_WORKER = Path(__file__).with_name("worker.py")
_MACNET = str(Path(sys.executable).with_name("macnet"))
#: Where ``ssh -L`` listens.
_BESIDE = 18090
#: Seconds of a download: at 100 ms a new connection takes the first of them to speed up.
SECONDS = 10.0
#: Requests beside a download.
_BESIDE_COUNT = 10
#: Seconds that one measurement takes at most.
_LONGEST_S = 180
#: macnet's throughput and request beside the other's: at least, at most.
LEAST, MOST = 0.7, 1.2


@dataclass(frozen=True)
class Line:
    """What lies between: milliseconds there and back, and lost packets in percent."""

    round_trip_ms: int
    loss_percent: int

    @property
    def title(self) -> str:
        """In words."""
        lost = f", {self.loss_percent} % loss" if self.loss_percent else ""
        return f"{self.round_trip_ms} ms{lost}"


LINES = (Line(20, 0), Line(100, 0), Line(20, 1))


@dataclass(frozen=True)
class Row:
    """Medians: Mbit/s of one download, and milliseconds of an HTTP request alone and beside it."""

    line: str
    way: str
    mbit: float
    http_ms: float
    beside_ms: float


def remote(lab: Lab, rounds: int, seconds: float, folder: Path) -> bool:
    """Measure every line both ways, print a table; whether all goals are met."""
    rows: list[Row] = []
    with other_machine(lab) as machine:
        env = {"DOCKER_HOST": machine.url, "MACNET_BASE_IMAGE": BASE_IMAGE}

        def macnet(*words: str) -> None:
            lab.run([_MACNET, *words], env=env, timeout_s=300)

        address = lab.members[machine.engine.name].sample.address("published")
        for line in LINES:
            with machine.distance(line.round_trip_ms, line.loss_percent):
                macnet("setup")
                machine.cubic_in_containers()
                with _forwarded(lab):
                    ways = {"macnet": (address, HTTP_PORT), "ssh -L": ("127.0.0.1", _BESIDE)}
                    rows += _measure(lab, line, ways, rounds, seconds)
                macnet("down")
        save_json(
            folder / "remote.json",
            {
                "machine": describe(lab),
                "rounds": rounds,
                "seconds": seconds,
                "rows": [asdict(row) for row in rows],
            },
        )
    titles = ["line", "way", "Mbit/s", "HTTP, ms", "beside a download, ms"]
    print(align([titles, *(_cells(row) for row in rows)]))
    return all(_met(ours, theirs) for ours, theirs in zip(rows[::2], rows[1::2], strict=True))


def _measure(
    lab: Lab, line: Line, ways: dict[str, tuple[str, int]], rounds: int, seconds: float
) -> Iterator[Row]:
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    alone: dict[str, list[float]] = {way: [] for way in ways}
    beside: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, (host, port) in ways.items():
            work = _worker(lab, host, port)
            # Before the download, of which a slow line still carries a rest for a while.
            alone[way] += work("--requests", "20")["requests"]
            moved = work("--down", "1", "--seconds", str(seconds))["moved"]
            speeds[way].append(moved["bytes"] * 8 / moved["seconds"] / 1e6)
            with _downloading(lab, host, port):
                time.sleep(seconds / 4)
                beside[way] += work("--requests", str(_BESIDE_COUNT))["requests"]
    for way in ways:
        seen = (median(times[way]) * 1e3 for times in (alone, beside))
        yield Row(line.title, way, median(speeds[way]), *seen)


def _worker(lab: Lab, host: str, port: int) -> Callable[..., dict[str, Any]]:
    def work(*words: str) -> dict[str, Any]:
        argv = [*_argv(host, port), *words]
        found: dict[str, Any] = json.loads(lab.run(argv, timeout_s=_LONGEST_S).stdout)
        return found

    return work


def _argv(host: str, port: int) -> list[str]:
    return [sys.executable, "-I", str(_WORKER), host, str(port)]


@contextmanager
def _downloading(lab: Lab, host: str, port: int) -> Iterator[None]:
    """One download, all the time: requests take long beside it on a line that loses packets."""
    words = ["--down", "1", "--seconds", str(2 * _LONGEST_S)]
    download = lab.popen([*_argv(host, port), *words], stdout=DEVNULL, stderr=DEVNULL)
    try:
        yield
        if download.poll() is not None:
            raise SystemExit("the download ended before the requests beside it")
    finally:
        download.kill()
        download.wait(10)


@contextmanager
def _forwarded(lab: Lab) -> Iterator[None]:
    """The published port of the other machine, by ssh alone."""
    where = f"127.0.0.1:{_BESIDE}:127.0.0.1:{PUBLISHED_PORT}"
    process = lab.popen(["ssh", "-N", "-L", where, f"root@{HOST}"], stdout=DEVNULL, stderr=DEVNULL)
    try:
        probe = ["nc", "-z", "127.0.0.1", str(_BESIDE)]
        wait_until(lambda: lab.run(probe, check=False).returncode == 0, 20)
        yield
    finally:
        process.kill()
        process.wait(10)


def _cells(row: Row) -> list[str]:
    return [row.line, row.way, *map(number, (row.mbit, row.http_ms, row.beside_ms))]


def _met(ours: Row, theirs: Row) -> bool:
    return ours.mbit >= LEAST * theirs.mbit and ours.http_ms <= MOST * theirs.http_ms
