"""TCP by the kernel: the connections of the client end in the server's namespace, not here.

1. The server's rules hold the SYN of a new connection in the packet queue of a lane, by its subnet.
2. The lane connects to its destination in the one namespace that it was started in, the VM's or
   a joiner's, and only then gives the verdict: go on, refuse, unreachable, or (the connect timed
   out) drop. No port looks open that is not.
3. A SYN that goes on is redirected to the lane's listener in the server's namespace. The accepted
   connection and the onward one make a pair.

Run by the supervisor, which opens what needs its rights and hands the descriptors over. It also
tells what is allowed: nothing of the server's files is in reach of a descriptor here. Each verdict
needs CAP_NET_ADMIN; nothing else does.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from macnet.relay.allowlist import VM, Allowlist, Home, unpack_list
from macnet.relay.announced import Announced
from macnet.relay.buffers import FarLine, round_trip, set_buffers, size_for
from macnet.relay.flow import Flow, accepted_flow, parse_packet
from macnet.relay.log import Seldom, say
from macnet.relay.netfilter import Mark, Queue
from macnet.relay.pair import Next, Pair, Pipes
from macnet.relay.sockets import LACKING, has_peer, prepare_client, prepare_onward

#: A connect that has found nobody by then has failed; the client's own patience is shorter or
#: it sends its SYN again.
CONNECT_TIMEOUT_S = 60.0
#: After the verdict the client's part of the handshake takes one round trip.
ACCEPT_TIMEOUT_S = 15.0
#: A connection takes two descriptors, and two more for each of its ends that is slow to read.
_PER_CONNECTION = 6
_RESERVED = 64
#: Until what lacked descriptors or memory is tried again.
_PAUSE_S = 0.2
_PIPES_KEPT = 4
_EVENTS = 512
#: More than the kernel takes as one message.
_LIST_SIZE = 1 << 20

_REFUSED = frozenset({errno.ECONNREFUSED, errno.ECONNRESET})
_UNREACHABLE = frozenset(
    {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EACCES}
)


@dataclass(frozen=True, slots=True)
class Connecting:
    """A held SYN and the onward connection that decides about it."""

    number: int
    onward: socket.socket
    until: float


class Lane:
    """One event loop for the queue, the listeners and all connections."""

    def __init__(
        self,
        queue: Queue,
        listeners: list[socket.socket],
        limit: int,
        home: Home = VM,
        far_buffer: int = 0,
    ) -> None:
        """``limit`` is how many connections there may be at once, ``home`` where they go.

        With ``far_buffer`` each connection gets buffers by its round trip, of so many bytes at
        least; without, those of the listener.
        """
        self._queue = queue
        self._listeners = listeners
        self._allowlist = Allowlist()
        self._limit = limit
        self._home = home
        self._far_buffer = far_buffer
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._connecting: dict[Flow, Connecting] = {}
        self._announced = Announced()
        self._pairs: dict[Pair, Flow] = {}
        #: Of pairs whose clients are far.
        self._lines: dict[Pair, FarLine] = {}
        #: Flows of the pairs, as the client's packets name them: a SYN of one of them was sent
        #: twice and is late.
        self._active: set[Flow] = set()
        self._ready: dict[Pair, None] = {}
        self._pipes = Pipes(_PIPES_KEPT)
        #: Those that have found no descriptors for a pipe.
        self._lean: dict[Pair, None] = {}
        self._paused = False
        #: When what lacked something is tried again; None where nothing did.
        self._retry_at: float | None = None
        self._running = True
        self._full = Seldom()
        self._lacking = Seldom()

    def run(self, lifeline: socket.socket) -> None:
        """Serve until ``lifeline`` ends. Its other end is the supervisor's, which sends lists."""
        lifeline.setblocking(False)
        self._hear(lifeline)
        self._watch(lifeline.fileno(), select.EPOLLIN, lambda _: self._hear(lifeline))
        self._watch(self._queue.fileno(), select.EPOLLIN, lambda _: self._receive())
        for listener in self._listeners:
            self._listen(listener)
        try:
            while self._running:
                self._turn()
        finally:
            self._close()

    def _turn(self) -> None:
        for descriptor, events in self._epoll.poll(self._patience(), _EVENTS):
            handler = self._handlers.get(descriptor)
            if handler is not None:
                handler(events)
        ready, self._ready = self._ready, {}
        for pair in ready:
            self._move(pair)
        self._expire()

    def _patience(self) -> float | None:
        """Seconds to wait for the next event; None for as long as it takes."""
        if self._ready:
            return 0
        if self._retry_at is not None:
            return max(self._retry_at - time.monotonic(), 0)
        return 1.0 if self._connecting or self._announced else None

    def _close(self) -> None:
        """Reset what is open: nothing may look whole that is not."""
        for pair in list(self._pairs):
            pair.reset()
        for tried in self._connecting.values():
            tried.onward.close()
        self._announced.close()
        self._pipes.close()
        self._epoll.close()

    def _hear(self, lifeline: socket.socket) -> None:
        try:
            message = lifeline.recv(_LIST_SIZE)
        except BlockingIOError:
            return
        if message:
            self._go_by(Allowlist(unpack_list(message)))
        else:
            self._running = False

    def _go_by(self, allowlist: Allowlist) -> None:
        """Take another list, and end what it no longer allows or sends elsewhere.

        No rule of the server's would: to it they are connections of the lane's listeners.
        """
        before, self._allowlist = self._allowlist, allowlist

        def moved(flow: Flow) -> bool:
            was, now = (one.real(flow.destination, self._home) for one in (before, allowlist))
            return was != now

        for pair in [pair for pair, flow in self._pairs.items() if moved(flow)]:
            pair.reset()
        for flow in [flow for flow in self._connecting if moved(flow)]:
            self._give_up(flow)
        self._announced.discard(moved)

    # Verdicts

    def _receive(self) -> None:
        for held in self._queue.receive():
            flow = parse_packet(held.packet)
            real = self._allowlist.real(flow.destination, self._home) if flow else None
            if flow is None or real is None or flow in self._connecting or flow in self._active:
                self._queue.drop(held.number)
            elif flow in self._announced:
                self._queue.accept(held.number, Mark.CONNECTED)
            elif self._connections() >= self._limit:
                self._queue.drop(held.number)
                self._full.say(f"there are {self._limit} TCP connections: further ones must wait")
            else:
                self._connect(held.number, flow, real)

    def _connections(self) -> int:
        return len(self._pairs) + len(self._announced) + len(self._connecting)

    def _connect(self, number: int, flow: Flow, real: bytes) -> None:
        try:
            onward = socket.socket(flow.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._lack(error)
            self._queue.drop(number)
            return
        prepare_onward(onward)
        address = (socket.inet_ntop(flow.family, real), flow.destination_port)
        code = onward.connect_ex(address)
        self._connecting[flow] = Connecting(number, onward, time.monotonic() + CONNECT_TIMEOUT_S)
        if code == errno.EINPROGRESS:
            self._watch(onward.fileno(), select.EPOLLOUT, lambda _: self._connected(flow))
        else:
            self._decide(flow, code)

    def _connected(self, flow: Flow) -> None:
        onward = self._connecting[flow].onward
        code = onward.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        # An event of a descriptor that was closed and opened again meanwhile says nothing.
        if code or has_peer(onward):
            self._unwatch(onward)
            self._decide(flow, code)

    def _decide(self, flow: Flow, code: int) -> None:
        """Answer the SYN of ``flow``, whose onward connect has ended with this error number."""
        tried = self._connecting.pop(flow)
        if code == 0:
            self._announced.add(flow, tried.onward, ACCEPT_TIMEOUT_S)
            self._queue.accept(tried.number, Mark.CONNECTED)
            return
        tried.onward.close()
        if code in _REFUSED:
            self._queue.accept(tried.number, Mark.REFUSED)
        elif code in _UNREACHABLE:
            self._queue.accept(tried.number, Mark.UNREACHABLE)
        else:
            if code != errno.ETIMEDOUT:
                self._lacking.say(f"no connection to {flow}: {os.strerror(code)}")
            self._queue.drop(tried.number)

    def _expire(self) -> None:
        if not (self._connecting or self._announced or self._retry_at):
            return
        now = time.monotonic()
        for flow in [flow for flow, one in self._connecting.items() if one.until < now]:
            self._give_up(flow)
        self._announced.expire()
        if self._retry_at is not None and now >= self._retry_at:
            self._retry()

    def _give_up(self, flow: Flow) -> None:
        """Drop a held SYN: if it is sent again, it is judged again."""
        self._unwatch(self._connecting[flow].onward)
        self._decide(flow, errno.ETIMEDOUT)

    def _retry(self) -> None:
        """Try again what lacked descriptors or memory."""
        self._retry_at = None
        lean, self._lean = self._lean, {}
        for pair in lean:
            self._move(pair)
        if self._paused:
            self._paused = False
            for listener in self._listeners:
                self._listen(listener)

    def _retry_soon(self) -> None:
        if self._retry_at is None:
            self._retry_at = time.monotonic() + _PAUSE_S

    # Connections

    def _listen(self, listener: socket.socket) -> None:
        self._watch(listener.fileno(), select.EPOLLIN, lambda _: self._accept(listener))

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                # The address comes from here, as a connection that was reset has no peer any more.
                client, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in LACKING:
                    self._lack(error)
                    self._pause()
                    return
                continue  # the client has gone again
            self._pair(client, peer[:2])

    def _pause(self) -> None:
        """Leave what waits at the listeners there for a while: it would be ready at once again."""
        self._paused = True
        self._retry_soon()
        for listener in self._listeners:
            self._unwatch(listener)

    def _pair(self, client: socket.socket, peer: tuple[str, int]) -> None:
        client.setblocking(False)
        prepare_client(client)
        try:
            line = self._line(client) if self._far_buffer else None
            flow = accepted_flow(client, peer)
        except OSError:
            client.close()
            return
        taken = self._announced.take(flow)
        if taken is None:
            client.close()
            return
        # The source port that the accepted connection has may be another one, by NAT. That one is
        # free on the client's side.
        announced, onward = taken
        pair = Pair(client, onward, self._pipes, self._closed)
        self._pairs[pair] = announced
        if line is not None:
            self._lines[pair] = line
        self._active.add(announced)
        events = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
        for end in pair.sockets:
            self._watch(end.fileno(), events, lambda happened: self._happened(pair, happened))
        self._move(pair)

    def _line(self, client: socket.socket) -> FarLine:
        """By its own line: the user's machine may be nearer or further at any time."""
        size = size_for(round_trip(client), self._far_buffer, len(self._pairs) + 1)
        set_buffers(client, size)
        return FarLine(client, size)

    def _happened(self, pair: Pair, events: int) -> None:
        if events & select.EPOLLERR:
            pair.failed()
        elif pair in self._lines:
            self._lines[pair].look()
        self._move(pair)

    def _move(self, pair: Pair) -> None:
        due = pair.move()
        if due == Next.AT_ONCE:
            self._ready[pair] = None
        elif due == Next.LATER:
            self._lean[pair] = None
            self._retry_soon()
            self._lacking.say("open TCP connections must wait: there are no descriptors for them")

    def _closed(self, pair: Pair) -> None:
        self._active.discard(self._pairs.pop(pair))
        self._lines.pop(pair, None)
        for end in pair.sockets:
            self._unwatch(end)

    # Descriptors

    def _watch(self, descriptor: int, events: int, handler: Callable[[int], None]) -> None:
        self._handlers[descriptor] = handler
        self._epoll.register(descriptor, events)

    def _unwatch(self, end: socket.socket) -> None:
        if self._handlers.pop(end.fileno(), None) is not None:
            self._epoll.unregister(end.fileno())

    def _lack(self, error: OSError) -> None:
        self._lacking.say(f"new TCP connections must wait: {error.strerror}")


def connection_limit(descriptors: int) -> int:
    """How many connections so many descriptors are enough for."""
    return max((descriptors - _RESERVED) // _PER_CONNECTION, 1)


def main(arguments: list[str]) -> None:
    """The lane's number and key, the buffer for far clients (0 for near ones), how many
    descriptors there may be, and which these are:

    lifeline, queue, listeners.
    """
    home = Home(int(arguments[0]), arguments[1])
    far_buffer, limit, lifeline, queue, *listeners = map(int, arguments[2:])
    lane = Lane(
        Queue(socket.socket(fileno=queue), home.lane),
        [socket.socket(fileno=listener) for listener in listeners],
        connection_limit(limit),
        home,
        far_buffer,
    )
    try:
        lane.run(socket.socket(fileno=lifeline))
    except KeyboardInterrupt:
        say("interrupted")


if __name__ == "__main__":
    main(sys.argv[1:])
