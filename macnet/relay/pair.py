"""Two connected sockets, and the bytes between them: moved by splice(2), never copied here."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum

from macnet.relay.sockets import LACKING, end_orderly

#: What one direction holds at most while its receiver does not take it.
PIPE_SIZE = 256 << 10
#: Fills of a pipe until another connection has its turn.
_FILLS = 16
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK

Pipe = tuple[int, int]


class Next(IntEnum):
    """When there is more to move: the highest of several counts."""

    AT_EVENT = 0
    #: After a while: there were no descriptors for a pipe.
    LATER = 1
    AT_ONCE = 2


class NoPipe(OSError):
    """There are no descriptors, or there is no memory, for another pipe now."""


class Pipes:
    """Pipes for directions that carry something; an idle connection has none."""

    def __init__(self, kept: int) -> None:
        """``kept`` is how many wait for their next use instead of being closed."""
        self._kept = kept
        self._free: list[Pipe] = []

    def take(self) -> Pipe:
        """An empty pipe. Raises `NoPipe`."""
        if self._free:
            return self._free.pop()
        try:
            made = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in LACKING:
                raise NoPipe(error.errno, error.strerror) from error
            raise
        # Beyond what the kernel lets a user have in all it stays small.
        with suppress(OSError):
            fcntl.fcntl(made[1], fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        return made

    def give(self, pipe: Pipe, *, empty: bool) -> None:
        """Take one back; with bytes in it, it is of no more use."""
        if empty and len(self._free) < self._kept:
            self._free.append(pipe)
            return
        for end in pipe:
            os.close(end)

    def close(self) -> None:
        """Close those that wait."""
        for pipe in self._free:
            for end in pipe:
                os.close(end)
        self._free.clear()


class Direction:
    """The bytes from one socket to the other, and its end."""

    def __init__(self, source: socket.socket, target: socket.socket, pipes: Pipes) -> None:
        """Nothing is moved yet."""
        self._source, self._target = source, target
        self._pipes = pipes
        self._pipe: Pipe | None = None
        self._held = 0
        self._ended = False
        self.done = False

    def move(self) -> Next:
        """Move what can be moved. Raises OSError."""
        try:
            return Next.AT_ONCE if self._move() else Next.AT_EVENT
        except NoPipe:
            # Nothing was taken from the source, so nothing is lost.
            return Next.LATER

    def _move(self) -> bool:
        """As `move`; True if there may be more at once. Raises `NoPipe`, too."""
        for _ in range(_FILLS):
            if self.done or not (self._held or self._fill()):
                return False
            if self._held and not self._drain():
                return False
            if self._ended:
                self._target.shutdown(socket.SHUT_WR)
                self.done = True
        return True

    def _fill(self) -> bool:
        """Take up to a pipe of bytes; False if there are none now."""
        # Only into an empty pipe: so that "try again" can mean nothing but the source.
        self._pipe = self._pipe or self._pipes.take()
        try:
            self._held = os.splice(self._source.fileno(), self._pipe[1], PIPE_SIZE, flags=_FLAGS)
        except BlockingIOError:
            self.release()
            return False
        if not self._held:
            self.release()
            self._ended = True
        return True

    def _drain(self) -> bool:
        """Hand over what the pipe holds; False if the target takes no more now."""
        try:
            while self._held and self._pipe:
                self._held -= os.splice(
                    self._pipe[0], self._target.fileno(), self._held, flags=_FLAGS
                )
        except BlockingIOError:
            return False
        return True

    def hand_over(self) -> None:
        """Move what has arrived before an error. Never raises, and never tells of an end."""
        with suppress(OSError):
            for _ in range(_FILLS):
                if not (self._held or self._fill()) or self._ended or not self._drain():
                    return

    def release(self) -> None:
        """Give the pipe back."""
        if self._pipe is not None:
            self._pipes.give(self._pipe, empty=not self._held)
            self._pipe = None


class Pair:
    """A connection of the client's and the onward one; ``closed`` hears of the end of both."""

    def __init__(
        self,
        client: socket.socket,
        onward: socket.socket,
        pipes: Pipes,
        closed: Callable[[Pair], None],
    ) -> None:
        """Takes both sockets over."""
        self.sockets = (client, onward)
        self._directions = (Direction(client, onward, pipes), Direction(onward, client, pipes))
        self._closed = closed
        self._open = True

    def move(self) -> Next:
        """Move both ways. Never raises."""
        if not self._open:
            return Next.AT_EVENT
        try:
            more = [direction.move() for direction in self._directions]
        except OSError:
            self._fail()
            return Next.AT_EVENT
        if all(direction.done for direction in self._directions):
            for end in self.sockets:
                end_orderly(end)
            self._close()
            return Next.AT_EVENT
        return max(more)

    def failed(self) -> None:
        """The kernel reports an error of one of the two: the other must hear of it."""
        if self._open and any(
            end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) for end in self.sockets
        ):
            self._fail()

    def _fail(self) -> None:
        """Reset both, behind what the other takes at once of what was sent before.

        As an answer that tells why; without a relay, too, a reset drops what is not sent yet.
        """
        for direction in self._directions:
            direction.hand_over()
        self.reset()

    def reset(self) -> None:
        """End both with a reset, so that neither side takes a broken transfer for whole."""
        if self._open:
            self._close()

    def _close(self) -> None:
        self._open = False
        for direction in self._directions:
            direction.release()
        self._closed(self)
        for end in self.sockets:
            end.close()
