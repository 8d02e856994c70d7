"""`soak`: eight streams for a long time, half down and half up, then many short connections.

None may stall, fail or leave anything behind.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import procs
from benchmarks.bed import TARGET, Bed, Route
from benchmarks.machine import describe, save_json
from benchmarks.table import align
from benchmarks.text import number
from benchmarks.worker import STALL_S
from tests.lab import HTTP_PORT, SINK_PORT
from tests.lab.process import PIPE, Running, run

#: Growth that is no leak: buffers that are made at the first use, a log, Python's own heap.
RSS_SLACK = 16 * 2**20
FILES_SLACK = 8
#: Before memory is looked at for the first time, so that what is made once is there.
WARM_UP_S = 5.0
_STREAMS = 4
#: Connections of many, at a time.
_AT_ONCE = 64


@dataclass(frozen=True)
class Footprint:
    """Memory in bytes and open files of each part of the way."""

    memory: Mapping[str, int]
    files: Mapping[str, int]


def soak(bed: Bed, seconds: float, connections: int, folder: Path) -> bool:
    """Run the streams, then the connections, print what became of them; whether all is well."""
    bed.fresh_tunnel()
    route = bed.routes()[1]
    move_both_ways(bed, route, WARM_UP_S)
    settle()
    before = footprint(route)
    moved = move_both_ways(bed, route, seconds)
    words = ("--many", str(connections), "--at-once", str(_AT_ONCE))
    many = bed.work(route.host, HTTP_PORT, *words, timeout_s=300)["many"]
    settle()
    after = footprint(route)
    faults = find_faults(moved, many, before, after)
    lines = [["part", "memory before, MiB", "after", "open files before", "after"]]
    for part in before.memory:
        memory = [number(each.memory[part] / 2**20) for each in (before, after)]
        lines.append([part, *memory, str(before.files[part]), str(after.files[part])])
    print(align(lines))
    for name, one in moved.items():
        speed = one["bytes"] * 8 / one["seconds"] / 1e6
        pause = one["longest_pause"]
        print(f"{name}: {number(speed)} Mbit/s, longest pause of a stream {number(pause)} s")
    print("\n".join(f"FAULT: {fault}" for fault in faults) or "no stall, no leak")
    record = {
        "machine": describe(bed.lab),
        "seconds": seconds,
        "moved": moved,
        "connections": many,
        "memory_bytes": {"before": before.memory, "after": after.memory},
        "open_files": {"before": before.files, "after": after.files},
        "faults": faults,
    }
    save_json(folder / "soak.json", record)
    return not faults


def footprint(route: Route) -> Footprint:
    """What each part uses now."""
    pids = {part: find() for part, find in route.parts.items()}
    return Footprint(
        {part: procs.rss_bytes(each) for part, each in pids.items()},
        {part: procs.open_files(each) for part, each in pids.items()},
    )


def settle() -> None:
    """Let closed connections go."""
    time.sleep(4)


def find_faults(
    moved: Mapping[str, Mapping[str, float]],
    many: Mapping[str, int],
    before: Footprint,
    after: Footprint,
) -> list[str]:
    """Each stall, what failed, and each leak, in words. Pure."""
    faults = []
    if many["failed"]:
        faults.append(f"{many['failed']} of {many['count']} connections failed")
    for name, one in moved.items():
        if one["longest_pause"] > STALL_S:
            faults.append(f"{name}: a stream moved nothing for {one['longest_pause']:.1f} s")
    for part, memory in before.memory.items():
        grown = after.memory[part] - memory
        if grown > RSS_SLACK:
            faults.append(f"{part}: {grown / 2**20:.0f} MiB more memory than before")
        more = after.files[part] - before.files[part]
        if more > FILES_SLACK:
            faults.append(f"{part}: {more} more open files than before")
    return faults


def move_both_ways(bed: Bed, route: Route, seconds: float) -> dict[str, dict[str, float]]:
    """Down and up at once; bytes, seconds and longest pause of each direction."""
    words = ("--seconds", str(seconds))
    running: dict[str, Running] = {
        "down": bed.start_work(route.host, HTTP_PORT, "--down", str(_STREAMS), *words, stdout=PIPE),
        "up": bed.start_work(route.host, SINK_PORT, "--up", str(_STREAMS), *words, stdout=PIPE),
    }
    late = time.monotonic() + seconds + STALL_S
    while any(one.poll() is None for one in running.values()):
        if time.monotonic() > late:
            print("\n".join(where_bytes_wait(bed)))
            break
        time.sleep(0.1)
    return {name: bed.finish_work(one, seconds + 120) for name, one in running.items()}


def where_bytes_wait(bed: Bed) -> list[str]:
    """For each namespace on the way, the connections that hold bytes: who reads no more?"""
    argv = ["ss", "-tnH", "state", "connected", "exclude", "time-wait"]
    found = {"Mac": bed.lab.run(argv).stdout}
    for part, name in (("VM", "macnet-relay"), ("server", "macnet-server"), ("target", TARGET)):
        pid = str(bed.container_pid(name))
        found[part] = run(["nsenter", "--target", pid, "--net", *argv]).stdout
    lines = []
    for part, connections in found.items():
        for line in connections.splitlines():
            state, received, sent, *ends = line.split()[:5]
            if received != "0" or sent != "0":
                lines.append(f"{part}: {state} read {received} sent {sent} {' '.join(ends)}")
    return lines
