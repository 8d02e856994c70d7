"""A lane that runs, and a service to reach through it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.unit.relay.kernel import Kernel, running


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    with running(monkeypatch) as (found, _):
        yield found


@pytest.fixture
def service() -> Iterator[socket.socket]:
    """A listener that the client wants to reach."""
    with socket.create_server(("127.0.0.1", 0), backlog=300) as listener:
        listener.settimeout(5)
        yield listener
