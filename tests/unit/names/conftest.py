"""A server for a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from macnet.names.server import NameServer
from tests.unit.names.serving import World, running


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Iterator[NameServer]:
    with running(world) as one:
        yield one
