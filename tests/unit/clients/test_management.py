from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from netaddr import IPAddress

from macnet.clients.management import Management, NotListening, parse_state
from macnet.errors import ClientFailed

from .fakes import FakeServer

Serve = Callable[..., FakeServer]


@pytest.fixture
def serve(short_path: Path) -> Iterator[Serve]:
    servers: list[FakeServer] = []

    def start(answers: dict[str, str], **options: str) -> FakeServer:
        server = FakeServer(short_path / "s", lambda command: answers[command], **options)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


def test_one_line_answer(serve: Serve) -> None:
    server = serve({"pid": "SUCCESS: pid=77\r\n"})
    with Management(server.path) as management:
        assert management.pid() == 77


def test_news_between_greeting_and_answers_is_skipped(serve: Serve) -> None:
    server = serve(
        {"state": ">STATE:1,WAIT,,,,,,\r\n1,AUTH,,,,,,\r\n>LOG:1,I,SUCCESS: x\r\nEND\r\n"},
        greeting=">INFO:hello\r\n>BYTECOUNT:1,2\r\n",
    )
    with Management(server.path) as management:
        assert management.state().name == "AUTH"


def test_several_commands_and_many_lines(serve: Serve) -> None:
    log = "".join(f"17955{n:05},I,line {n}\r\n" for n in range(500)) + "END\r\n"
    server = serve({"log all": log, "pid": "SUCCESS: pid=1\r\n"})
    with Management(server.path) as management:
        assert management.ask("log all")[-1] == "1795500499,I,line 499"
        assert management.pid() == 1
    assert server.commands == ["log all", "pid"]


def test_a_line_in_a_list_is_no_end(serve: Serve) -> None:
    server = serve({"status": "OpenVPN STATISTICS\r\nSUCCESS: not an answer\r\nEND\r\n"})
    with Management(server.path) as management:
        assert management.ask("status") == ("OpenVPN STATISTICS", "SUCCESS: not an answer")


def test_error_answer(serve: Serve) -> None:
    server = serve({"nonsense": "ERROR: unknown command, enter 'help' for more options\r\n"})
    with (
        Management(server.path) as management,
        pytest.raises(ClientFailed, match="`nonsense`: unknown command"),
    ):
        management.ask("nonsense")


def test_bad_pid(serve: Serve) -> None:
    server = serve({"pid": "SUCCESS: pid=me\r\n"})
    with Management(server.path) as management, pytest.raises(ClientFailed, match="pid=me"):
        management.pid()


def test_no_socket(short_path: Path) -> None:
    with pytest.raises(NotListening), Management(short_path / "s"):
        pass


def test_socket_left_by_a_killed_process(serve: Serve) -> None:
    server = serve({})
    server.stop(leave_file=True)
    assert server.path.exists()
    with pytest.raises(NotListening), Management(server.path):
        pass


def test_too_long_path(short_path: Path) -> None:
    with pytest.raises(ClientFailed, match="too long"), Management(short_path / ("s" * 120)):
        pass


def test_silent_server_times_out(short_path: Path) -> None:
    path = short_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        begin = time.monotonic()
        with (
            pytest.raises(ClientFailed, match=r"no answer within 0\.1 s"),
            Management(path, timeout_s=0.1),
        ):
            pass
        assert time.monotonic() - begin < 1


def test_endless_news_time_out(serve: Serve) -> None:
    server = serve({"state": ">BYTECOUNT:1,2\r\n" * 3})
    with (
        Management(server.path, timeout_s=0.1) as management,
        pytest.raises(ClientFailed, match="no answer"),
    ):
        management.state()


def test_refused_user(short_path: Path) -> None:
    path = short_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def refuse() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(ClientFailed, match="closed") as caught, Management(path):
            pass
        thread.join()
    assert caught.value.hint and "another user" in caught.value.hint


def test_waits_while_somebody_else_talks(serve: Serve) -> None:
    server = serve({"pid": "SUCCESS: pid=5\r\n"})
    first = Management(server.path)
    first.__enter__()
    timer = threading.Timer(0.15, lambda: first.__exit__(None, None, None))
    timer.start()
    with Management(server.path) as second:
        assert second.pid() == 5
    timer.join()


@pytest.mark.parametrize(
    ("line", "name", "description", "address"),
    [
        (
            "1795544393,CONNECTED,SUCCESS,10.99.7.2,127.0.0.1,11940,127.0.0.1,36564",
            "CONNECTED",
            "SUCCESS",
            "10.99.7.2",
        ),
        (
            "1795544393,CONNECTED,SUCCESS,,127.0.0.1,1,127.0.0.1,2,fd00::2",
            "CONNECTED",
            "SUCCESS",
            "fd00::2",
        ),
        ("1795544436,RECONNECTING,tls-error,,,,,", "RECONNECTING", "tls-error", None),
        ("1795544436,EXITING,SIGTERM", "EXITING", "SIGTERM", None),
        ("", "", "", None),
    ],
)
def test_parse_state(line: str, name: str, description: str, address: str | None) -> None:
    state = parse_state(line)
    assert (state.name, state.description, state.line) == (name, description, line)
    assert state.address == (IPAddress(address) if address else None)
