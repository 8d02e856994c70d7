"""Onward connections that are made and wait for their client to reach the listener."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from macnet.relay.flow import Flow

Destination = tuple[bytes, int]


@dataclass(frozen=True, slots=True)
class Waiting:
    """One of them, and until when (of the monotonic clock) it waits."""

    onward: socket.socket
    until: float


class Announced:
    """By destination, as only that is sure to stay the same.

    Where a connection that has ended a short while ago had the same source port, the kernel's NAT
    gives the new one another. Any onward connection to the same destination will do: nothing has
    been sent on it yet.
    """

    def __init__(self) -> None:
        """None yet."""
        self._waiting: dict[Destination, dict[Flow, Waiting]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, flow: Flow) -> bool:
        return flow in self._waiting.get(_destination(flow), {})

    def add(self, flow: Flow, onward: socket.socket, seconds: float) -> None:
        """Keep the onward connection of a flow for so long."""
        waiting = self._waiting.setdefault(_destination(flow), {})
        waiting[flow] = Waiting(onward, time.monotonic() + seconds)
        self._count += 1

    def take(self, flow: Flow) -> tuple[Flow, socket.socket] | None:
        """The connection for a client that has come, and the flow that it was announced as.

        None where none was announced.
        """
        waiting = self._waiting.get(_destination(flow))
        if not waiting:
            return None
        announced = flow if flow in waiting else next(iter(waiting))
        return announced, self._remove(announced).onward

    def expire(self) -> None:
        """Close those whose clients did not come."""
        now = time.monotonic()
        self._discard(lambda _, one: one.until < now)

    def discard(self, unwanted: Callable[[Flow], bool]) -> None:
        """Close those of such flows: their clients will find none."""
        self._discard(lambda flow, _: unwanted(flow))

    def close(self) -> None:
        """Close all."""
        for waiting in self._waiting.values():
            for one in waiting.values():
                one.onward.close()

    def _discard(self, unwanted: Callable[[Flow, Waiting], bool]) -> None:
        for waiting in list(self._waiting.values()):
            for flow, one in list(waiting.items()):
                if unwanted(flow, one):
                    self._remove(flow).onward.close()

    def _remove(self, flow: Flow) -> Waiting:
        waiting = self._waiting[_destination(flow)]
        found = waiting.pop(flow)
        if not waiting:
            del self._waiting[_destination(flow)]
        self._count -= 1
        return found


def _destination(flow: Flow) -> Destination:
    return flow.destination, flow.destination_port
