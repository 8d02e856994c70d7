"""A healthy world for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.checks.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Everything works."""
    return World(tmp_path / "tunnel")
