"""Doing something in another namespace while this process stays in the VM's."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def network_of(pid: int) -> Iterator[None]:
    """This process in the network namespace of another; what is opened meanwhile stays there.

    Raises OSError where that process is gone. For processes with one thread.
    """
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(other)
        finally:
            os.close(other)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)


@contextmanager
def own_processes() -> Iterator[None]:
    """The one process that is started meanwhile is the first of a PID namespace of its own.

    It can neither signal nor trace what runs beside it, though that is the same user.
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if sys.version_info >= (3, 12):
            os.unshare(os.CLONE_NEWPID)
        try:
            yield
        finally:
            if sys.version_info >= (3, 12):
                os.setns(own, os.CLONE_NEWPID)
    finally:
        os.close(own)


def _enter(namespace: int) -> None:
    if sys.version_info >= (3, 12):  # which the image has (install.sh)
        os.setns(namespace, os.CLONE_NEWNET)
