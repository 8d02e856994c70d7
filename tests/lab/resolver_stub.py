"""Serves `tests.lab.resolver` where programs ask: ``python -m tests.lab.resolver_stub``.

With ``nameserver 127.0.0.53`` in resolv.conf every program that uses getaddrinfo goes through it,
as on a Mac every one goes through mDNSResponder. HUP empties the cache, TERM ends it.
"""

from __future__ import annotations

import argparse
import signal
import socket
import socketserver
import threading
from contextlib import ExitStack
from pathlib import Path

import dns.exception  # noqa: TID251
import dns.message  # noqa: TID251

from .resolver import MacResolver


class _Udp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        if reply := _reply(self.server, data, 1232):
            sock.sendto(reply, self.client_address)


class _Tcp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with self.request.makefile("rb") as file:
            size = int.from_bytes(file.read(2))
            if reply := _reply(self.server, file.read(size), 65535):
                self.request.sendall(len(reply).to_bytes(2) + reply)


class _Server:
    resolver: MacResolver
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


class _UdpServer(_Server, socketserver.ThreadingUDPServer):
    pass


class _TcpServer(_Server, socketserver.ThreadingTCPServer):
    pass


def _reply(server: object, data: bytes, size: int) -> bytes | None:
    if not isinstance(server, _Server):
        return None
    try:
        query = dns.message.from_wire(data)
        return server.resolver.resolve(query).to_wire(max_size=size, prefer_truncation=True)
    except (dns.exception.DNSException, ValueError):
        return None


def _bind(address: str, port: int) -> tuple[_UdpServer, _TcpServer]:
    udp = _UdpServer((address, port), _Udp)
    try:
        return udp, _TcpServer((address, int(udp.server_address[1])), _Tcp)
    except OSError:
        udp.server_close()
        if port:
            raise
        return _bind(address, 0)  # a port that was free for one only


class Stub:
    """Both servers on one port; a context manager."""

    def __init__(self, resolver: MacResolver, address: str, port: int) -> None:
        """With port 0 the system chooses one."""
        self._udp, self._tcp = _bind(address, port)
        self.port = int(self._udp.server_address[1])
        self._stack = ExitStack()
        for server in (self._udp, self._tcp):
            server.resolver = resolver

    def __enter__(self) -> Stub:
        for server in (self._udp, self._tcp):
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            self._stack.callback(server.server_close)
            self._stack.callback(thread.join)
            self._stack.callback(server.shutdown)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def main() -> None:
    """Run until TERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/etc/resolver"))
    parser.add_argument("--address", default="127.0.0.53")
    parser.add_argument("--port", type=int, default=53)
    arguments = parser.parse_args()
    resolver = MacResolver(arguments.folder)
    ended = threading.Event()
    signal.signal(signal.SIGHUP, lambda *_: resolver.flush())
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with Stub(resolver, arguments.address, arguments.port):
        print("ready", flush=True)
        ended.wait()


if __name__ == "__main__":
    socket.setdefaulttimeout(10)
    main()
