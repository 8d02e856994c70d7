"""Options of sockets: of the lane's two kinds of connections, and what Python has no name for."""

from __future__ import annotations

import errno
import socket
import struct

#: Beyond net.core.wmem_max and rmem_max (asm-generic/socket.h); both need CAP_NET_ADMIN.
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
#: Seconds without traffic until a probe, between probes, probes. A container is near, so one that
#: has vanished is found soon, unless it owes an acknowledgement: then the kernel sends again for
#: its usual quarter of an hour. The client's machine may sleep for a while. Not TCP_USER_TIMEOUT:
#: it also ends what waits for a reader that is alive and takes nothing for a while.
_NEAR, _FAR = (30, 10, 3), (120, 30, 20)

#: Errors that pass when others have ended.
LACKING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

#: SO_LINGER with 0 s: a close, also that of a process which is killed, is a reset.
_RESET, _ORDERLY = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)


def prepare_client(end: socket.socket) -> None:
    """The side of the tunnel."""
    _prepare(end, _FAR)


def prepare_onward(end: socket.socket) -> None:
    """The side of the container."""
    _prepare(end, _NEAR)


def _prepare(end: socket.socket, keepalive: tuple[int, int, int]) -> None:
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    for option, value in zip(options, keepalive, strict=True):
        end.setsockopt(socket.IPPROTO_TCP, option, value)


def end_orderly(end: socket.socket) -> None:
    """Let the next close be a normal one: all bytes have been handed over."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ORDERLY)


def has_peer(end: socket.socket) -> bool:
    """Whether a socket is connected."""
    try:
        end.getpeername()
    except OSError:
        return False
    return True
