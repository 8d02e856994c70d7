"""A fresh world for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from macnet.tunnel import converge
from tests.unit.tunnel.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """An engine with the recorded networks, a client, nothing set up; nobody waits."""
    monkeypatch.setattr(converge, "TRAFFIC_TIMEOUT_S", 0.0)
    return World(tmp_path, monkeypatch)
