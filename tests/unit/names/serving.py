"""A running server with an engine whose calls can be held, and a client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.message  # noqa: TID251
import dns.query  # noqa: TID251
import dns.rcode  # noqa: TID251

from macnet.names.server import NameServer
from macnet.names.zone import Zone
from tests.unit.names.samples import DOMAIN, Engine, container

A = container("a", "app=172.20.0.2")
B = container("b", "app=172.20.0.3")


class World:
    """An engine whose calls can be held, and a clock."""

    def __init__(self) -> None:
        self.engine = Engine([A])
        self.now = 0.0
        self.looks = 0
        self.error: Exception | None = None
        self.hold: threading.Event | None = None
        self.held = threading.Semaphore(0)
        self.complete = True

    def refresh(self) -> Zone:
        self.looks += 1
        if (hold := self.hold) is not None:
            self.held.release()
            assert hold.wait(10)
        if self.error is not None:
            raise self.error
        zone = self.engine.zone()
        return Zone(zone.domain, zone.names, complete=self.complete)


@contextmanager
def running(world: World) -> Iterator[NameServer]:
    server = NameServer(DOMAIN, 0, world.refresh, clock=lambda: world.now)
    server.start()
    try:
        yield server
    finally:
        if world.hold is not None:
            world.hold.set()
        server.stop()


def ask(server: NameServer, name: str, kind: str = "A", *, tcp: bool = False) -> str:
    """The addresses of a name, or the code of the answer."""
    query = dns.message.make_query(f"{name}.{DOMAIN}.", kind)
    send = dns.query.tcp if tcp else dns.query.udp
    answer = send(query, "127.0.0.1", port=server.port, timeout=10)
    words = [item.to_text() for rrset in answer.answer for item in rrset]
    return " ".join(words) or dns.rcode.to_text(answer.rcode())


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)
