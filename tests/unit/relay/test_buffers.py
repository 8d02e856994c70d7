"""How much of a connection may wait, by the round trip of its line."""

from __future__ import annotations

import socket
import struct
from typing import cast

import pytest

from macnet.relay.buffers import MOST, FarLine, round_trip, size_for
from macnet.relay.sockets import SO_SNDBUFFORCE

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


class Measured:
    """A connection whose line is played: `line` is what the kernel would tell of it."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.now_s = self.least_s = 0.02
        self.acknowledged = 0

    def getsockopt(self, _: int, __: int, size: int) -> bytes:
        times = (int(one * 1e6) for one in (self.now_s, self.least_s))
        now, least = times
        found = struct.pack("=68xI48xQ20xI", now, self.acknowledged, least)
        return found[:size]

    def setsockopt(self, _: int, option: int, size: int) -> None:
        assert option == SO_SNDBUFFORCE
        self.sizes.append(size)


def test_what_waits_shrinks_where_it_makes_a_queue_and_grows_again() -> None:
    end, clock = Measured(), iter(number * 0.3 for number in range(100))
    line = FarLine(cast(socket.socket, end), 1_000_000, lambda: next(clock))
    line.look()
    assert end.sizes == []  # no queue
    end.now_s = 1.5
    for _ in range(2):
        end.acknowledged += 210_000  # 5.6 Mbit/s
        line.look()
    assert end.sizes == [128 << 10]
    end.now_s = 0.022
    for _ in range(4):
        line.look()
    assert end.sizes[1:] == [256 << 10, 512 << 10, 1_000_000]


def test_a_fast_line_with_a_queue_keeps_what_it_carries() -> None:
    end, clock = Measured(), iter(number * 0.25 for number in range(100))
    end.now_s, end.least_s = 0.3, 0.1
    line = FarLine(cast(socket.socket, end), MOST, lambda: next(clock))
    end.acknowledged = 3_000_000  # 96 Mbit/s in a quarter of a second
    line.look()
    assert end.sizes == [] and line.size == MOST
    end.acknowledged += 1_000_000
    line.look()
    assert end.sizes == [800_000]


def test_looks_are_seldom_and_an_old_kernel_changes_nothing() -> None:
    end, clock = Measured(), iter([0.0, 0.1, 0.3])
    end.now_s = 9.0
    line = FarLine(cast(socket.socket, end), MOST, lambda: next(clock))
    line.look()
    assert end.sizes == []
    end.getsockopt = lambda *_: bytes(104)  # type: ignore[method-assign]
    line.look()
    assert end.sizes == []


def test_the_kernel_counts_what_was_acknowledged() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as peer,
        listener.accept()[0] as end,
    ):
        clock = iter([0.0, 1.0])
        line = FarLine(end, MOST, lambda: next(clock))
        end.sendall(bytes(50_000))
        received = 0
        while received < 50_000:
            received += len(peer.recv(65536))
        line.look()
        assert line.acknowledged >= 40_000
