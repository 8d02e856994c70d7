"""Packets that the kernel holds for a program: nfnetlink_queue (linux/netfilter/nfnetlink_queue.h).

Run as a program it tells by its exit code whether this kernel has such queues.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from macnet.relay.sockets import SO_RCVBUFFORCE

#: A mark has the verdict in its lowest bits, and above them the lane's number, which is also that
#: of its queue (server.sh, subnets.sh).
LANE_SHIFT = 4
_NETLINK_NETFILTER = 12
_SOL_NETLINK, _NETLINK_NO_ENOBUFS = 270, 5
_SUBSYSTEM = 3 << 8
_PACKET, _VERDICT, _CONFIG = (_SUBSYSTEM | kind for kind in range(3))
_ERROR = 2  # NLMSG_ERROR: an acknowledgement, or an error
_REQUEST, _ACK = 1, 4
_CFG_CMD, _CFG_PARAMS, _CFG_MAXLEN = 1, 2, 3
_BIND = 1
_COPY_PACKET = 2
_PACKET_HDR, _VERDICT_HDR, _MARK, _PAYLOAD = 1, 2, 3, 10
_DROP, _ACCEPT = 0, 1
_HEADER = struct.Struct("=IHHII")
_FAMILY = struct.Struct("!BBH")
#: Enough of a packet for addresses and ports behind the longest IPv4 header.
_COPIED = 80
#: Packets that wait for a verdict; the kernel drops what comes beyond.
_HELD = 8192
_RECEIVE_BUFFER = 4 << 20


class Mark(IntEnum):
    """What the lane found, as the server's rules read it (server.sh)."""

    REFUSED = 1
    UNREACHABLE = 2
    CONNECTED = 3


@dataclass(frozen=True, slots=True)
class Held:
    """A packet that waits for its verdict, and its first bytes."""

    number: int
    packet: bytes


class Queue:
    """A queue bound in the network namespace in which this is made, which needs CAP_NET_ADMIN."""

    def __init__(self, opened: socket.socket, number: int) -> None:
        """Use a socket that `open_queue` has made for the queue of this number."""
        self._socket = opened
        self._queue = number

    def fileno(self) -> int:
        """For epoll."""
        return self._socket.fileno()

    def receive(self) -> Iterator[Held]:
        """The packets that have come since; none where there are none yet."""
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            yield from parse_held(data)

    def accept(self, number: int, mark: Mark) -> None:
        """Let a packet go on with a mark."""
        self._answer(
            number, _ACCEPT, _attribute(_MARK, struct.pack("!I", mark | self._queue << LANE_SHIFT))
        )

    def drop(self, number: int) -> None:
        """Forget a packet; its sender will repeat it."""
        self._answer(number, _DROP, b"")

    def _answer(self, number: int, verdict: int, more: bytes) -> None:
        body = _attribute(_VERDICT_HDR, struct.pack("!II", verdict, number)) + more
        self._socket.send(_message(_VERDICT, 0, body, self._queue))


def open_queue(number: int) -> socket.socket:
    """Bind a queue in this network namespace. Raises OSError where the kernel has none."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    try:
        opened.bind((0, 0))
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        opened.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
        for kind, value in (
            (_CFG_CMD, struct.pack("!BBH", _BIND, 0, 0)),
            (_CFG_PARAMS, struct.pack("!IB", _COPIED, _COPY_PACKET)),
            (_CFG_MAXLEN, struct.pack("!I", _HELD)),
        ):
            opened.send(_message(_CONFIG, _ACK, _attribute(kind, value), number))
            code = _acknowledged(opened.recv(1 << 16))
            if code:
                raise OSError(code, os.strerror(code))
        opened.setblocking(False)
    except BaseException:
        opened.close()
        raise
    return opened


def parse_held(data: bytes) -> Iterator[Held]:
    """The packets in what the kernel sent; its other messages are passed over."""
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            return
        if kind == _PACKET:
            found = dict(_attributes(data[_HEADER.size + _FAMILY.size : length]))
            if _PACKET_HDR in found:
                (number,) = struct.unpack_from("!I", found[_PACKET_HDR])
                yield Held(number, found.get(_PAYLOAD, b""))
        data = data[_aligned(length) :]


def _acknowledged(data: bytes) -> int:
    """The error number in an acknowledgement; 0 for none."""
    kind = _HEADER.unpack_from(data)[1]
    (code,) = struct.unpack_from("=i", data, _HEADER.size)
    return -code if kind == _ERROR else 0


def _message(kind: int, flags: int, body: bytes, queue: int) -> bytes:
    body = _FAMILY.pack(socket.AF_UNSPEC, 0, queue) + body
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 0, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(_aligned(length) - length)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield kind & 0x3FFF, data[4:length]
        data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3


if __name__ == "__main__":
    try:
        open_queue(0).close()
    except OSError as error:
        sys.exit(f"no packet queue: {error.strerror}")
