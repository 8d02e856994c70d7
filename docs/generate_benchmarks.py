"""The generated part of docs/benchmarks/README.md: the figures of the recorded runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from generate_table import table

FOLDER = Path(__file__).parent / "benchmarks"
_TITLES = {
    "http": "HTTP request, new connection",
    "connect": "TCP connect, median",
    "connect_p99": "TCP connect, p99",
    "ping": "ping",
    "down1": "download, 1 stream",
    "up1": "upload, 1 stream",
    "down8": "download, 8 streams",
    "up8": "upload, 8 streams",
    "cpu_down": "CPU per GB down",
    "cpu_up": "CPU per GB up",
}


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
    "windows": "Bounds of the TCP window",
    "queues": "Packets that OpenVPN holds",
    "mtu": "MTU of the tunnel",
    "cipher": "Ciphers",
    "buffers": "Socket buffers of OpenVPN",
    "relay": "MTU of the relay's link",
    "nodelay": "TCP_NODELAY",
}


def benchmarks_text() -> str:
    """The tables of all recorded runs, each with the machine that it ran on."""
    run, tool, soak, sweep = (_read(name) for name in ("results", "tool", "soak", "sweep"))
    return "\n\n".join(
        [
            f"{_machine(run['machine'])}, {run['rounds']} rounds. Medians, lowest to highest.",
            table(("", "beside", "macnet", "the other", "ratio", "goal"), _comparison(run)),
            f"macnet's own commands ({_machine(tool['machine'])}):",
            table(("", "figure", "goal", ""), _commands(tool)),
            f"The soak ({_machine(soak['machine'])}): four downloads beside four uploads for "
            f"{soak['seconds']:.0f} s.",
            table(("", "Mbit/s", "longest pause of a stream"), _streams(soak)),
            " ".join(soak["faults"]) or "Nothing stalled, nothing leaked:",
            table(("part", "memory, MiB", "open files"), _footprint(soak)),
            f"The sweep ({_machine(sweep['machine'])}), medians of {sweep['rounds']} rounds:\n"
            "Mbit/s of 1 and 8 streams, retransmission timeouts in a round, the longest pause of\n"
            "a stream.",
            *(
                f"{title}:\n\n{table(('', *_SWEPT.values()), _swept(sweep[group]))}"
                for group, title in _GROUPS.items()
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
        ours, theirs = (_number(row[side]["median"]) for side in ("ours", "theirs"))
        ratio = row["ratio"]
        spread = f"{_number(ratio['low'])} to {_number(ratio['high'])}"
        yield (
            f"{_TITLES[row['metric']]} ({row['unit']})",
            row["beside"],
            ours,
            theirs,
            f"{_number(ratio['median'])} ({spread})",
            row["goal"] or "-",
        )


def _commands(tool: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for line in tool["lines"]:
        yield line["what"], line["figure"], line["goal"], "met" if line["met"] else "missed"


def _streams(soak: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for way, moved in soak["moved"].items():
        speed = moved["bytes"] * 8 / moved["seconds"] / 1e6
        yield way, _number(speed), f"{_number(moved['longest_pause'])} s"


def _footprint(soak: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    memory, files = soak["memory_bytes"], soak["open_files"]
    for part in memory["before"]:
        mib = [_number(memory[when][part] / 2**20) for when in ("before", "after")]
        yield part, " -> ".join(mib), f"{files['before'][part]} -> {files['after'][part]}"


def _swept(group: Mapping[str, Mapping[str, list[float]]]) -> Iterator[tuple[str, ...]]:
    for name, values in group.items():
        worst = _number(max(values["longest pause, s"]))
        yield name, *(_number(median(values[key])) for key in list(_SWEPT)[:-1]), worst


def _number(value: float) -> str:
    """Three digits, and none after the point from 100 on."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
