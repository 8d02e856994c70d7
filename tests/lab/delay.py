"""Holds each packet of a queue back for a while, as a long line does; this kernel has no netem.

usage: delay.py MILLISECONDS, in the network namespace whose rules send packets to `QUEUE`. Says
`READY` when it has the queue; when it ends, the kernel drops the packets that wait.
"""

from __future__ import annotations

import collections
import contextlib
import os
import select
import socket
import struct
import sys
import time

QUEUE = 99
READY = "ready"

# linux/netlink.h, linux/netfilter/nfnetlink_queue.h; macnet/relay/netfilter.py has more of it.
_NETLINK_NETFILTER = 12
_SO_RCVBUFFORCE = 33
_SOL_NETLINK, _NETLINK_NO_ENOBUFS = 270, 5
_PACKET, _CONFIG, _VERDICT_BATCH = (3 << 8 | kind for kind in (0, 2, 3))
_ERROR = 2
_REQUEST, _ACK = 1, 4
_CFG_CMD, _CFG_PARAMS, _CFG_MAXLEN, _CFG_MASK, _CFG_FLAGS = range(1, 6)
_BIND, _COPY_META, _GSO = 1, 1, 4
_VERDICT_HDR, _ACCEPT = 2, 1
_HEADER = struct.Struct("=IHHII")
_FAMILY = struct.Struct("!BBH")
#: The number of a packet, in the attribute that the kernel writes first.
_NUMBER = struct.Struct("!I")
_NUMBER_AT = _HEADER.size + _FAMILY.size + 4
_KIND = struct.Struct("=4xH")
#: Packets that are under way at most: 1 Gbit/s of 1500 bytes for a second.
_HELD = 100_000
_RECEIVE_BUFFER = 64 << 20
#: So many are taken before those that are due are let go.
_AT_ONCE = 64


def open_queue(number: int) -> socket.socket:
    """Bind a queue of this network namespace; the kernel tells numbers of packets, no bytes."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    opened.bind((0, 0))
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    opened.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
    for attributes in (
        _attribute(_CFG_CMD, struct.pack("!BBH", _BIND, 0, 0)),
        _attribute(_CFG_PARAMS, struct.pack("!IB", 0, _COPY_META)),
        _attribute(_CFG_MAXLEN, struct.pack("!I", _HELD)),
        # Packets that the sender's kernel has not cut yet stay whole.
        _attribute(_CFG_FLAGS, struct.pack("!I", _GSO))
        + _attribute(_CFG_MASK, struct.pack("!I", _GSO)),
    ):
        opened.send(_message(_CONFIG, _ACK, attributes, number))
        _check(opened.recv(1 << 16))
    opened.setblocking(False)
    return opened


def hold(opened: socket.socket, queue: int, delay_s: float) -> None:
    """Let each packet go on so many seconds after it came, for ever."""
    waiting: collections.deque[tuple[float, int]] = collections.deque()
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        select.select([opened], [], [], pause)
        with contextlib.suppress(BlockingIOError):
            for _ in range(_AT_ONCE):
                data = opened.recv(1024)
                if _KIND.unpack_from(data)[0] == _PACKET:
                    (number,) = _NUMBER.unpack_from(data, _NUMBER_AT)
                    waiting.append((time.monotonic() + delay_s, number))
        now, last = time.monotonic(), None
        while waiting and waiting[0][0] <= now:
            last = waiting.popleft()[1]
        if last is not None:
            # All with this number or a lower one, in their order.
            verdict = _attribute(_VERDICT_HDR, struct.pack("!II", _ACCEPT, last))
            opened.send(_message(_VERDICT_BATCH, 0, verdict, queue))


def _check(data: bytes) -> None:
    """Raise OSError where an acknowledgement has an error."""
    kind = _HEADER.unpack_from(data)[1]
    (code,) = struct.unpack_from("=i", data, _HEADER.size)
    if kind == _ERROR and code:
        raise OSError(-code, os.strerror(-code))


def _message(kind: int, flags: int, body: bytes, queue: int) -> bytes:
    body = _FAMILY.pack(socket.AF_UNSPEC, 0, queue) + body
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 0, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def main() -> None:
    """Hold packets until a signal ends this."""
    delay_s = float(sys.argv[1]) / 1000
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)  # a line does not wait for a processor
    with open_queue(QUEUE) as opened:
        print(READY, flush=True)
        hold(opened, QUEUE, delay_s)


if __name__ == "__main__":
    main()
