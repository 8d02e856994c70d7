"""`run`: all ways side by side, in turns."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import procs
from benchmarks.bed import Bed, Parts, Route
from benchmarks.chart import Panel, draw
from benchmarks.goals import FIGURES, METRICS, Row, rows, steadiness
from benchmarks.machine import describe, save_json
from benchmarks.stats import percentile, summarize
from benchmarks.table import align, figures_table, results
from benchmarks.text import number
from benchmarks.traffic import Sizes, measure
from tests.lab.process import PIPE

#: What the chart shows: enough to see the point.
CHARTED = ("http", "connect_p99", "down1", "up1", "cpu_down")
#: Connects, and requests beside a download, of this many rounds make one p99: of a single round
#: it would be one measurement.
_POOLED = 3

Values = dict[str, dict[str, list[float]]]


def compare(bed: Bed, sizes: Sizes, rounds: int, folder: Path) -> bool:
    """Measure, print the table, write the results; whether all goals are met."""
    began = time.monotonic()
    bed.fresh_tunnel()
    bed.classic.up()
    bed.wireguard.up()
    routes = bed.routes()
    memory = _memory(bed, routes)
    values, cpu = _rounds(bed, routes, sizes, rounds)
    found = rows(values)
    print(results(found))
    own = values["macnet"]
    figures = {
        "loaded": summarize(own["loaded"]).median,
        "steady": steadiness(own),
        "steady_published": steadiness(values["published"]),
    }
    print(figures_table("macnet alone", figures))
    print("\nCPU seconds per GB of each part, medians")
    print(_cpu_table(cpu))
    print("\nresident memory, MiB, before the first transfer and after the last")
    after = _memory(bed, routes)
    print(align(_memory_lines(memory, after)))
    record = {
        "machine": describe(bed.lab),
        "rounds": rounds,
        "seconds": round(time.monotonic() - began),
        "values": values,
        "rows": [_row(row) for row in found],
        "figures": figures,
        "cpu_seconds_per_gb": cpu,
        "memory_bytes": {"before": memory, "after": after},
    }
    save_json(folder / "results.json", record)
    panels = [_panel(key, values) for key in CHARTED]
    title = "macnet beside the classic recipe, a published port and WireGuard"
    (folder / "results.svg").write_text(draw(panels, title))
    verdicts = [row.met for row in found if row.met is not None]
    verdicts += [FIGURES[key].met(value) for key, value in figures.items()]
    print(f"\n{verdicts.count(True)} goals met, {verdicts.count(False)} missed")
    return all(verdicts)


def _rounds(
    bed: Bed, routes: tuple[Route, ...], sizes: Sizes, rounds: int
) -> tuple[Values, dict[str, dict[str, dict[str, float]]]]:
    values: Values = {route.key: defaultdict(list) for route in routes}
    connects: dict[str, list[list[float]]] = defaultdict(list)
    loaded: dict[str, list[list[float]]] = defaultdict(list)
    spent: dict[str, dict[str, dict[str, list[float]]]] = {
        route.key: defaultdict(lambda: defaultdict(list)) for route in routes
    }
    for number_of_round in range(1, rounds + 1):
        for route in routes:
            taken = measure(bed, route, sizes)
            for key, value in taken.values.items():
                values[route.key][key].append(value)
            connects[route.key].append(taken.connects)
            loaded[route.key].append(taken.loaded)
            for transfer, parts in taken.cpu.items():
                for part, value in parts.items():
                    spent[route.key][transfer][part].append(value)
        print(f"round {number_of_round} of {rounds}", file=sys.stderr, flush=True)
    for metric, ways in (("connect_p99", connects), ("loaded", loaded)):
        for key, lists in ways.items():
            pools = [lists[at : at + _POOLED] for at in range(0, len(lists), _POOLED)]
            values[key][metric] = [
                percentile([time_ for one in pool for time_ in one], 99) for pool in pools
            ]
    cpu = {
        way: {
            transfer: {part: summarize(each).median for part, each in parts.items()}
            for transfer, parts in transfers.items()
        }
        for way, transfers in spent.items()
    }
    return values, cpu


def _memory(bed: Bed, routes: tuple[Route, ...]) -> dict[str, int]:
    parts: dict[str, Parts] = {route.key: route.parts for route in routes}
    found = {
        f"{way} {part}": procs.rss_bytes(pids())
        for way, each in parts.items()
        for part, pids in each.items()
        if part != "forwarder"
    }
    found["macnet watch"] = _watch_memory(bed)
    return found


def _watch_memory(bed: Bed) -> int:
    """Memory of `macnet watch` once it waits for events."""
    with bed.macnet_process("watch", stdout=PIPE) as watch:
        time.sleep(4)
        used = procs.rss_bytes([watch.pid])
        watch.terminate()
        watch.communicate(timeout=20)
    return used


def _memory_lines(before: Mapping[str, int], after: Mapping[str, int]) -> list[list[str]]:
    lines = [["process", "before", "after"]]
    for name in before:
        lines.append([name, *(number(each[name] / 2**20) for each in (before, after))])
    return lines


def _cpu_table(cpu: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    parts = ("client", "server", "relay", "forwarder")
    lines = [["way", "transfer", *parts]]
    for way, transfers in cpu.items():
        for transfer, each in transfers.items():
            cells = [number(each[part]) if part in each else "-" for part in parts]
            lines.append([way, transfer, *cells])
    return align(lines)


def _panel(key: str, values: Values) -> Panel:
    metric = next(one for one in METRICS if one.key == key)
    bars = {way: summarize(each[key]).median for way, each in values.items() if each.get(key)}
    return Panel(metric.title, metric.unit, metric.more, bars)


def _row(row: Row) -> dict[str, Any]:
    spread = {"ours": row.ours, "theirs": row.theirs, "ratio": row.ratio}
    return {
        "metric": row.metric.key,
        "unit": row.metric.unit,
        "beside": row.other,
        **{
            name: {"median": one.median, "low": one.low, "high": one.high}
            for name, one in spread.items()
        },
    }
