"""Tests in several processes at once (``pytest -n 2``): each process has a lab of its own."""

from __future__ import annotations

import os
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.paths import LabPaths

_FIRST = "gw0"


def lab_name(worker: str | None = None) -> str:
    """The lab of a process, by default of this one: MACNET_LAB_NAME, with more behind it from the
    second process on.
    """
    worker = worker or os.environ.get("PYTEST_XDIST_WORKER", _FIRST)
    name = os.environ.get("MACNET_LAB_NAME", "macnet-e2e")
    return name if worker == _FIRST else f"{name}-{worker}"


def claim(name: str) -> None:
    """Note that a lab is for this run of tests, of which other processes may be part."""
    note = _note(name)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(os.environ.get("PYTEST_XDIST_TESTRUNUID", ""))


def release(name: str) -> None:
    """It is down: the note goes too."""
    _note(name).unlink(missing_ok=True)


def take_down(worker: str, run: str) -> None:
    """Take the lab of a process down that may have ended before it could.

    Only that of this run: another one, beside it, may use the same names.
    """
    name = lab_name(worker)
    note = _note(name)
    if note.exists() and note.read_text() == run:
        if LabPaths.of(name).home.exists():
            Lab(name).down()
        release(name)


def _note(name: str) -> Path:
    return LabPaths.of(name).home.with_suffix(".run")
