"""Eight streams at once, four each way: none may stall, and nothing may leak.

This is the short form of `make soak`, by the same code.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.bed import Bed
from benchmarks.soak import soak
from tests.e2e.steps import Mac

SECONDS = 20.0
CONNECTIONS = 1000


@pytest.mark.alone
def test_eight_streams_neither_stall_nor_leak(up: Mac, tmp_path: Path) -> None:
    bed = Bed(up.lab)
    bed.up()
    try:
        passed = soak(bed, SECONDS, CONNECTIONS, tmp_path)
    finally:
        bed.remove_target()
    record = json.loads((tmp_path / "soak.json").read_text())
    assert (passed, record["faults"]) == (True, [])
    for way in ("down", "up"):
        moved = record["moved"][way]
        assert moved["seconds"] >= SECONDS
        assert moved["bytes"] > 50e6 * SECONDS / 8, way  # a tenth of what is usual
