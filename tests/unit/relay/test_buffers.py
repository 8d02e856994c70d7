"""How much of a connection may wait, by the round trip of its line."""

from __future__ import annotations

import socket

import pytest

from macnet.relay.buffers import MOST, round_trip, size_for

LEAST = 512 << 10


@pytest.mark.parametrize(
    ("milliseconds", "connections", "size"),
    [
        (0, 1, LEAST),
        (1, 1, LEAST),
        (10, 1, LEAST),
        (20, 1, 1_000_000),
        (100, 1, MOST),
        (3000, 1, MOST),
        (100, 4, 1 << 20),
        (20, 4, 1_000_000),
        (100, 1000, LEAST),
    ],
)
def test_size_by_round_trip(milliseconds: int, connections: int, size: int) -> None:
    assert size_for(milliseconds * 1000, LEAST, connections) == size


def test_the_kernel_has_measured_the_handshake() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as end,
    ):
        assert 0 < round_trip(end) < 1_000_000
