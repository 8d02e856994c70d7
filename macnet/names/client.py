"""Asks for names as programs do: a server straight, or this system's resolver."""

from __future__ import annotations

import queue
import socket
import threading
from dataclasses import dataclass
from typing import Protocol

from netaddr import IPAddress

_ADDRESS, _DNS_PORT = "127.0.0.1", 53
#: Seconds for a server on this machine, which waits up to 1.5 for the engine.
_PORT_S = 2.0
#: Seconds for this system: the resolver of a Mac waits 2 for each try, others up to 5.
_SYSTEM_S = 6.0


@dataclass(frozen=True, slots=True)
class Reply:
    """The addresses that came back, sorted; without any, ``problem`` says what came in words."""

    addresses: tuple[IPAddress, ...] = ()
    problem: str | None = None


class Resolver(Protocol):
    """Asks for names; tests bring another one."""

    def ask_port(self, name: str, port: int, *, version: int = 4) -> Reply:
        """Ask the server at a UDP port of 127.0.0.1 for addresses of an IP version."""

    def ask_server(self, name: str, server: IPAddress, *, version: int = 4) -> Reply:
        """Ask another server, at port 53, for addresses of an IP version."""

    def ask_system(self, name: str) -> Reply:
        """Ask this system, as every program does (getaddrinfo), for IPv4 addresses."""


class SystemResolver:
    """See `Resolver`; never raises."""

    def ask_port(self, name: str, port: int, *, version: int = 4) -> Reply:
        """See `Resolver.ask_port`. Gives up after 2 seconds."""
        return _ask(name, IPAddress(_ADDRESS), port, version=version)

    def ask_server(self, name: str, server: IPAddress, *, version: int = 4) -> Reply:
        """See `Resolver.ask_server`. Gives up after 2 seconds."""
        return _ask(name, server, _DNS_PORT, version=version)

    def ask_system(self, name: str) -> Reply:
        """See `Resolver.ask_system`. Gives up after 6 seconds."""
        answer: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        # A daemon: getaddrinfo cannot be interrupted.
        threading.Thread(target=lambda: answer.put(_resolve(name)), daemon=True).start()
        try:
            return answer.get(timeout=_SYSTEM_S)
        except queue.Empty:
            return Reply(problem=f"no answer within {_SYSTEM_S:g} s")


def _ask(name: str, server: IPAddress, port: int, *, version: int) -> Reply:
    from macnet.names.answer import read_reply, render_query  # dnspython takes a while

    try:
        query = render_query(name, version=version)
    except ValueError:
        return Reply(problem="it can be no name in DNS")
    family = socket.AF_INET if server.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(_PORT_S)
        try:
            sock.connect((str(server), port))
            sock.send(query)
            return read_reply(query, sock.recv(65535))
        except TimeoutError:
            return Reply(problem=f"no answer within {_PORT_S:g} s")
        except OSError as error:
            return Reply(problem=error.strerror or str(error))


def _resolve(name: str) -> Reply:
    try:
        rows = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Reply(problem=getattr(error, "strerror", None) or str(error))
    return Reply(tuple(sorted({IPAddress(str(row[4][0])) for row in rows})))
