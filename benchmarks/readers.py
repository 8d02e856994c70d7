"""`readers`: uploads to programs that read more slowly than the way brings the data."""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from benchmarks.bed import READER_PORT, TARGET, Bed
from benchmarks.goals import FIGURES
from benchmarks.machine import describe, save_json
from benchmarks.stats import summarize
from benchmarks.table import align, figures_table, spread
from tests.lab.process import DEVNULL, PIPE, start

#: Megabytes per second that the program reads; 0 is as fast as it can.
RATES = (5, 20, 64, 0)
_READER = Path(__file__).with_name("reader.py")

#: By rate and by way: megabytes per second that the reader gets, and its longest wait for data in
#: seconds, of each round.
Speeds = dict[str, dict[str, list[float]]]


def readers(bed: Bed, seconds: float, rounds: int, folder: Path) -> bool:
    """Measure all ways in turns, print the table, write the results; whether the goals are met."""
    bed.fresh_tunnel()
    bed.classic.up()
    bed.wireguard.up()
    speeds: Speeds = {str(rate): defaultdict(list) for rate in RATES}
    waits: Speeds = {str(rate): defaultdict(list) for rate in RATES}
    for rate in RATES:
        with _reading(bed, rate) as said:
            for _ in range(rounds):
                for route in bed.routes():
                    with bed.using(route):
                        words = ("--up", "1", "--seconds", str(seconds))
                        bed.work(route.host, route.reader_port, *words)
                    got = json.loads(said.readline())
                    speeds[str(rate)][route.key].append(got["bytes"] / got["seconds"] / 1e6)
                    waits[str(rate)][route.key].append(got["longest_wait"])
        print(f"{rate} MB/s: done", file=sys.stderr, flush=True)
    lines = [["reads, MB/s", "way", "MB/s", "longest wait, s"]]
    for key, ways in speeds.items():
        for way, values in ways.items():
            lines.append([key, way, spread(summarize(values)), spread(summarize(waits[key][way]))])
    print(align(lines))
    slow = [str(rate) for rate in RATES if rate]
    figures = {
        "rate": min(summarize(speeds[rate]["macnet"]).median / float(rate) for rate in slow),
        "wait": max(summarize(waits[rate]["macnet"]).median for rate in slow),
    }
    print(figures_table("macnet alone", figures))
    record = {"machine": describe(bed.lab), "rounds": rounds, "seconds": seconds}
    found = {"mb_per_s": speeds, "waits_s": waits, "figures": figures}
    save_json(folder / "readers.json", {**record, **found})
    return all(FIGURES[key].met(value) for key, value in figures.items())


@contextmanager
def _reading(bed: Bed, rate: int) -> Iterator[IO[str]]:
    """A program that reads at this rate, in the target's network namespace; what it prints."""
    pid = bed.container_pid(TARGET)
    enter = ["nsenter", "-t", str(pid), "-n"]
    argv = [*enter, sys.executable, "-I", str(_READER), str(READER_PORT), str(rate * 10**6)]
    reader = start(argv, dict(os.environ), stdin=DEVNULL, stdout=PIPE, stderr=None, cwd=None)
    with reader:
        try:
            if reader.stdout is None or reader.stdout.readline().strip() != "ready":
                raise RuntimeError("the reader has not started")
            yield reader.stdout
        finally:
            reader.kill()
