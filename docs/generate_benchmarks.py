"""The generated part of docs/benchmarks/README.md: the figures of the recorded runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
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


def benchmarks_text() -> str:
    """The tables of `run`, `tool` and `soak`, each with the machine that it ran on."""
    run, tool, soak = (_read(name) for name in ("results", "tool", "soak"))
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


def _number(value: float) -> str:
    """Three digits, and none after the point from 100 on."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
