"""A proxy in front of the engine's socket that holds or refuses chosen requests."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from pathlib import Path
from types import TracebackType

_REQUEST = re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE) \S+ HTTP/1\.1\r\n")
_VERSION = re.compile(r"^/v[0-9.]+(?=/)")


class EngineProxy:
    """Passes bytes on between a socket of its own and the engine's, except as told.

    ``hold``: the first request whose line matches goes to the engine, but the answer is kept
    back; ``held`` tells that it was sent. ``refuse``: a request whose line matches is answered
    with the status and message, and the engine never sees it. ``asked`` are the requests, without
    the version of the API and what follows the path.
    """

    def __init__(
        self,
        path: Path,
        engine: Path,
        *,
        hold: str = "",
        refuse: tuple[str, int, str] | None = None,
    ) -> None:
        self.path = path
        self.held = threading.Event()
        self.asked: list[str] = []
        self._engine = engine
        self._hold = re.compile(hold.encode()) if hold else None
        self._refuse = refuse
        self._listener = socket.socket(socket.AF_UNIX)
        self._open: list[socket.socket] = [self._listener]

    @property
    def url(self) -> str:
        """Value for DOCKER_HOST."""
        return f"unix://{self.path}"

    def __enter__(self) -> EngineProxy:
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        keep_back = threading.Event()
        with client, socket.socket(socket.AF_UNIX) as engine, contextlib.suppress(OSError):
            engine.connect(str(self._engine))
            self._open.append(engine)
            threading.Thread(target=_answer, args=(engine, client, keep_back), daemon=True).start()
            while data := client.recv(1 << 16):
                line = data.partition(b"\r\n")[0] if _REQUEST.match(data) else b""
                if line:
                    method, target, _ = line.decode().split()
                    self.asked.append(f"{method} {_VERSION.sub('', target).partition('?')[0]}")
                if self._refuse and line and re.search(self._refuse[0].encode(), line):
                    client.sendall(_refusal(*self._refuse[1:]))
                    while client.recv(1 << 16):  # its body, until it hangs up
                        pass
                    return
                if self._hold and line and self._hold.search(line) and not self.held.is_set():
                    keep_back.set()
                    engine.sendall(data)
                    self.held.set()
                else:
                    engine.sendall(data)
            engine.shutdown(socket.SHUT_RDWR)


def _answer(engine: socket.socket, client: socket.socket, keep_back: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := engine.recv(1 << 16):
            if not keep_back.is_set():
                client.sendall(data)
        if not keep_back.is_set():
            client.shutdown(socket.SHUT_WR)


def _refusal(status: int, message: str) -> bytes:
    body = json.dumps({"message": message}).encode()
    head = f"HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
