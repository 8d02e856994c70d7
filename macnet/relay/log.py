"""What the relay says: one line per change, to Docker's log of the container."""

from __future__ import annotations

import sys
import time

#: Seconds until the same thing is said again.
SELDOM_S = 60.0


def say(text: str) -> None:
    """Write a line."""
    print(f"relay: {text}", file=sys.stderr, flush=True)


class Seldom:
    """A message that may have a reason many times a second, and is said once a minute."""

    def __init__(self) -> None:
        """Not said yet."""
        self._next = 0.0

    def say(self, text: str) -> None:
        """Write it, unless it was written a short while ago."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + SELDOM_S
            say(text)
