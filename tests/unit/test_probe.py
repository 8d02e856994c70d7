from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess  # noqa: TID251
import sys
import time
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from netaddr import IPAddress

from macnet import probe
from macnet.probe import PingResult, TcpOutcome, connect_all, ping_all
from macnet.runner import DEFAULT_TIMEOUT_S, CommandFailed, Completed

LOCALHOST = IPAddress("127.0.0.1")
DATA = Path(__file__).parents[1] / "data" / "macos"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def open_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=300) as server:
        yield server.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A listener whose waiting line is full: the system drops further requests to connect."""
    if sys.platform != "linux":
        pytest.skip("only Linux drops them")
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def test_open_and_refused_in_order(open_port: int) -> None:
    refused = closed_port()
    results = connect_all([(LOCALHOST, open_port), (LOCALHOST, refused)] * 3)
    assert [result.outcome for result in results] == [TcpOutcome.OPEN, TcpOutcome.REFUSED] * 3
    assert [result.port for result in results] == [open_port, refused] * 3
    assert all(result.rtt_ms is not None and result.rtt_ms >= 0 for result in results)


def test_many_silent_targets_take_one_timeout(open_port: int, silent_port: int) -> None:
    begin = time.monotonic()
    results = connect_all([(LOCALHOST, silent_port), (LOCALHOST, open_port)] * 100, timeout_s=0.3)
    assert time.monotonic() - begin < 0.9
    assert [result.outcome for result in results] == [TcpOutcome.TIMEOUT, TcpOutcome.OPEN] * 100
    assert results[0].error == "no answer"
    assert results[0].rtt_ms is None


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        (errno.EHOSTUNREACH, TcpOutcome.UNREACHABLE),
        (errno.ECONNREFUSED, TcpOutcome.REFUSED),
        (errno.ECONNRESET, TcpOutcome.OPEN),
        (0, TcpOutcome.OPEN),
    ],
)
def test_a_connection_that_was_over_when_it_was_reported_is_what_ended_it(
    open_port: int, monkeypatch: pytest.MonkeyPatch, number: int, outcome: TcpOutcome
) -> None:
    class Late(socket.socket):
        def getpeername(self) -> object:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

        def getsockopt(self, level: int, option: int, *rest: int) -> object:  # type: ignore[override]
            error = (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR)
            # asyncio asks too, a moment before: then there is no error yet.
            if error and sys._getframe(1).f_code.co_name == "_confirm":
                return number
            return super().getsockopt(level, option, *rest)

    monkeypatch.setattr(socket, "socket", Late)
    (result,) = connect_all([(LOCALHOST, open_port)])
    assert result.outcome is outcome


def test_connect_over_ipv6() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        [result] = connect_all([(IPAddress("::1"), server.getsockname()[1])])
    assert result.outcome is TcpOutcome.OPEN


@pytest.mark.parametrize(
    ("number", "outcome", "error"),
    [
        (errno.ENETUNREACH, TcpOutcome.UNREACHABLE, os.strerror(errno.ENETUNREACH)),
        (errno.EHOSTUNREACH, TcpOutcome.UNREACHABLE, os.strerror(errno.EHOSTUNREACH)),
        (errno.EADDRNOTAVAIL, TcpOutcome.UNREACHABLE, os.strerror(errno.EADDRNOTAVAIL)),
        (errno.ETIMEDOUT, TcpOutcome.TIMEOUT, "no answer"),
    ],
)
def test_system_errors(
    number: int, outcome: TcpOutcome, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(BaseSelectorEventLoop, "sock_connect", fail)
    [result] = connect_all([(LOCALHOST, 9)])
    assert (result.outcome, result.error, result.rtt_ms) == (outcome, error, None)


def test_nothing_to_do() -> None:
    assert connect_all([]) == ()
    assert ping_all([]) == ()


def test_few_open_files_only_slow_it_down(open_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10, 10))
    results = connect_all([(LOCALHOST, open_port)] * 20)
    assert all(result.outcome is TcpOutcome.OPEN for result in results)


def test_import_does_not_load_icmplib() -> None:
    code = "import sys, macnet.probe; sys.exit('icmplib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_ping_loopback() -> None:
    if probe._icmp_mode() is None:
        pytest.skip("this user may not send ICMP")
    addresses = [IPAddress(f"127.0.0.{number}") for number in range(1, 31)]
    if sys.platform == "darwin":
        addresses = [LOCALHOST] * 30
    results = ping_all(addresses, count=2)
    assert [result.address for result in results] == addresses
    assert all(result.ok and result.rtt_ms is not None for result in results)


@pytest.mark.parametrize("text", ["[Errno 101] Network is unreachable", "Network is unreachable"])
def test_ping_errors_are_results(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import icmplib

    class Unreachable:
        def __init__(self, privileged: bool) -> None:
            raise icmplib.exceptions.ICMPSocketError(text)

    monkeypatch.setattr(probe, "_icmp_mode", lambda: False)
    monkeypatch.setattr(icmplib, "ICMPv4Socket", Unreachable)
    assert ping_all([LOCALHOST]) == (PingResult(LOCALHOST, False, error="Network is unreachable"),)


class Ping:
    """A runner with one answer."""

    def __init__(self, stdout: str = "", stderr: str = "", error: str | None = None) -> None:
        self.stdout, self.stderr, self.error = stdout, stderr, error
        self.calls: list[list[str]] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Completed:
        self.calls.append(list(argv))
        if self.error:
            raise CommandFailed(argv, self.error)
        return Completed(tuple(argv), 2, self.stdout, self.stderr)


@pytest.mark.parametrize(
    ("ping", "ok", "rtt_ms", "error"),
    [
        (Ping((DATA / "ping-reply.txt").read_text()), True, 1.555, None),
        (Ping((DATA / "ping-timeout.txt").read_text()), False, None, "no answer"),
        (
            Ping("Request timeout for icmp_seq 0\n", "ping: sendto: No route to host\n"),
            False,
            None,
            "No route to host",
        ),
        (Ping("64 bytes: time=0.9 ms\n64 bytes: time=0.03 ms\n"), True, 0.03, None),
        (Ping(error="is not installed"), False, None, "`{argv}` is not installed"),
    ],
)
def test_ping_by_the_program(
    ping: Ping, ok: bool, rtt_ms: float | None, error: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_icmp_mode", lambda: None)
    [result] = ping_all([LOCALHOST], runner=ping)
    expected = error.format(argv=" ".join(ping.calls[0])) if error else None
    assert result == PingResult(LOCALHOST, ok, rtt_ms, expected)


def test_ping_without_any_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_icmp_mode", lambda: None)
    [result] = ping_all([LOCALHOST])
    assert (result.ok, result.error) == (False, "this user may not send ICMP")


@pytest.mark.parametrize(
    ("address", "macos", "argv"),
    [
        ("172.17.0.2", False, "ping -4 -n -c 1 -W 0.5 172.17.0.2"),
        ("fd00::2", False, "ping -6 -n -c 1 -W 0.5 fd00::2"),
        ("172.17.0.2", True, "ping -n -c 1 -W 500 172.17.0.2"),
        ("fd00::2", True, "ping6 -n -c 1 fd00::2"),
    ],
)
def test_ping_flags(address: str, macos: bool, argv: str) -> None:
    assert probe._ping_argv(IPAddress(address), 0.5, 1, macos=macos) == argv.split()
