"""Reaching one container from this machine, with small packets and with full-size ones."""

from __future__ import annotations

import array
import fcntl
import re
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from netaddr import IPAddress

from macnet import probe
from macnet.runner import CommandRunner
from macnet.values import DEFAULT_TUN_MTU, FALLBACK_TUN_MTU

from .report import Seen, judge, still_open

#: Bytes of data in a ping that is several times an Ethernet frame; macOS sends no more than
#: 8192 (net.inet.raw.maxdgram).
_PING_BYTES = 8000
#: As much as fills a packet of the tunnel's usual MTU.
_TCP_BYTES = DEFAULT_TUN_MTU
_ARRIVES_S = 5.0
# sys/socket.h on macOS; asm-generic/ioctls.h on Linux.
_SO_NWRITE, _TIOCOUTQ = 0x1024, 0x5411


@dataclass(frozen=True)
class Target:
    """A container on a routed network."""

    address: IPAddress
    tcp_port: int | None


def find_target(setup: dict[str, Any]) -> Target | None:
    """A container in what ``setup --json`` says, one with a TCP port if there is one."""
    found = [
        Target(IPAddress(text), _tcp_port(endpoint))
        for item in setup["networks"]
        if item["reason"] is None
        for endpoint in item["network"]["endpoints"]
        if not endpoint["container"].startswith("macnet-")
        for text in endpoint["addresses"]
        if ":" not in text
    ]
    return min(found, key=lambda target: target.tcp_port is None, default=None)


def _tcp_port(endpoint: dict[str, Any]) -> int | None:
    ports = [port["number"] for port in endpoint["ports"] if port["protocol"] == "tcp"]
    return min(ports, default=None)


def reach(
    runner: CommandRunner, target: Target | None, interface: str | None, system: str
) -> Iterator[Seen]:
    """Ping it, look at its route, and send it packets that fill the tunnel's."""
    if target is None:
        yield still_open("ping a container", "none runs")
        return
    address = target.address
    answers = probe.ping_all([address], timeout_s=3, runner=runner)
    yield judge(f"ping the container {address}", answers[0].ok, "")
    if system == "macos":
        said = runner.run(["route", "-n", "get", str(address)], check=False).stdout
        good = interface is not None and interface_of(said) == interface
        yield judge("route -n get shows the tunnel's interface", good, said)
        if interface is not None:
            yield _mtu(runner.run(["ifconfig", interface], check=False).stdout)
    argv = ["ping", "-n", "-c", "1", "-s", str(_PING_BYTES), str(address)]
    done = runner.run(argv, check=False)
    yield judge(f"ping with {_PING_BYTES} bytes", done.ok, done.stderr or done.stdout)
    yield _send(target)


def interface_of(text: str) -> str | None:
    """The interface that ``route -n get ADDRESS`` names in ``text``; None if there is no route."""
    found = re.search(r"^ *interface: (\S+)$", text, re.MULTILINE)
    return found[1] if found else None


def _mtu(text: str) -> Seen:
    """Whether the tunnel has its usual MTU, by what ``ifconfig INTERFACE`` says.

    Setup takes a smaller one by itself where a packet of the usual size is lost.
    """
    what = f"the tunnel takes packets of {DEFAULT_TUN_MTU} bytes"
    mtu = mtu_of(text)
    if mtu == FALLBACK_TUN_MTU:
        return judge(what, False, f"setup fell back to {mtu}")
    if mtu != DEFAULT_TUN_MTU:
        return still_open(what, f"its interface has an MTU of {mtu}: somebody has set that")
    return judge(what, True, "")


def mtu_of(text: str) -> int | None:
    """The MTU that ``ifconfig INTERFACE`` names in ``text``; None if there is none."""
    found = re.search(r"\bmtu (\d+)", text)
    return int(found[1]) if found else None


def _send(target: Target) -> Seen:
    """Whether a container's TCP takes what fills one packet; what it does with it is its own."""
    what = f"{_TCP_BYTES} bytes by TCP arrive"
    if target.tcp_port is None:
        return still_open(what, "no container has a TCP port")
    try:
        with socket.create_connection((str(target.address), target.tcp_port), 5) as link:
            link.sendall(b"x" * _TCP_BYTES)
            deadline = time.monotonic() + _ARRIVES_S
            while (left := unacknowledged(link)) and time.monotonic() < deadline:
                time.sleep(0.05)
    except OSError as error:
        return still_open(what, f"{target.address}:{target.tcp_port}: {error}")
    return judge(what, left == 0, f"{left} bytes are on their way after {_ARRIVES_S:g} s")


def unacknowledged(link: socket.socket) -> int:
    """Bytes that the other side's TCP has not acknowledged yet."""
    if sys.platform == "darwin":
        return link.getsockopt(socket.SOL_SOCKET, _SO_NWRITE)
    count = array.array("i", [0])
    fcntl.ioctl(link, _TIOCOUTQ, count)
    return count[0]
