"""Forwards UDP from 127.0.0.1 of this network namespace to the same port in another one."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import sys

_CLONE_NEWNET = 0x40000000
_LARGEST = 65536
#: Datagrams from one side until the other has its turn.
_BATCH = 64
_BUFFER = 4 << 20


def main(netns: str, port: int) -> None:
    """Forward until the process is ended. There is one client: the last that has sent."""
    outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    outside.bind(("127.0.0.1", port))
    handle = os.open(netns, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inside.connect(("127.0.0.1", port))
    for end in (outside, inside):
        end.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            end.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    client = None
    while True:
        ready, _, _ = select.select([outside, inside], [], [])
        for end in ready:
            try:
                for _ in range(_BATCH):
                    if end is outside:
                        data, client = outside.recvfrom(_LARGEST)
                        inside.send(data)
                    else:
                        data = inside.recv(_LARGEST)
                        if client:
                            outside.sendto(data, client)
            except (BlockingIOError, ConnectionRefusedError):
                continue


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
