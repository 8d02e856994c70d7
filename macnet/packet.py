"""Does a packet of one size get through? One ping that fills the tunnel's MTU says so."""

from __future__ import annotations

import secrets
import socket
import struct
import sys
import time

from netaddr import IPAddress

_HEADERS = 20 + 8  # IPv4 without options, ICMP
_ECHO, _ECHO_REPLY = 8, 0
_TOKEN = 16
#: "Do not fragment": of Linux IP_MTU_DISCOVER = IP_PMTUDISC_DO (linux/in.h), of macOS
#: IP_DONTFRAG (netinet/in.h). Python's socket module has neither name on both.
_LINUX_DO, _MACOS_DONTFRAG = (10, 2), (28, 1)


def packet_passes(
    address: IPAddress, size: int, *, timeout_s: float = 1.0, tries: int = 3
) -> bool | None:
    """Whether an IPv4 packet of ``size`` bytes in all gets there, and its answer back.

    It is sent up to ``tries`` times, never in pieces. None where this user may not ping.
    """
    opened = _open(size)
    if opened is None:
        return None
    with opened:
        return any(_exchange(opened, str(address), size, n, timeout_s) for n in range(tries))


def _open(size: int) -> socket.socket | None:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            opened = socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
        except PermissionError:
            continue
        # Their default on macOS is 8 kB, and a larger packet is refused or lost.
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            opened.setsockopt(socket.SOL_SOCKET, option, 2 * size + 4096)
        option, value = _MACOS_DONTFRAG if sys.platform == "darwin" else _LINUX_DO
        opened.setsockopt(socket.IPPROTO_IP, option, value)
        return opened
    return None


def _exchange(opened: socket.socket, host: str, size: int, number: int, timeout_s: float) -> bool:
    token = secrets.token_bytes(_TOKEN)
    until = time.monotonic() + timeout_s
    try:
        opened.sendto(echo_request(token, size, number), (host, 0))
        while (left := until - time.monotonic()) > 0:
            opened.settimeout(left)
            if is_answer(opened.recv(size + 100), token, size):
                return True
    except OSError:  # also "message too long", and no answer in time
        return False
    return False


def echo_request(token: bytes, size: int, number: int) -> bytes:
    """An ICMP echo request (RFC 792) that makes an IPv4 packet of ``size`` bytes."""
    payload = token + bytes(size - _HEADERS - len(token))
    identifier = int.from_bytes(token[:2])
    head = struct.pack("!BBHHH", _ECHO, 0, 0, identifier, number)
    return head[:2] + struct.pack("!H", _checksum(head + payload)) + head[4:] + payload


def is_answer(data: bytes, token: bytes, size: int) -> bool:
    """Whether a received message is the whole echo; macOS and raw sockets add the IP header."""
    start = (data[0] & 15) * 4 if data and data[0] >> 4 == 4 else 0
    answer = data[start:]
    whole = len(answer) == size - 20
    return whole and answer[0] == _ECHO_REPLY and answer[8 : 8 + len(token)] == token


def _checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    words: tuple[int, ...] = struct.unpack(f"!{len(data) // 2}H", data)
    total = sum(words)
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF
