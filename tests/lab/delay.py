"""ssh's ProxyCommand: a TCP connection whose bytes each take a while, in both directions.

usage: delay.py HOST PORT MILLISECONDS (of one direction)
"""

from __future__ import annotations

import collections
import os
import selectors
import socket
import sys
import time

_CHUNK = 1 << 16
#: So many bytes are on their way at most, as on a line with buffers.
_ON_THE_WAY = 16 << 20


class _Direction:
    """From one file to another, later."""

    def __init__(self, source: int, sink: int, delay_s: float) -> None:
        self.source, self.sink, self.delay_s = source, sink, delay_s
        self.waiting: collections.deque[tuple[float, bytes]] = collections.deque()
        self.held = 0
        self.ended = False

    def read(self) -> None:
        data = os.read(self.source, _CHUNK)
        self.ended |= not data
        self.held += len(data)
        self.waiting.append((time.monotonic() + self.delay_s, data))

    def write(self) -> bool:
        """Pass on what is due; whether this direction goes on."""
        while self.waiting and self.waiting[0][0] <= time.monotonic():
            _, data = self.waiting.popleft()
            if not data:
                return False
            self.held -= len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(self.sink, view) :]
        return True

    def due_s(self) -> float | None:
        return max(0.0, self.waiting[0][0] - time.monotonic()) if self.waiting else None


def main() -> None:
    """Relay until one side ends."""
    host, port, delay_ms = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    with socket.create_connection((host, port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there = _Direction(0, line.fileno(), delay_ms / 1000)
        back = _Direction(line.fileno(), 1, delay_ms / 1000)
        ways = (there, back)
        while True:
            with selectors.DefaultSelector() as selector:
                for way in ways:
                    if not way.ended and way.held < _ON_THE_WAY:
                        selector.register(way.source, selectors.EVENT_READ, way)
                waits = [due for way in ways if (due := way.due_s()) is not None]
                for key, _ in selector.select(min(waits, default=None)):
                    key.data.read()
            there_goes_on, back_goes_on = there.write(), back.write()
            if not (there_goes_on and back_goes_on):
                return


if __name__ == "__main__":
    main()
