"""Connections through the lane: their bytes, their ends, and what is left of them."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from macnet.relay import lane as module
from macnet.relay.flow import Flow
from macnet.relay.lane import connection_limit
from macnet.relay.netfilter import Mark
from macnet.relay.sockets import prepare_client, prepare_onward
from tests.unit.relay.kernel import (
    HOST,
    Kernel,
    answer,
    descriptors,
    port_of,
    running,
    settled,
    syn,
)


def test_bytes_and_ends_travel_both_ways(kernel: Kernel, service: socket.socket) -> None:
    with kernel.connect(port_of(service)) as client, answer(service) as server:
        client.sendall(b"hello")
        assert server.recv(100) == b"hello"
        # The client ends its half; the other goes on.
        client.shutdown(socket.SHUT_WR)
        assert server.recv(100) == b""
        server.sendall(b"still here")
        assert client.recv(100) == b"still here"
        server.close()
        assert client.recv(100) == b""


@pytest.mark.parametrize("way", ["up", "down"])
def test_much_arrives_whole_at_a_slow_reader(
    kernel: Kernel, service: socket.socket, way: str
) -> None:
    data = os.urandom(6 << 20)
    with kernel.connect(port_of(service)) as client, answer(service) as server:
        sender, reader = (client, server) if way == "up" else (server, client)

        def send() -> None:
            sender.sendall(data)
            sender.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        got = bytearray()
        pause = threading.Event()
        while piece := reader.recv(1 << 18):
            got += piece
            pause.wait(0.005)
        thread.join(5)
        assert got == data


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_stays_a_reset(kernel: Kernel, service: socket.socket, who: str) -> None:
    """Else the other side would take a broken transfer for whole."""
    with kernel.connect(port_of(service)) as client, answer(service) as server:
        first, other = (client, server) if who == "client" else (server, client)
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        first.close()
        with pytest.raises(ConnectionResetError):
            other.recv(100)


@pytest.mark.parametrize("size", [5, 100_000])
def test_what_was_sent_before_a_reset_arrives(
    kernel: Kernel, service: socket.socket, size: int
) -> None:
    """A server that refuses an upload answers, and closes with the rest unread: a reset."""
    for _ in range(20):
        with kernel.connect(port_of(service)) as client, answer(service) as server:
            client.sendall(b"x" * size)
            assert server.recv(1, socket.MSG_PEEK) == b"x"
            server.sendall(b"413 too large")
            server.close()
            assert client.recv(100) == b"413 too large"
            # And it does not look like an end.
            with pytest.raises(ConnectionResetError):
                client.recv(100)


@pytest.mark.parametrize("prepare", [prepare_client, prepare_onward])
def test_no_timer_ends_what_waits_for_a_reader(prepare: Callable[[socket.socket], None]) -> None:
    """A debugger may have stopped it. Linux counts the answers to probes for nothing here."""
    with socket.socket() as end:
        prepare(end)
        assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
        assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_beyond_the_limit_a_connection_waits(
    monkeypatch: pytest.MonkeyPatch,
    service: socket.socket,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with running(monkeypatch, limit=1) as (kernel, _):
        with kernel.connect(port_of(service)), answer(service):
            late = syn(Flow(HOST, 1000, HOST, port_of(service)))
            assert kernel.verdict(late) is None
            assert kernel.verdict(late) is None
        assert settled(lambda: kernel.verdict(late) == Mark.CONNECTED)
    said = capfd.readouterr().err.splitlines()
    assert said == ["relay: there are 1 TCP connections: further ones must wait"]


def test_without_descriptors_the_listeners_rest(
    kernel: Kernel,
    service: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What waits there stays ready: to try at once again would take all of a processor."""
    accept, tries, lacking = socket.socket.accept, list[int](), threading.Event()

    def fails(self: socket.socket) -> tuple[socket.socket, object]:
        if self is kernel.listener and lacking.is_set():
            tries.append(1)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", fails)
    lacking.set()
    with kernel.connect(port_of(service)) as client, answer(service) as server:
        client.sendall(b"late")
        assert settled(lambda: len(tries) == 2)
        threading.Event().wait(0.5)
        assert len(tries) < 10
        lacking.clear()
        assert server.recv(100) == b"late"
    said = capfd.readouterr().err.splitlines()
    assert said == ["relay: new TCP connections must wait: Too many open files"]


@pytest.mark.parametrize("way", ["up", "down"])
def test_without_descriptors_for_a_pipe_an_open_connection_waits(
    kernel: Kernel,
    service: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    way: str,
) -> None:
    """It is neither reset nor forgotten, and the lane does not spin."""
    pipe2, tries, lacking = os.pipe2, list[int](), threading.Event()

    def fails(flags: int) -> tuple[int, int]:
        if lacking.is_set():
            tries.append(1)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return pipe2(flags)

    monkeypatch.setattr("macnet.relay.pair.os.pipe2", fails)
    lacking.set()
    with kernel.connect(port_of(service)) as client, answer(service) as server:
        first, other = (client, server) if way == "up" else (server, client)
        first.sendall(b"late")
        first.shutdown(socket.SHUT_WR)
        assert settled(lambda: len(tries) > 3)
        before = len(tries)
        threading.Event().wait(0.5)
        assert len(tries) < before + 15
        lacking.clear()
        assert other.recv(100) == b"late"
        assert other.recv(100) == b""
    assert capfd.readouterr().err.splitlines() == [
        "relay: open TCP connections must wait: there are no descriptors for them"
    ]


def test_no_descriptor_is_left_of_a_thousand(kernel: Kernel, service: socket.socket) -> None:
    """Closed by either side, reset, half closed, with and without bytes under way."""
    before = descriptors()
    for number in range(1000):
        client, server = kernel.connect(port_of(service)), answer(service)
        if number % 2:
            client.sendall(b"x" * 5000)
        if number % 3 == 0:
            server.shutdown(socket.SHUT_WR)
        if number % 5 == 0:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        first, then = (client, server) if number % 7 else (server, client)
        first.close()
        then.close()
    # Some pipes wait for their next use.
    assert settled(lambda: descriptors() <= before + 2 * module._PIPES_KEPT)


def test_idle_connections_have_no_pipes(kernel: Kernel, service: socket.socket) -> None:
    before = descriptors()
    with ExitStack() as stack:
        for _ in range(50):
            client = stack.enter_context(kernel.connect(port_of(service)))
            server = stack.enter_context(answer(service))
            client.sendall(b"x")
            assert server.recv(1) == b"x"
        # Four sockets each, two of them the lane's; pipes are shared.
        assert descriptors() <= before + 4 * 50 + 4


def test_limits() -> None:
    assert connection_limit(1024) == 160
    assert connection_limit(10) == 1
