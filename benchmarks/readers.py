"""`readers`: uploads to programs that read more slowly than the way brings the data."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bed import READER_PORT, TARGET, Bed
from benchmarks.machine import describe, save_json
from benchmarks.stats import summarize
from benchmarks.table import align, spread
from tests.lab.process import DEVNULL, PIPE, start

#: Megabytes per second that the program reads; 0 is as fast as it can.
RATES = (5, 20, 64, 0)
_READER = Path(__file__).with_name("reader.py")

#: By rate and by way: megabytes per second, and the longest pause in seconds, of each round.
Speeds = dict[str, dict[str, list[float]]]


def readers(bed: Bed, seconds: float, rounds: int, folder: Path) -> bool:
    """Measure all ways in turns, print the table, write the results. There is no goal."""
    bed.fresh_tunnel()
    bed.classic.up()
    speeds: Speeds = {str(rate): defaultdict(list) for rate in RATES}
    pauses: Speeds = {str(rate): defaultdict(list) for rate in RATES}
    for rate in RATES:
        with _reading(bed, rate):
            for _ in range(rounds):
                for route in bed.routes():
                    with bed.using(route):
                        words = ("--up", "1", "--seconds", str(seconds))
                        moved = bed.work(route.host, route.reader_port, *words)["moved"]
                    speeds[str(rate)][route.key].append(moved["bytes"] / moved["seconds"] / 1e6)
                    pauses[str(rate)][route.key].append(moved["longest_pause"])
        print(f"{rate} MB/s: done", file=sys.stderr, flush=True)
    lines = [["reads, MB/s", "way", "MB/s", "longest pause, s"]]
    for key, ways in speeds.items():
        for way, values in ways.items():
            pause = summarize(pauses[key][way])
            lines.append([key, way, spread(summarize(values)), spread(pause)])
    print(align(lines))
    record = {"machine": describe(bed.lab), "rounds": rounds, "seconds": seconds}
    save_json(folder / "readers.json", {**record, "mb_per_s": speeds, "pauses_s": pauses})
    return True


@contextmanager
def _reading(bed: Bed, rate: int) -> Iterator[None]:
    """A program that reads at this rate, in the target's network namespace."""
    pid = bed.container_pid(TARGET)
    enter = ["nsenter", "-t", str(pid), "-n"]
    argv = [*enter, sys.executable, "-I", str(_READER), str(READER_PORT), str(rate * 10**6)]
    reader = start(argv, dict(os.environ), stdin=DEVNULL, stdout=PIPE, stderr=None, cwd=None)
    with reader:
        try:
            if reader.stdout is None or reader.stdout.readline().strip() != "ready":
                raise RuntimeError("the reader has not started")
            yield
        finally:
            reader.kill()
