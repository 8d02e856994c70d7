"""The start of a packet names its connection."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from macnet.relay.flow import Flow, parse_packet

CLIENT, WEB = (socket.inet_aton(text) for text in ("192.168.255.2", "172.17.0.2"))
CLIENT6, WEB6 = (socket.inet_pton(socket.AF_INET6, text) for text in ("fd6d::2", "fd00:82::2"))
PORTS = struct.pack("!HH", 50000, 80)


def packet4(options: int = 0, protocol: int = 6) -> bytes:
    """An IPv4 header with so many words of options, and ports."""
    head = struct.pack("!BBHHHBBH", 0x45 + options, 0, 60, 1, 0, 64, protocol, 0)
    return head + CLIENT + WEB + bytes(4 * options) + PORTS + bytes(16)


def packet6(following: int = 6) -> bytes:
    return struct.pack("!IHBB", 6 << 28, 40, following, 64) + CLIENT6 + WEB6 + PORTS + bytes(16)


@pytest.mark.parametrize("options", [0, 1, 10])
def test_ipv4(options: int) -> None:
    flow = parse_packet(packet4(options))
    assert flow == Flow(CLIENT, 50000, WEB, 80)
    assert flow.family == socket.AF_INET
    assert str(flow) == "172.17.0.2:80"


def test_ipv6() -> None:
    flow = parse_packet(packet6())
    assert flow == Flow(CLIENT6, 50000, WEB6, 80)
    assert flow.family == socket.AF_INET6
    assert str(flow) == "[fd00:82::2]:80"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        packet4(protocol=17),
        packet6(following=44),
        packet4()[:22],
        packet6()[:41],
        packet6()[:3],
    ],
)
def test_what_is_no_tcp(data: bytes) -> None:
    assert parse_packet(data) is None


@given(st.binary(max_size=80))
def test_nothing_is_too_odd(data: bytes) -> None:
    parse_packet(data)
