"""The generated part of docs/benchmarks/README.md: the figures of the recorded runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from generate_table import table

from benchmarks.goals import METRICS, goal_of, verdict
from benchmarks.names import FIGURES as NAMES_FIGURES
from benchmarks.remote import LEAST, MOST
from benchmarks.stats import summarize
from benchmarks.table import WAYS, figure_rows, spread
from benchmarks.text import number

FOLDER = Path(__file__).parent / "benchmarks"
_TITLES = {metric.key: metric.title for metric in METRICS}
#: Columns of the sweep: what they are called there, and here.
_SWEPT = {
    "down1": "down, 1",
    "up1": "up, 1",
    "down8": "down, 8",
    "up8": "up, 8",
    "http": "HTTP, ms",
    "http, loaded": "beside a download, ms",
    "cpu_down": "CPU/GB down, s",
    "timeouts": "timeouts",
    "longest pause, s": "pause, s",
}
_GROUPS = {
    "lane": "What one connection has under way in the tunnel",
    "queues": "Packets that OpenVPN holds",
    "mtu": "MTU of the tunnel",
    "cipher": "Ciphers",
    "buffers": "Socket buffers of OpenVPN",
    "nodelay": "TCP_NODELAY",
}


def benchmarks_text() -> str:
    """The tables of all recorded runs, each with the machine that it ran on."""
    run, tool, soak, sweep = (_read(name) for name in ("results", "tool", "soak", "sweep"))
    readers, names, far = _read("readers"), _read("names"), _read("remote")
    return "\n\n".join(
        [
            f"{_machine(run['machine'])}, {run['rounds']} rounds. Medians, lowest to highest.",
            table(("", "beside", "macnet", "the other", "ratio", "goal"), _comparison(run)),
            "macnet alone, in the same run and in that of the readers below:",
            table(
                ("", "figure", "goal", ""), figure_rows({**run["figures"], **readers["figures"]})
            ),
            f"macnet's own commands ({_machine(tool['machine'])}):",
            table(("", "figure", "goal", ""), _commands(tool)),
            f"Names of {names['containers']} containers ({names['date']}, {names['machine']}), "
            f"medians of {names['rounds']} rounds:",
            table(("", "figure", "goal", ""), figure_rows(names["figures"], NAMES_FIGURES)),
            f"The soak ({_machine(soak['machine'])}): four downloads beside four uploads for "
            f"{soak['seconds']:.0f} s,\nthen {soak['connections']['count']} connections, 64 at a "
            f"time, of which {soak['connections']['failed']} failed.",
            table(("", "Mbit/s", "longest pause of a stream"), _streams(soak)),
            " ".join(soak["faults"]) or "Nothing stalled, nothing leaked:",
            table(("part", "memory, MiB", "open files"), _footprint(soak)),
            "Uploads of one stream to a program that reads at a rate "
            f"({_machine(readers['machine'])}),\n"
            f"{readers['rounds']} rounds of {readers['seconds']:g} s:",
            table(("reads, MB/s", "way", "gets, MB/s", "waits at most, s"), _readers(readers)),
            f"An engine on another machine, by ssh ({_machine(far['machine'])}), beside\n"
            f"`ssh -L` to a published port: medians of {far['rounds']} rounds. Wanted are\n"
            f"{LEAST:g} of its speed, and {MOST:g} times its request at most:",
            table(
                ("", "", "Mbit/s", "HTTP, ms", "beside a download, ms", "speed", "request"),
                _far(far),
            ),
            f"The sweep ({_machine(sweep['machine'])}), medians of {sweep['rounds']} rounds:\n"
            "Mbit/s of 1 and 8 streams, retransmission timeouts in a round, the longest pause of\n"
            "a stream.",
            *(
                f"{title}:\n\n{table(('', *_SWEPT.values()), _swept(sweep[group]))}"
                for group, title in _GROUPS.items()
                if group in sweep
            ),
        ]
    )


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _machine(machine: Mapping[str, Any]) -> str:
    client = " ".join(str(machine["client"]).split()[:2])
    return f"{machine['date']}, {machine['cores']} cores, engine {machine['engine']}, {client}"


def _comparison(run: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for row in run["rows"]:
        ours, theirs = (number(row[side]["median"]) for side in ("ours", "theirs"))
        ratio = row["ratio"]
        spread = f"{number(ratio['low'])} to {number(ratio['high'])}"
        goal = goal_of(row["metric"], row["beside"])
        yield (
            f"{_TITLES[row['metric']]} ({row['unit']})",
            row["beside"],
            ours,
            theirs,
            f"{number(ratio['median'])} ({spread})",
            verdict(ratio["median"], goal) if goal else "-",
        )


def _commands(tool: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for line in tool["lines"]:
        yield line["what"], line["figure"], line["goal"], line["verdict"]


def _streams(soak: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for way, moved in soak["moved"].items():
        speed = moved["bytes"] * 8 / moved["seconds"] / 1e6
        yield way, number(speed), f"{number(moved['longest_pause'])} s"


def _readers(record: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for rate, ways in record["mb_per_s"].items():
        for way, speeds in ways.items():
            cells = [spread(summarize(each)) for each in (speeds, record["waits_s"][rate][way])]
            yield "all it gets" if rate == "0" else rate, WAYS[way], *cells


def _far(record: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    rows = record["rows"]
    for ours, theirs in zip(rows[::2], rows[1::2], strict=True):
        speed, request = (ours[key] / theirs[key] for key in ("mbit", "http_ms"))
        met = ["met" if good else "MISSED" for good in (speed >= LEAST, request <= MOST)]
        verdicts = (f"{number(speed)}: {met[0]}", f"{number(request)}: {met[1]}")
        for row, cells in ((ours, verdicts), (theirs, ("", ""))):
            figures = (number(row[key]) for key in ("mbit", "http_ms", "beside_ms"))
            yield row["line"], row["way"], *figures, *cells


def _footprint(soak: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    memory, files = soak["memory_bytes"], soak["open_files"]
    for part in memory["before"]:
        mib = [number(memory[when][part] / 2**20) for when in ("before", "after")]
        yield part, " -> ".join(mib), f"{files['before'][part]} -> {files['after'][part]}"


def _swept(group: Mapping[str, Mapping[str, list[float]]]) -> Iterator[tuple[str, ...]]:
    for name, values in group.items():
        worst = number(max(values["longest pause, s"]))
        yield name, *(number(median(values[key])) for key in list(_SWEPT)[:-1]), worst
