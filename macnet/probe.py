"""Is anybody there? Pings and TCP connects, many at a time, none of them slow."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import re
import resource
import secrets
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from netaddr import IPAddress

from macnet.errors import MacnetError

_Target = TypeVar("_Target")
_Result = TypeVar("_Result")

#: Sockets that a process needs for other things while a probe runs.
_RESERVED_FILES = 40
_NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True)
class PingResult:
    """Whether one address answers to ping: the quickest answer in ms, or why not."""

    address: IPAddress
    ok: bool
    rtt_ms: float | None = None
    error: str | None = None


class TcpOutcome(StrEnum):
    """How a TCP connect ends. A refusal is an answer: the host is reached."""

    OPEN = "open"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class TcpResult:
    """How one TCP connect went; ``rtt_ms`` where the host answered, ``error`` where not."""

    address: IPAddress
    port: int
    outcome: TcpOutcome
    rtt_ms: float | None = None
    error: str | None = None


class ProgramOutput(Protocol):
    """What is needed of an ended program; `macnet.runner.Completed` has it."""

    @property
    def returncode(self) -> int:
        """The exit status."""

    @property
    def stdout(self) -> str:
        """Standard output."""

    @property
    def stderr(self) -> str:
        """Standard error."""


class ProgramRunner(Protocol):
    """What is needed of a `macnet.runner.CommandRunner`, which is on this module's level."""

    def run(
        self, argv: Sequence[str], *, check: bool = True, timeout_s: float = ...
    ) -> ProgramOutput:
        """Run a program to its end; raises a `MacnetError` if it cannot be run."""


def ping_all(
    addresses: Sequence[IPAddress],
    *,
    timeout_s: float = 1.0,
    count: int = 1,
    concurrency: int = 100,
    runner: ProgramRunner | None = None,
) -> tuple[PingResult, ...]:
    """Ping every address, in the given order, up to ``count`` times for ``timeout_s`` each.

    Datagram ICMP sockets need no rights on macOS, and on Linux where ping_group_range says so;
    raw sockets need root. With neither, ``runner`` runs the system's ``ping``, which has the
    rights of its own. Failures are results: nothing is raised.
    """
    privileged = _icmp_mode()
    if privileged is not None:
        # A raw socket sees every answer on the machine: each ping needs an identifier of its own.
        numbers = itertools.count(secrets.randbelow(0x10000))

        async def ping(address: IPAddress) -> PingResult:
            identifier = next(numbers) & 0xFFFF
            return await _ping(address, timeout_s, count, identifier, privileged=privileged)

        return asyncio.run(_gather(ping, addresses, concurrency))
    if runner is None:
        reason = "this user may not send ICMP"
        return tuple(PingResult(address, False, error=reason) for address in addresses)
    with ThreadPoolExecutor(max_workers=max(1, min(concurrency, 32))) as pool:
        return tuple(
            pool.map(lambda address: _run_ping(runner, address, timeout_s, count), addresses)
        )


def connect_all(
    targets: Sequence[tuple[IPAddress, int]],
    *,
    timeout_s: float = 1.0,
    concurrency: int = 200,
) -> tuple[TcpResult, ...]:
    """Open (and close at once) a TCP connection to every target, in the given order."""

    async def connect(target: tuple[IPAddress, int]) -> TcpResult:
        return await _connect(*target, timeout_s)

    return asyncio.run(_gather(connect, targets, concurrency))


async def _gather(
    work: Callable[[_Target], Awaitable[_Result]], targets: Sequence[_Target], concurrency: int
) -> tuple[_Result, ...]:
    """Work on every target, not more than ``concurrency`` and the file limit at a time.

    macOS gives a process 256 open files by default.
    """
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft_limit != resource.RLIM_INFINITY:
        concurrency = min(concurrency, soft_limit - _RESERVED_FILES)
    gate = asyncio.Semaphore(max(1, concurrency))

    async def limited(target: _Target) -> _Result:
        async with gate:
            return await work(target)

    return tuple(await asyncio.gather(*(limited(target) for target in targets)))


async def _connect(address: IPAddress, port: int, timeout_s: float) -> TcpResult:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    begin = time.monotonic()
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await asyncio.wait_for(loop.sock_connect(sock, (str(address), port)), timeout_s)
            _confirm(sock)
    except ConnectionRefusedError:
        return TcpResult(address, port, TcpOutcome.REFUSED, _elapsed_ms(begin))
    except TimeoutError:
        # Also the system's own ETIMEDOUT.
        return TcpResult(address, port, TcpOutcome.TIMEOUT, error=_NO_ANSWER)
    except OSError as error:
        return TcpResult(address, port, TcpOutcome.UNREACHABLE, error=_reason(error))
    return TcpResult(address, port, TcpOutcome.OPEN, _elapsed_ms(begin))


def _confirm(sock: socket.socket) -> None:
    """Raise what has ended a connection that was reported as made.

    Linux may call a socket connected just before it knows the ICMP error that ended it. A reset
    is no such error: somebody was there to send it.
    """
    try:
        sock.getpeername()
    except OSError as error:
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number not in {0, errno.ECONNRESET}:
            raise OSError(number, os.strerror(number)) from error


def _elapsed_ms(begin: float) -> float:
    return (time.monotonic() - begin) * 1000


def _reason(error: OSError) -> str:
    """The system's words for an error, without its number."""
    return error.strerror or str(error)


def _icmp_mode() -> bool | None:
    """Which sockets this user may open: False = datagram, True = raw, None = neither."""
    from icmplib import ICMPv4Socket, SocketPermissionError
    from icmplib.exceptions import ICMPSocketError

    for privileged in (False, True):
        try:
            ICMPv4Socket(privileged=privileged).close()
        except (SocketPermissionError, ICMPSocketError):
            continue
        return privileged
    return None


async def _ping(
    address: IPAddress, timeout_s: float, count: int, identifier: int, *, privileged: bool
) -> PingResult:
    from icmplib import (
        AsyncSocket,
        ICMPLibError,
        ICMPRequest,
        ICMPv4Socket,
        ICMPv6Socket,
        TimeoutExceeded,
    )

    kind: Any = ICMPv4Socket if address.version == 4 else ICMPv6Socket
    times_ms: list[float] = []
    error = _NO_ANSWER
    try:
        with AsyncSocket(kind(privileged=privileged)) as sock:
            for sequence in range(count):
                request = ICMPRequest(str(address), identifier, sequence)
                try:
                    sock.send(request)
                    reply = await sock.receive(request, timeout_s)
                    reply.raise_for_status()
                    times_ms.append((reply.time - request.time) * 1000)
                except TimeoutExceeded:
                    continue
    except ICMPLibError as failure:
        error = re.sub(r"^\[Errno -?\d+\] ", "", str(failure)) or _NO_ANSWER
    if times_ms:
        return PingResult(address, True, min(times_ms))
    return PingResult(address, False, error=error)


def _run_ping(
    runner: ProgramRunner, address: IPAddress, timeout_s: float, count: int
) -> PingResult:
    """One address by the system's own ``ping``, which is set-uid or has the capability."""
    argv = _ping_argv(address, timeout_s, count, macos=sys.platform == "darwin")
    try:
        # ping waits a second between its packets.
        done = runner.run(argv, check=False, timeout_s=count * (timeout_s + 1) + 1)
    except MacnetError as error:
        return PingResult(address, False, error=str(error))
    times_ms = [float(found) for found in re.findall(r"time[=<]([\d.]+) ?ms", done.stdout)]
    if times_ms:
        return PingResult(address, True, min(times_ms))
    said = done.stderr.strip().splitlines()[-1:] or [""]
    return PingResult(address, False, error=said[0].rpartition(": ")[2] or _NO_ANSWER)


def _ping_argv(address: IPAddress, timeout_s: float, count: int, *, macos: bool) -> list[str]:
    """The flags differ: macOS has ``-W`` in ms and another program, without it, for IPv6."""
    packets = ["-n", "-c", str(count)]
    if not macos:
        return ["ping", f"-{address.version}", *packets, "-W", f"{timeout_s:g}", str(address)]
    if address.version == 4:
        return ["ping", *packets, "-W", str(round(timeout_s * 1000)), str(address)]
    return ["ping6", *packets, str(address)]
