"""Messages of nfnetlink_queue, as the kernel sends and takes them."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from macnet.relay.netfilter import Held, Mark, Queue, open_queue, parse_held


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def held(number: int, packet: bytes) -> bytes:
    """What the kernel says of a packet: number, protocol and hook; mark; interface; payload."""
    body = bytes(4) + attribute(1, struct.pack("!IHB", number, 0x0800, 0))
    body += attribute(3, bytes(4)) + attribute(5, bytes(4)) + attribute(10, packet)
    return message(0x300, body)


def test_packets_are_read_and_other_messages_passed_over() -> None:
    error = message(2, struct.pack("=i", -2) + bytes(16))
    data = held(7, b"\x45abc") + error + held(8, b"\x45defg")
    assert list(parse_held(data)) == [Held(7, b"\x45abc"), Held(8, b"\x45defg")]


@given(st.binary(max_size=200))
def test_nothing_is_too_odd(data: bytes) -> None:
    list(parse_held(data))


@pytest.mark.parametrize(("lane", "mark"), [(0, 2), (1, 18), (15, 242)])
def test_verdicts(lane: int, mark: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        theirs.setblocking(False)
        queue = Queue(theirs, lane)
        assert list(queue.receive()) == []
        ours.send(held(7, b"x"))
        assert list(queue.receive()) == [Held(7, b"x")]
        queue.accept(7, Mark.UNREACHABLE)
        queue.drop(8)
        accepted, dropped = ours.recv(100), ours.recv(100)
    verdict = attribute(2, struct.pack("!II", 1, 7))
    assert accepted.endswith(verdict + attribute(3, struct.pack("!I", mark)))
    assert dropped.endswith(attribute(2, struct.pack("!II", 0, 8)))
    assert struct.unpack_from("=IHH", accepted) == (len(accepted), 0x301, 1)
    # nfgenmsg: family, version, and the queue's number in network order.
    assert accepted[16:20] == dropped[16:20] == struct.pack("!BBH", 0, 0, lane)


def test_a_kernel_without_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """It acknowledges with an error, and nothing stays open."""
    opened: list[Refusing] = []

    class Refusing:
        def __init__(self, *_: int) -> None:
            self.closed = False
            opened.append(self)

        def bind(self, _: object) -> None: ...

        def setsockopt(self, *_: int) -> None: ...

        def send(self, data: bytes) -> None:
            assert struct.unpack_from("=IHH", data) == (len(data), 0x302, 5)

        def recv(self, _: int) -> bytes:
            return message(2, struct.pack("=i", -95) + bytes(16))

        def close(self) -> None:
            self.closed = True

    monkeypatch.setattr("macnet.relay.netfilter.socket.socket", Refusing)
    with pytest.raises(OSError, match="not supported"):
        open_queue(0)
    assert [one.closed for one in opened] == [True]
