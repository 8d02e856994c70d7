"""A cluster's resolver is asked over UDP, and over TCP where that is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import dns.flags  # noqa: TID251
import dns.message  # noqa: TID251
import dns.rcode  # noqa: TID251
import pytest
from netaddr import IPAddress

from macnet.names import forward as forwarding
from tests.unit.names.test_upstream import WEB, question, reply, told, upstream

Answer = Callable[[bytes], bytes | None]
ADDRESS = "127.0.0.1"


class Resolver(asyncio.DatagramProtocol):
    """Answers datagrams as told, None for silence; counts them."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Python 3.11 has a class for it that is no DatagramTransport.
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        if (answer := self.answer(data)) is not None:
            self.transport.sendto(answer, addr)


def forwarded(
    monkeypatch: pytest.MonkeyPatch, udp: Answer, tcp: Answer | None = None
) -> tuple[dns.message.Message, int]:
    """What a client gets, and how many datagrams the resolver got."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2))
        answer = tcp(await reader.readexactly(size)) if tcp is not None else None
        if answer is not None:
            writer.write(len(answer).to_bytes(2) + answer)
        writer.close()

    async def run() -> tuple[bytes, int]:
        server = await asyncio.start_server(serve, ADDRESS, 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setattr(forwarding, "PORT", port)
        loop = asyncio.get_running_loop()
        transport, resolver = await loop.create_datagram_endpoint(
            lambda: Resolver(udp), local_addr=(ADDRESS, port)
        )
        try:
            through = replace(upstream(), server=IPAddress(ADDRESS))
            return await forwarding.forward(question(), through), resolver.asked
        finally:
            transport.close()
            server.close()

    wire, asked = asyncio.run(run())
    return dns.message.from_wire(wire), asked


def good(data: bytes) -> bytes:
    return reply(data, "web.default.svc.cluster.local. 5 A 10.96.0.7")


def cut_off(data: bytes) -> bytes:
    message = dns.message.make_response(dns.message.from_wire(data))
    message.flags |= dns.flags.TC
    return message.to_wire()


def test_an_answer_over_udp_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = forwarded(monkeypatch, good)
    assert told(found) == [f"{WEB}. 5 IN A 10.96.0.7"]
    assert asked == 1


def test_an_answer_that_is_cut_off_is_asked_for_over_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = forwarded(monkeypatch, cut_off, good)
    assert told(found) == [f"{WEB}. 5 IN A 10.96.0.7"]
    assert not found.flags & dns.flags.TC


def test_a_lost_datagram_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def second(data: bytes) -> bytes | None:
        seen.append(data)
        return good(data) if len(seen) > 1 else None

    monkeypatch.setattr(forwarding, "AGAIN_S", 0.02)
    found, _ = forwarded(monkeypatch, second)
    assert told(found) == [f"{WEB}. 5 IN A 10.96.0.7"]
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "udp", [lambda data: None, lambda data: b"\0\0" + data[2:], cut_off, lambda data: data]
)
def test_without_an_answer_it_fails_in_time(monkeypatch: pytest.MonkeyPatch, udp: Answer) -> None:
    monkeypatch.setattr(forwarding, "PATIENCE_S", 0.2)
    monkeypatch.setattr(forwarding, "AGAIN_S", 0.05)
    found, asked = forwarded(monkeypatch, udp)
    assert found.rcode() == dns.rcode.SERVFAIL
    assert asked >= 1


def test_a_name_that_cannot_be_asked_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "rewrite_query", lambda query, through: None)
    found, asked = forwarded(monkeypatch, good)
    assert found.rcode() == dns.rcode.SERVFAIL
    assert asked == 0
