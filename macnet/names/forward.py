"""Asks a cluster's resolver in place of a client: over UDP, and over TCP where that is cut off."""

from __future__ import annotations

import asyncio

from macnet.names.answer import Query, is_cut_off, render_failure, render_forwarded, rewrite_query
from macnet.names.upstream import Upstream

PORT = 53
#: Seconds for the whole of it, and after which a datagram is sent once more.
PATIENCE_S, AGAIN_S = 1.5, 0.5


async def forward(query: Query, upstream: Upstream, *, tcp: bool = False) -> bytes:
    """The answer to a question; a failure (SERVFAIL) where the resolver gives none in time."""
    wire = rewrite_query(query, upstream)
    if wire is None:
        return render_failure(query)
    try:
        async with asyncio.timeout(PATIENCE_S):
            reply = await _ask_udp(wire, upstream)
            if is_cut_off(reply):
                reply = await _ask_tcp(wire, upstream)
    except (TimeoutError, OSError, asyncio.IncompleteReadError):
        return render_failure(query)
    return render_forwarded(query, wire, reply, upstream, tcp=tcp) or render_failure(query)


async def _ask_udp(wire: bytes, upstream: Upstream) -> bytes:
    loop = asyncio.get_running_loop()
    came: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Reply(wire, came), remote_addr=(str(upstream.server), PORT)
    )
    try:
        while True:
            transport.sendto(wire)
            done, _ = await asyncio.wait([came], timeout=AGAIN_S)
            if done:
                return came.result()
    finally:
        transport.close()


async def _ask_tcp(wire: bytes, upstream: Upstream) -> bytes:
    reader, writer = await asyncio.open_connection(str(upstream.server), PORT)
    try:
        writer.write(len(wire).to_bytes(2) + wire)
        size = int.from_bytes(await reader.readexactly(2))
        return await reader.readexactly(size)
    finally:
        writer.close()


class _Reply(asyncio.DatagramProtocol):
    """Takes the first datagram that has the question's id."""

    def __init__(self, wire: bytes, came: asyncio.Future[bytes]) -> None:
        self._identity = wire[:2]
        self._came = came

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[:2] == self._identity and not self._came.done():
            self._came.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._came.done():
            self._came.set_exception(exc)
