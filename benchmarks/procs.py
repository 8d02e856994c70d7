"""Processes seen through /proc: their CPU time, memory and open files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def descendants(roots: Iterable[int]) -> set[int]:
    """The processes of these ids and all below them that run now."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    found = {pid for pid in roots if pid in parents}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def cpu_seconds(roots: Iterable[int]) -> float:
    """CPU time of these processes, of all below them, and of their children that have ended."""
    total = 0
    for pid in descendants(roots):
        fields = _stat(pid)
        total += sum(int(field) for field in fields[11:15])
    return total / _TICKS


def rss_bytes(roots: Iterable[int]) -> int:
    """Resident memory of these processes and of all below them."""
    total = 0
    for pid in descendants(roots):
        for line in _lines(pid, "status"):
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total


def open_files(roots: Iterable[int]) -> int:
    """Open file descriptors of these processes and of all below them."""
    total = 0
    for pid in descendants(roots):
        try:
            total += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        except OSError:
            continue
    return total


def find(command: str, netns: Path) -> list[int]:
    """Processes of that name in a network namespace."""
    wanted = netns.stat()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            same = os.path.samestat((entry / "ns/net").stat(), wanted)
        except OSError:
            continue
        if same and "".join(_lines(int(entry.name), "comm")) == command:
            found.append(int(entry.name))
    return sorted(found)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on, the state; empty where it is gone."""
    text = "\n".join(_lines(pid, "stat"))
    return text.rpartition(")")[2].split()


def _lines(pid: int, name: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace").splitlines()
    except OSError:
        return []
