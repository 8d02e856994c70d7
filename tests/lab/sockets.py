"""Options of the sockets of other processes."""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path

_PIDFD_GETFD = 438
"""The number of pidfd_getfd(2): the same on all architectures."""


def sends_at_once(pid: int, *, port: int) -> bool:
    """Whether a TCP connection of ``pid``'s own ``port`` is there and has TCP_NODELAY."""
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    try:
        for name in (int(link.name) for link in Path(f"/proc/{pid}/fd").iterdir()):
            copy = libc.syscall(_PIDFD_GETFD, process, name, 0)
            if copy < 0:
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
            try:
                found = socket.socket(fileno=copy)
            except OSError:  # another kind of file
                os.close(copy)
                continue
            with found:
                of_tcp = found.family == socket.AF_INET and found.type == socket.SOCK_STREAM
                if of_tcp and found.getsockname()[1] == port:
                    return bool(found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    finally:
        os.close(process)
    return False
