"""A kernel for the lane, on loopback: real sockets, and a queue and a redirect that are played."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from queue import SimpleQueue
from typing import cast

import pytest

from macnet.relay import lane as module
from macnet.relay.allowlist import pack_list
from macnet.relay.flow import Flow
from macnet.relay.lane import Lane
from macnet.relay.netfilter import Held, Mark, Queue

HOST = socket.inet_aton("127.0.0.1")
#: What the client sees; the allowlist maps it to 127.0.0.1.
SEEN = socket.inet_aton("10.9.8.1")
ALLOWED = "127.0.0.0/8\n10.9.8.0/24=127.0.0.0/24\n"
Verdict = tuple[int, Mark | None]


def syn(flow: Flow) -> bytes:
    """The start of its first packet."""
    ports = flow.source_port.to_bytes(2) + flow.destination_port.to_bytes(2)
    return b"\x45" + bytes(8) + b"\x06" + bytes(2) + flow.source + flow.destination + ports


@dataclass
class Kernel:
    """Holds packets, keeps verdicts, and knows where accepted connections wanted to go."""

    woken: socket.socket
    waker: socket.socket
    listener: socket.socket
    #: The supervisor's end of the lifeline.
    lifeline: socket.socket
    packets: SimpleQueue[Held] = field(default_factory=SimpleQueue)
    verdicts: SimpleQueue[Verdict] = field(default_factory=SimpleQueue)
    redirected: dict[int, Flow] = field(default_factory=dict)
    #: What NAT adds to a source port that it must change.
    shift: int = 0
    _numbers: Iterator[int] = field(default_factory=count)

    def fileno(self) -> int:
        return self.woken.fileno()

    def receive(self) -> Iterator[Held]:
        self.woken.recv(100)
        while not self.packets.empty():
            yield self.packets.get()

    def accept(self, number: int, mark: Mark) -> None:
        self.verdicts.put((number, mark))

    def drop(self, number: int) -> None:
        self.verdicts.put((number, None))

    # The test's side

    def hold(self, packet: bytes) -> int:
        number = next(self._numbers)
        self.packets.put(Held(number, packet))
        self.waker.send(b"x")
        return number

    def verdict(self, packet: bytes) -> Mark | None:
        number = self.hold(packet)
        found, mark = self.verdicts.get(timeout=5)
        assert found == number
        return mark

    def flow_of(self, _: socket.socket, peer: tuple[str, int]) -> Flow:
        found = self.redirected.get(peer[1])
        if found is None:
            raise OSError(errno.ENOENT, "no such connection")
        return replace(found, source_port=found.source_port + self.shift)

    def connect(self, port: int, destination: bytes = HOST) -> socket.socket:
        """A client that connects to a port of ``destination``; the SYN must be let go."""
        client = socket.socket()
        client.bind(("127.0.0.1", 0))
        client.settimeout(5)
        source = client.getsockname()[1]
        flow = Flow(HOST, source, destination, port)
        self.redirected[source] = flow
        assert self.verdict(syn(flow)) == Mark.CONNECTED
        client.connect(self.listener.getsockname())
        return client


@contextmanager
def running(monkeypatch: pytest.MonkeyPatch, limit: int = 100) -> Iterator[tuple[Kernel, Lane]]:
    with ExitStack() as stack:
        woken, waker = map(stack.enter_context, socket.socketpair())
        both = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        lifeline, ours = map(stack.enter_context, both)
        ours.send(pack_list(ALLOWED))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setblocking(False)
        kernel = Kernel(woken, waker, listener, ours)
        monkeypatch.setattr(module, "accepted_flow", kernel.flow_of)
        lane = Lane(cast(Queue, kernel), [listener], limit)
        thread = threading.Thread(target=lane.run, args=(lifeline,))
        thread.start()
        try:
            yield kernel, lane
        finally:
            ours.close()
            thread.join(5)
            assert not thread.is_alive()


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def answer(service: socket.socket) -> socket.socket:
    connection, _ = service.accept()
    connection.settimeout(5)
    return connection


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def settled(done: Callable[[], bool]) -> bool:
    """Whether it comes about."""
    wait = threading.Event()
    return any(done() or wait.wait(0.02) for _ in range(200)) and done()


def failing(code: int) -> type[socket.socket]:
    """Sockets whose connect ends at once with this error."""

    class Failing(socket.socket):
        def connect_ex(self, _: object) -> int:
            return code

    return Failing
