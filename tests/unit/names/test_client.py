"""What checks ask: a real server, a port that is closed, one that says nothing, this system."""

from __future__ import annotations

import socket
import threading

import pytest
from netaddr import IPAddress

from macnet.names import client, probe_name
from macnet.names.client import Reply, SystemResolver
from tests.unit.names.samples import DOMAIN
from tests.unit.names.serving import World, running

LOOPBACK = IPAddress("127.0.0.1")


def test_a_server_answers() -> None:
    with running(World()) as server:
        ask = SystemResolver().ask_port
        assert ask(probe_name(DOMAIN, "0" * 32), server.port) == Reply((LOOPBACK,))
        assert ask(f"a.{DOMAIN}", server.port) == Reply((IPAddress("172.20.0.2"),))
        assert ask(f"a.{DOMAIN}", server.port, version=6).problem == "it has no such address"
        assert ask("example.com", server.port).problem == "REFUSED"


def test_nobody_listens_or_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_PORT_S", 0.05)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        port = mute.getsockname()[1]
        found = SystemResolver().ask_port(f"a.{DOMAIN}", port)
        assert found == Reply(problem="no answer within 0.05 s")
    assert SystemResolver().ask_port(f"a.{DOMAIN}", port).problem == "Connection refused"


def test_another_server_is_asked_for_an_ip_version(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(World()) as server:
        monkeypatch.setattr(client, "_DNS_PORT", server.port)
        ask = SystemResolver().ask_server
        assert ask(f"a.{DOMAIN}", LOOPBACK) == Reply((IPAddress("172.20.0.2"),))
        assert ask(f"a.{DOMAIN}", LOOPBACK, version=6).problem == "it has no such address"


@pytest.mark.parametrize("name", ["a..b", "x" * 70, "a\\300.b", ".".join(["y" * 60] * 5)])
def test_what_is_no_name_is_not_asked(name: str) -> None:
    """A node's file may have it for the cluster's domain."""
    assert SystemResolver().ask_server(name, LOOPBACK) == Reply(problem="it can be no name in DNS")


def test_this_system() -> None:
    assert SystemResolver().ask_system("127.0.0.1") == Reply((LOOPBACK,))
    assert SystemResolver().ask_system("x" * 64 + ".test").problem


def test_a_system_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()

    def wait(*_: object) -> list[object]:
        end.wait(10)
        return []

    monkeypatch.setattr(client, "_SYSTEM_S", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", wait)
    assert SystemResolver().ask_system("a.test").problem == "no answer within 0.05 s"
    end.set()
