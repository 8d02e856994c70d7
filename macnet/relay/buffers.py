"""How much of one connection may wait in the tunnel."""

from __future__ import annotations

import socket
import struct

from macnet.relay.sockets import SO_RCVBUFFORCE, SO_SNDBUFFORCE

#: Bytes per second that one connection is to reach on a long line, and the most that wait then: as
#: many as OpenSSH lets wait in a channel. More would only stand before it, in everybody's way.
_RATE, MOST = 400_000_000 // 8, 2 << 20
#: What those that are open share, beyond the least of each: they stand in one queue.
_TOGETHER = 4 << 20
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
