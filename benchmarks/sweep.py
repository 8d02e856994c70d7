"""`sweep`: the same tunnel with other settings, in turns, to see which of them matter."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from statistics import median

from benchmarks.bed import Bed
from benchmarks.machine import describe, save_json
from benchmarks.soak import move_both_ways
from benchmarks.stats import summarize
from benchmarks.table import align
from benchmarks.text import number
from benchmarks.traffic import Sizes, Taken, measure
from benchmarks.variant import Variant, Variants

MTUS = (1500, 9000, 16000, 32000, 48000, 65000)
CIPHERS = ("AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305")
_BASE = Variant("as macnet sets it")
_COLUMNS = (
    *("down1", "up1", "down8", "up8", "4+4 down", "4+4 up"),
    *("http", "http, loaded", "connect", "cpu_down", "cpu_up"),
)
#: Counters of the Mac side's TCP: what got lost on the way, and what arrived in disorder.
_LOSSES = {
    "TcpRetransSegs": "retransmitted",
    "TcpExtTCPTimeouts": "timeouts",
    "TcpExtTCPOFOQueue": "out of order",
}


def _buffers(kilobytes: int) -> Variant:
    """The most that one connection has under way in the tunnel."""
    return Variant(f"{kilobytes} kB", relay={"_BUFFER": f"{kilobytes} << 10"})


def _queue(limit: int) -> Variant:
    """OpenVPN's queue of packets before its socket; the smaller of its two numbers decides."""
    return Variant(
        f"queue {limit}",
        server={"tcp-queue-limit": str(limit), "bcast-buffers": str(max(limit, 256))},
    )


GROUPS: Mapping[str, tuple[Variant, ...]] = {
    "mtu": tuple(Variant(f"tun-mtu {mtu}", both={"tun-mtu": str(mtu)}) for mtu in MTUS),
    "cipher": tuple(Variant(cipher, both={"data-ciphers": cipher}) for cipher in CIPHERS),
    "buffers": (
        _BASE,
        *(
            Variant(f"sndbuf, rcvbuf {size}", both={"sndbuf": str(size), "rcvbuf": str(size)})
            for size in (262144, 1048576, 4194304)
        ),
    ),
    "lane": tuple(_buffers(kilobytes) for kilobytes in (128, 256, 512, 1024, 2048)),
    "queues": tuple(_queue(limit) for limit in (64, 256, 1024, 4096)),
    "nodelay": (
        _BASE,
        Variant("no TCP_NODELAY", both={"socket-flags": None}),
        Variant("TCP_NODELAY at the client", server={"socket-flags": None}),
    ),
}


def sweep(bed: Bed, sizes: Sizes, rounds: int, groups: list[str], folder: Path) -> bool:
    """Measure each group's variants in turns, print a table for each, write them down."""
    record: dict[str, object] = {"machine": describe(bed.lab), "rounds": rounds}
    with closing(Variants(bed)) as variants:
        for group in groups:
            found = _group(bed, variants, GROUPS[group], sizes, rounds)
            print(f"\n{group}, {rounds} rounds, medians (least-greatest)")
            print(_table(found), flush=True)
            record[group] = found
            save_json(folder / "sweep.json", record)
    return True


def _group(
    bed: Bed, variants: Variants, group: tuple[Variant, ...], sizes: Sizes, rounds: int
) -> dict[str, dict[str, list[float]]]:
    values: dict[str, dict[str, list[float]]] = {one.name: defaultdict(list) for one in group}
    for count in range(1, rounds + 1):
        for variant in group:
            with variants.applied(variant) as route:
                before = losses(bed)
                taken: Taken = measure(bed, route, sizes)
                both = move_both_ways(bed, route, sizes.seconds)
                after = losses(bed)
            each = values[variant.name]
            for way, moved in both.items():
                each[f"4+4 {way}"].append(moved["bytes"] * 8 / moved["seconds"] / 1e6)
                taken.longest_pause = max(taken.longest_pause, moved["longest_pause"])
            for key, value in taken.values.items():
                each[key].append(value)
            for key, value in after.items():
                each[key].append(value - before[key])
            each["http, loaded"].append(median(taken.loaded))
            each["longest pause, s"].append(taken.longest_pause)
        print(f"round {count} of {rounds}", file=sys.stderr, flush=True)
    return values


def losses(bed: Bed) -> dict[str, float]:
    """Counters of the Mac side's TCP now."""
    text = bed.lab.run(["nstat", "--json", "--ignore", "--zeros", "--noupdate"]).stdout
    kernel = json.loads(text)["kernel"]
    return {name: float(kernel.get(key, 0)) for key, name in _LOSSES.items()}


def _table(found: Mapping[str, Mapping[str, list[float]]]) -> str:
    columns = (*_COLUMNS, *_LOSSES.values(), "longest pause, s")
    lines = [["", *columns]]
    for name, each in found.items():
        lines.append([name, *(_cell(each[column]) for column in columns)])
    return align(lines)


def _cell(values: list[float]) -> str:
    taken = summarize(values)
    return f"{number(taken.median)} ({number(taken.low)}-{number(taken.high)})"
