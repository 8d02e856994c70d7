"""A TCP connection as its first packet names it."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

_TCP = 6
_IPV6_HEADER = 40


@dataclass(frozen=True, slots=True)
class Flow:
    """Both ends of a connection; addresses in network order, 4 or 16 bytes."""

    source: bytes
    source_port: int
    destination: bytes
    destination_port: int

    @property
    def family(self) -> socket.AddressFamily:
        """Of its addresses."""
        return socket.AF_INET if len(self.source) == 4 else socket.AF_INET6

    def __str__(self) -> str:
        """The destination as people write it."""
        host = socket.inet_ntop(self.family, self.destination)
        return (
            f"[{host}]:{self.destination_port}"
            if ":" in host
            else (f"{host}:{self.destination_port}")
        )


def parse_packet(packet: bytes) -> Flow | None:
    """Read the start of an IP packet that carries TCP; None where it is none.

    IPv6 extension headers are not looked through: no system puts one before a SYN.
    """
    if len(packet) < 20:
        return None
    version = packet[0] >> 4
    if version == 4 and packet[9] == _TCP:
        start, source, destination = (packet[0] & 15) * 4, packet[12:16], packet[16:20]
    elif version == 6 and packet[6] == _TCP:
        start, source, destination = _IPV6_HEADER, packet[8:24], packet[24:40]
    else:
        return None
    ports = packet[start : start + 4]
    if len(ports) < 4:
        return None
    source_port, destination_port = struct.unpack("!HH", ports)
    return Flow(source, source_port, destination, destination_port)


def accepted_flow(connection: socket.socket, peer: tuple[str, int]) -> Flow:
    """The flow of an accepted connection from ``peer`` that REDIRECT has brought here.

    The kernel's connection tracking knows where it went before: SO_ORIGINAL_DST, which is 80 for
    both families (linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h). Raises OSError.
    """
    family = connection.family
    level, size = (socket.SOL_IP, 16) if family == socket.AF_INET else (socket.IPPROTO_IPV6, 28)
    original = connection.getsockopt(level, 80, size)
    (port,) = struct.unpack("!H", original[2:4])
    destination = original[4:8] if family == socket.AF_INET else original[8:24]
    host, source_port = peer
    return Flow(socket.inet_pton(family, host), source_port, destination, port)
