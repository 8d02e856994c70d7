"""Serves the map's page on 127.0.0.1, and tells open pages of each change (server-sent events).

Only a browser on this machine gets it: a page of another site whose name leads to 127.0.0.1 (DNS
rebinding) sends its own name as ``Host`` and is refused.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer

from macnet.chart.chart import Chart
from macnet.chart.picture import page_policy, render_main, render_page
from macnet.errors import BadValue, PortTaken

ADDRESS = "127.0.0.1"
#: The first choice; another one is taken where it is not free.
DEFAULT_PORT = 13180
#: Open pages at a time; each one keeps a thread.
MOST_READERS = 50
#: Seconds between signs of life, by which a page that was closed is noticed.
ALIVE_S = 10.0
#: Seconds for a request to come, and for a reader to take what it is sent.
_PATIENCE_S = 10.0


class Board:
    """The chart of now, and whoever waits for the next one. Safe between threads."""

    def __init__(self) -> None:
        """There is no chart yet."""
        self._changed = threading.Condition()
        self._chart = Chart((), "looking at the engine")
        self._number = 0
        self._closed = False
        self._readers = 0

    @property
    def watched(self) -> bool:
        """Whether a page is open."""
        return self._readers > 0

    def put(self, chart: Chart) -> None:
        """Show ``chart`` from now on; one that differs in its time alone is not told to anybody."""
        with self._changed:
            if replace(chart, drawn=self._chart.drawn) == self._chart:
                return
            self._chart = chart
            self._number += 1
            self._changed.notify_all()

    def get(self) -> Chart:
        """The chart of now."""
        with self._changed:
            return self._chart

    def follow(self, alive_s: float) -> Iterator[Chart | None]:
        """The chart of now and then each new one, until `close`; None after ``alive_s`` of none."""
        seen = -1
        while True:
            with self._changed:
                if not self._closed and self._number == seen:
                    self._changed.wait(alive_s)
                if self._closed:
                    return
                chart = self._chart if self._number != seen else None
                seen = self._number
            yield chart

    @contextmanager
    def reader(self) -> Iterator[bool]:
        """Count a reader while the block runs; False where there are too many."""
        with self._changed:
            fits = self._readers < MOST_READERS
            self._readers += fits
        try:
            yield fits
        finally:
            with self._changed:
                self._readers -= fits

    def close(self) -> None:
        """End every `follow`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class MapServer(ThreadingTCPServer):
    """Answers GET of ``/`` (the page) and ``/events``, and nothing else."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, board: Board, *, alive_s: float = ALIVE_S) -> None:
        """Listen; port 0 is a free one. Raises `OSError`."""
        super().__init__((ADDRESS, port), _Handler)
        self.board = board
        self.alive_s = alive_s
        self.port = int(self.server_address[1])
        self.url = f"http://{ADDRESS}:{self.port}/"
        self.hosts = {f"{name}:{self.port}" for name in (ADDRESS, "localhost")}

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a reader that has gone away; anything else is a bug and is shown."""
        import sys

        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    server: MapServer
    timeout = _PATIENCE_S
    protocol_version = "HTTP/1.0"  # one request for each connection

    def do_GET(self) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            self._say(HTTPStatus.FORBIDDEN, "this is for this machine alone\n")
        elif self.path == "/":
            page = render_page(self.server.board.get(), live=True)
            self._say(HTTPStatus.OK, page, "text/html;charset=utf-8")
        elif self.path == "/events":
            with self.server.board.reader() as fits:
                if fits:
                    self._follow()
                else:
                    self._say(HTTPStatus.SERVICE_UNAVAILABLE, "too many pages are open\n")
        else:
            self._say(HTTPStatus.NOT_FOUND, "there is nothing here but /\n")

    def _refuse(self) -> None:
        self._say(HTTPStatus.METHOD_NOT_ALLOWED, "GET only\n")

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse

    def _follow(self) -> None:
        self._head(HTTPStatus.OK, "text/event-stream")
        for chart in self.server.board.follow(self.server.alive_s):
            text = ":" if chart is None else _event(render_main(chart))
            self.wfile.write(f"{text}\n\n".encode())

    def _say(self, status: HTTPStatus, text: str, kind: str = "text/plain;charset=utf-8") -> None:
        body = text.encode()
        self._head(status, kind, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, kind: str, length: int | None = None) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", page_policy(live=True))
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: the terminal is the command's."""


def _event(text: str) -> str:
    """One event of the stream; a field of it is a line."""
    return "\n".join(f"data: {line}" for line in text.splitlines())


def listen(port: int | None, board: Board) -> MapServer:
    """Listen on ``port``; None is the default one, or any that is free.

    Raises `PortTaken` where ``port`` is taken, `BadValue` where this user may not have it.
    """
    for choice in (DEFAULT_PORT, 0) if port is None else (port,):
        try:
            return MapServer(choice, board)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and port is not None:
                raise PortTaken(
                    f"another program listens on port {port} of {ADDRESS}",
                    hint="`macnet map --serve` without --port takes a free one",
                ) from error
            if error.errno != errno.EADDRINUSE:
                raise BadValue(
                    f"port {choice} cannot be taken: {error.strerror}", hint="choose another --port"
                ) from error
    raise AssertionError("port 0 is always free")
