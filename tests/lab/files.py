"""Folders and locks."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import LabError
from .process import run


def mounts_below(folder: Path) -> list[str]:
    """Mount points at or below a folder in this mount namespace, deepest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if Path(point).is_relative_to(folder):
            found.append(point)
    return sorted(found, key=len, reverse=True)


def remove_tree(folder: Path) -> None:
    """Remove a folder of the lab, never what a run that was cut short left mounted in it."""
    for point in mounts_below(folder):
        run(["umount", "--lazy", point], check=False)
    left = mounts_below(folder)
    if left:
        raise LabError(f"something is mounted at {left[0]}", "unmount it, then try again")
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def locked(path: Path, timeout_s: float = 900) -> Iterator[None]:
    """Hold an exclusive lock on a file, waiting for another process to let it go."""
    deadline = time.monotonic() + timeout_s
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as handle:
            if _lock(handle.fileno()) and _same(handle.fileno(), path):
                yield
                return
        if time.monotonic() > deadline:
            raise LabError(f"another process holds {path}", "wait for it to end, then try again")
        time.sleep(0.1)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same(handle: int, path: Path) -> bool:
    """Whether the path still names the open file: who held the lock may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
