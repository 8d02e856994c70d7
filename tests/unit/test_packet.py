"""A packet of one size, on loopback and beside an address that swallows it."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass, field

import pytest
from netaddr import IPAddress

from macnet.packet import echo_request, is_answer, packet_passes

HOST = IPAddress("127.0.0.1")
TOKEN = bytes(range(16))


@pytest.mark.parametrize("size", [100, 16001, 65000])
def test_a_packet_that_comes_back(size: int) -> None:
    assert packet_passes(HOST, size) is True


def test_a_request_has_its_size_and_a_right_checksum() -> None:
    request = echo_request(TOKEN, 1500, 1)
    assert len(request) == 1480
    words = sum(int.from_bytes(request[at : at + 2]) for at in range(0, len(request), 2))
    while words >> 16:
        words = (words >> 16) + (words & 0xFFFF)
    assert words == 0xFFFF


@pytest.mark.parametrize("header", [b"", b"\x45" + bytes(19)])
def test_only_the_whole_echo_is_an_answer(header: bytes) -> None:
    request = echo_request(TOKEN, 200, 1)
    answer = header + b"\0" + request[1:]
    assert is_answer(answer, TOKEN, 200)
    for other in (header + request, answer[:-1], answer + b"x", b""):
        assert not is_answer(other, TOKEN, 200)
    assert not is_answer(answer, bytes(16), 200)


@dataclass
class Icmp:
    """A socket of which nothing comes back; ``sending`` is what a send ends with."""

    sending: OSError | None = None
    sent: list[bytes] = field(default_factory=list)
    buffers: dict[int, int] = field(default_factory=dict)

    def __enter__(self) -> Icmp:
        return self

    def __exit__(self, *_: object) -> None: ...

    def setsockopt(self, _: int, option: int, value: int) -> None:
        self.buffers[option] = value

    def settimeout(self, _: float) -> None: ...

    def sendto(self, data: bytes, _: object) -> None:
        self.sent.append(data)
        if self.sending:
            raise self.sending

    def recv(self, _: int) -> bytes:
        raise TimeoutError


@pytest.mark.parametrize("error", [None, OSError(errno.EMSGSIZE, "Message too long")])
def test_a_packet_that_does_not(monkeypatch: pytest.MonkeyPatch, error: OSError | None) -> None:
    icmp = Icmp(error)
    monkeypatch.setattr("macnet.packet.socket.socket", lambda *_: icmp)
    assert packet_passes(HOST, 48000, tries=2) is False
    assert [len(data) for data in icmp.sent] == [47980, 47980]
    assert icmp.buffers[socket.SO_SNDBUF] >= 48000
    assert icmp.buffers[socket.SO_RCVBUF] >= 48000


@pytest.mark.parametrize(("platform", "option"), [("darwin", (28, 1)), ("linux", (10, 2))])
def test_it_is_never_sent_in_pieces(
    monkeypatch: pytest.MonkeyPatch, platform: str, option: tuple[int, int]
) -> None:
    icmp = Icmp()
    monkeypatch.setattr("macnet.packet.socket.socket", lambda *_: icmp)
    monkeypatch.setattr("macnet.packet.sys.platform", platform)
    packet_passes(HOST, 100, tries=1)
    assert option in icmp.buffers.items()


def test_a_user_who_may_not_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> socket.socket:
        raise PermissionError

    monkeypatch.setattr("macnet.packet.socket.socket", refuse)
    assert packet_passes(HOST, 100) is None
