"""The server on loopback: its sockets, hostile clients, and how it ends."""

from __future__ import annotations

import gc
import socket
import struct
import threading
import warnings

import dns.message  # noqa: TID251
import dns.query  # noqa: TID251
import pytest

from macnet.errors import BadValue, PortTaken
from macnet.names import server as module
from macnet.names.server import NameServer
from tests.unit.names.samples import DOMAIN, container, service
from tests.unit.names.serving import World, ask, running, until


def test_many_replicas_come_over_tcp(world: World, server: NameServer) -> None:
    labels = service("p", "w")
    world.engine.rows += [container(f"w{i}", f"app=172.20.1.{i}", labels=labels) for i in range(99)]
    query = dns.message.make_query(f"w.p.{DOMAIN}.", "A")
    answer, over_tcp = dns.query.udp_with_fallback(query, "127.0.0.1", port=server.port, timeout=10)
    assert over_tcp
    assert len(answer.answer[0]) == 99


def test_broken_bytes_end_nothing(server: NameServer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for wire in (b"", b"x", b"\xff" * 12, b"\x00" * 600):
            udp.sendto(wire, ("127.0.0.1", server.port))
    assert ask(server, "a") == "172.20.0.2"


def test_a_silent_connection_is_closed(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE_S", 0.05)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as tcp:
        tcp.sendall(b"\x00\x20half")
        assert tcp.recv(1) == b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as tcp:
        tcp.sendall(struct.pack("!H", 3) + b"bad")
        assert tcp.recv(1) == b""
    assert ask(server, "a", tcp=True) == "172.20.0.2"


def test_connections_are_limited(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 1)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10):
        until(lambda: len(server._connections) == 1)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as more:
            assert more.recv(1) == b""
        assert ask(server, "a") == "172.20.0.2"
    until(lambda: not server._connections)
    assert ask(server, "a", tcp=True) == "172.20.0.2"


def test_only_loopback_listens(server: NameServer) -> None:
    for connected in server._sockets:
        assert connected.fileno() == -1 or connected.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_that_is_taken(world: World, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port}"):
            NameServer(DOMAIN, port, world.refresh).start()


def test_an_address_that_cannot_be_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ADDRESS", "192.0.2.1")
    with pytest.raises(BadValue, match="cannot listen on port"):
        NameServer(DOMAIN, 13153, world.refresh).start()


def test_it_stops_with_open_connections_and_waiting_questions(world: World) -> None:
    with running(world) as server:
        until(lambda: bool(server.zone.names))
        world.hold = threading.Event()
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as tcp:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                query = dns.message.make_query(f"x.{DOMAIN}.", "A").to_wire()
                udp.sendto(query, ("127.0.0.1", server.port))
                until(lambda: len(server._tasks) == 2)
            server.stop()
            assert tcp.recv(1) == b""
        assert not server._thread.is_alive()
        with running(World()) as other:
            assert ask(other, "a") == "172.20.0.2"
    # Its port is free again.
    NameServer(DOMAIN, server.port, world.refresh)
    again = NameServer(DOMAIN, server.port, World().refresh)
    again.start()
    assert ask(again, "a") == "172.20.0.2"
    again.stop()


def test_it_stops_while_connections_are_just_taken(world: World) -> None:
    """Also those that no task has begun to serve; a socket left open would be a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            server = NameServer(DOMAIN, 0, world.refresh)
            server.start()
            opened = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
            server.stop()
            for one in opened:
                one.close()
        gc.collect()
