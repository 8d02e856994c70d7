"""How much of one connection may wait in the tunnel."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

from macnet.relay.sockets import SO_RCVBUFFORCE, SO_SNDBUFFORCE

#: Bytes per second that one connection is to reach on a long line, and the most that wait then: as
#: many as OpenSSH lets wait in a channel. More would only stand before it, in everybody's way.
_RATE, MOST = 400_000_000 // 8, 2 << 20
#: What those that are open share, beyond the least of each: they stand in one queue.
_TOGETHER = 4 << 20
#: Where a line is slow: what waits at least, and seconds between two looks at it.
_LEAST_ON_A_SLOW_LINE, _LOOK_S = 128 << 10, 0.25
#: tcpi_rtt, tcpi_bytes_acked and tcpi_min_rtt of struct tcp_info: microseconds and bytes.
_LINE = struct.Struct("=68xI48xQ20xI")
#: tcpi_rtt of struct tcp_info (linux/tcp.h): microseconds.
_ROUND_TRIP = struct.Struct("=68xI")


def set_buffers(end: socket.socket, size: int) -> None:
    """Bytes that wait at most, each way; the kernel adds as much for its own use."""
    for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
        end.setsockopt(socket.SOL_SOCKET, option, size)


def round_trip(end: socket.socket) -> int:
    """Microseconds: of a connection that was just accepted, those of its handshake."""
    info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ROUND_TRIP.size)
    (microseconds,) = _ROUND_TRIP.unpack(info)
    return int(microseconds)


def size_for(microseconds: int, least: int, connections: int) -> int:
    """What a line of this round trip holds, within bounds; one of so many ``connections``."""
    held = _RATE * microseconds // 1_000_000
    return max(least, min(held, MOST, _TOGETHER // max(connections, 1)))


class FarLine:
    """What waits for a far client follows what its line carries.

    More than that stands in the tunnel's queue, and every other connection's bytes behind it: on
    a line of 6 Mbit/s, 2 MiB take 3 s.
    """

    def __init__(
        self, end: socket.socket, size: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``end`` is the connection to the client, with buffers of ``size`` bytes, the most."""
        self._end = end
        self._most = self.size = size
        self._clock = clock
        self._since, self.acknowledged = clock(), 0

    def look(self) -> None:
        """Take other buffers for sending, where the line shows that they are wrong."""
        passed = self._clock() - self._since
        if passed < _LOOK_S:
            return
        found = self._end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LINE.size)
        if len(found) < _LINE.size:  # a kernel before 4.6
            return
        now_us, acknowledged, least_us = _LINE.unpack(found)
        rate = (acknowledged - self.acknowledged) / passed
        self._since, self.acknowledged = self._since + passed, acknowledged
        size = self._fitting(now_us / 1e6, least_us / 1e6, rate)
        if size != self.size:
            self.size = size
            self._end.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, size)

    def _fitting(self, now_s: float, least_s: float, rate: float) -> int:
        """By the round trip now, that of an empty line, and bytes per second."""
        if now_s > 2 * least_s + 0.01:  # a queue
            return max(min(int(2 * rate * least_s), self.size), _LEAST_ON_A_SLOW_LINE)
        if now_s < 1.5 * least_s + 0.005:
            return min(2 * self.size, self._most)
        return self.size
