"""An engine that answers over HTTP on a unix socket what a test tells it to."""

from __future__ import annotations

import json
import socketserver
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = Any
"""What a body holds."""
API = "1.51"


@dataclass
class Request:
    """What came in; ``path`` has no version."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes

    @property
    def json(self) -> Json:
        """The body."""
        return json.loads(self.body)


@dataclass
class Answer:
    """What goes out; with ``stream`` a list goes out object by object."""

    body: object = None
    status: int = 200
    stream: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class FakeEngine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Serves ``answers``: "GET /networks" -> answer, or 404 as Docker says it."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        """Listen on ``path``."""
        self.answers: dict[str, Answer] = {
            "GET /version": Answer({"ApiVersion": API, "Version": "28.5.2"}),
            "GET /_ping": Answer(b"OK"),
        }
        self.requests: list[Request] = []
        super().__init__(str(path), _Handler)
        self.url = f"unix://{path}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def on(
        self,
        what: str,
        body: object = None,
        status: int = 200,
        *,
        stream: bool = False,
        **headers: str,
    ) -> None:
        """Answer ``what`` with this from now on."""
        self.answers[what] = Answer(body, status, stream, headers)

    def last(self, what: str) -> Request:
        """The last request of this kind."""
        return next(r for r in reversed(self.requests) if f"{r.method} {r.path}" == what)

    def close(self) -> None:
        """Stop."""
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: FakeEngine
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        path = parts.path.removeprefix(f"/v{API}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        request = Request(self.command, path, parse_qs(parts.query), body)
        self.server.requests.append(request)
        missing = Answer({"message": f"No such image or other thing: {path}"}, 404)
        answer = self.server.answers.get(f"{self.command} {path}", missing)
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        for name, value in answer.headers.items():
            self.send_header(name.replace("_", "-"), value)
        if answer.stream and isinstance(answer.body, list):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for one in answer.body:
                data = json.dumps(one).encode() + b"\r\n"
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")
            return
        data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        if answer.status == 204:
            data = b""
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve
