"""The map's server: who may ask, what is answered, and readers that come and go."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace

import pytest

from macnet.chart.chart import Chart
from macnet.chart.server import ADDRESS, MOST_READERS, Board, MapServer, listen
from macnet.errors import BadValue, PortTaken
from tests.unit.chart.test_chart import HOSTILE, sample

#: Patience for what takes milliseconds.
SOON_S = 20.0


@pytest.fixture
def board() -> Board:
    board = Board()
    board.put(sample())
    return board


@pytest.fixture
def server(board: Board) -> Iterator[MapServer]:
    with MapServer(0, board, alive_s=0.05) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        board.close()
        server.shutdown()
        thread.join(SOON_S)


def connect(server: MapServer) -> socket.socket:
    return socket.create_connection((ADDRESS, server.port), timeout=SOON_S)


def ask(
    server: MapServer, path: str = "/", *, method: str = "GET", host: str | None = ""
) -> tuple[int, dict[str, str], str]:
    """Status, headers and body; ``host`` is what the request says, None for nothing."""
    host = f"{ADDRESS}:{server.port}" if host == "" else host
    line = f"Host: {host}\r\n" if host is not None else ""
    with closing(connect(server)) as wire:
        wire.sendall(f"{method} {path} HTTP/1.1\r\n{line}\r\n".encode())
        head, _, body = b"".join(iter(lambda: wire.recv(65536), b"")).partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), dict(row.split(": ", 1) for row in rest), body.decode()


@contextmanager
def reading(server: MapServer) -> Iterator[Iterator[str]]:
    """The lines of the stream, as they come."""
    with closing(connect(server)) as wire, wire.makefile("rb") as lines:
        wire.sendall(f"GET /events HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode())
        yield (line.decode().rstrip("\r\n") for line in lines)


def wait_for(lines: Iterator[str], words: str) -> str:
    """The line with these words."""
    return next(line for line in lines if words in line)


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_page(server: MapServer) -> None:
    status, headers, body = ask(server)
    assert status == 200
    assert headers["Content-Type"] == "text/html;charset=utf-8"
    assert int(headers["Content-Length"]) == len(body.encode())
    assert headers["Cache-Control"] == "no-store"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "connect-src 'self'" in policy and "unsafe" not in policy
    assert 'data-copy="172.18.0.2"' in body
    assert 'data-events="events"' in body
    assert ask(server, host=f"localhost:{server.port}")[0] == 200


@pytest.mark.parametrize("path", ["/", "/events"])
@pytest.mark.parametrize("host", ["evil.test", "evil.test:{port}", ADDRESS, "127.0.0.1:1", None])
def test_a_name_that_leads_here_is_refused(server: MapServer, path: str, host: str | None) -> None:
    """DNS rebinding: a page of another site asks for its own name, which now means 127.0.0.1."""
    status, _, body = ask(server, path, host=host and host.format(port=server.port))
    assert status == 403
    assert "172.18.0.2" not in body


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_get_is_all_there_is(server: MapServer, method: str) -> None:
    status, headers, body = ask(server, method=method)
    assert (status, headers["Allow"]) == (405, "GET")
    assert "172.18.0.2" not in body
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("path", ["/map", "/../etc/passwd", "/events/", "//evil.test/", "/?x"])
def test_nothing_else_is_here(server: MapServer, path: str) -> None:
    assert ask(server, path)[0] == 404


def test_nonsense_is_no_bug(server: MapServer, capfd: pytest.CaptureFixture[str]) -> None:
    for text in (b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n\r\n"):
        with closing(connect(server)) as wire:
            wire.sendall(text)
            wire.recv(1)
    assert ask(server)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_each_change_is_told_and_nothing_is_repeated(server: MapServer, board: Board) -> None:
    with reading(server) as lines:
        wait_for(lines, 'data-copy="172.18.0.2"')
        board.put(replace(sample(), drawn=None))  # another time is no change
        board.put(sample("other"))
        told = [next(lines) for _ in range(400)]
        assert sum('class="networks"' in line for line in told) == 1
        assert any('data-key="app/other"' in line for line in told)
        assert ":" in told  # a sign of life


def test_a_hostile_name_stays_one_event(server: MapServer, board: Board) -> None:
    board.put(sample(f"a\n\nevent: x\rdata: y{HOSTILE}"))
    with reading(server) as lines:
        wait_for(lines, "text/event-stream")
        wait_for(lines, "data: ")
        for line in lines:
            if not line:
                break
            assert line.startswith("data: ")


def test_many_readers_and_one_too_many(server: MapServer, board: Board) -> None:
    with ExitStack() as stack:
        readers = [stack.enter_context(reading(server)) for _ in range(MOST_READERS)]
        for lines in readers:
            assert "200" in next(lines)
        assert ask(server, "/events")[0] == 503
        assert ask(server)[0] == 200
        board.put(sample("other"))
        for lines in readers:
            wait_for(lines, 'data-key="app/other"')
    until(lambda: not board.watched)


def test_a_reader_that_has_gone_is_forgotten(
    server: MapServer, board: Board, capfd: pytest.CaptureFixture[str]
) -> None:
    with reading(server) as lines:
        wait_for(lines, "data: ")
        assert board.watched
    until(lambda: not board.watched)
    assert capfd.readouterr() == ("", "")


def test_the_end_ends_the_readers(server: MapServer, board: Board) -> None:
    with reading(server) as lines:
        wait_for(lines, "data: ")
        board.close()
        assert "data: " not in list(lines)  # they end, or reading would fail for want of time


def test_before_the_first_chart_the_page_says_so() -> None:
    assert Board().get() == Chart((), "looking at the engine")


def test_it_listens_on_this_machine_alone(server: MapServer) -> None:
    assert server.socket.getsockname() == ("127.0.0.1", server.port)
    assert server.url == f"http://127.0.0.1:{server.port}/"


def test_a_port_that_is_taken(
    server: MapServer, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PortTaken, match=str(server.port)):
        listen(server.port, board)
    monkeypatch.setattr("macnet.chart.server.DEFAULT_PORT", server.port)
    with listen(None, board) as other:
        assert other.port != server.port

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("macnet.chart.server.MapServer.server_bind", refuse)
    with pytest.raises(BadValue, match="port 80 cannot be taken: Permission denied"):
        listen(80, board)
