"""Who holds a port on which names would be answered: DNS is UDP above all."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from macnet.models import PortOwner

_ADDRESS = "127.0.0.1"


def find_udp_holder(port: int) -> PortOwner | None:
    """Somebody nameless where UDP ``port`` of 127.0.0.1 is taken; None if it is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((_ADDRESS, port))
        except OSError as error:
            # A port below 1024 may be refused, which says nothing about an owner.
            return PortOwner(port) if error.errno == errno.EADDRINUSE else None
    return None


def with_udp(
    find_owner: Callable[[int], PortOwner | None],
) -> Callable[[int], PortOwner | None]:
    """``find_owner``, which knows of TCP, and after it `find_udp_holder`."""
    return lambda port: find_owner(port) or find_udp_holder(port)
