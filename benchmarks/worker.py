"""Makes the traffic that is measured. Runs on the Mac side, alone: only the standard library.

`python -I worker.py HOST PORT WHAT...` prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

CHUNK = 1 << 20
#: A stream that moves nothing for so long has stalled.
STALL_S = 5.0
_PATIENCE_S = 30.0


def connect(host: str, port: int) -> socket.socket:
    """Open a connection; what is measured must not depend on Nagle's algorithm at this end."""
    stream = socket.create_connection((host, port), timeout=_PATIENCE_S)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def time_connects(host: str, port: int, count: int) -> list[float]:
    """Seconds of each of ``count`` connects, one after the other."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        connect(host, port).close()
        times.append(time.perf_counter() - began)
    return times


def time_requests(host: str, port: int, count: int) -> list[float]:
    """Seconds of each of ``count`` HTTP requests, each on a connection of its own."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        with connect(host, port) as stream:
            stream.sendall(_request(host, "/"))
            answer = b"".join(iter(lambda: stream.recv(CHUNK), b""))
        times.append(time.perf_counter() - began)
        if b"macnet-lab" not in answer:
            raise SystemExit(f"{host}:{port} answers {answer[:80]!r}")
    return times


def _request(host: str, path: str) -> bytes:
    return f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode()


def open_many(host: str, port: int, count: int, at_once: int) -> dict[str, int]:
    """HTTP requests, each on a connection of its own, so many at a time; how many failed."""
    left, failed = list(range(count)), []

    def run() -> None:
        while left:
            try:
                left.pop()
                time_requests(host, port, 1)
            except (OSError, SystemExit) as error:
                failed.append(str(error))
            except IndexError:
                return

    threads = [threading.Thread(target=run) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"count": count, "failed": len(failed)}


class Stream:
    """One stream of a bulk transfer: how many bytes, and the longest pause between two moves."""

    def __init__(self) -> None:
        self.moved = 0
        self.longest_pause = 0.0
        self._last = time.monotonic()

    def add(self, count: int) -> None:
        """Count bytes that have just moved."""
        now = time.monotonic()
        self.longest_pause = max(self.longest_pause, now - self._last)
        self._last = now
        self.moved += count


def download(host: str, port: int, stream: Stream, until: float) -> None:
    """Read /big, again from its start whenever it ends."""
    buffer = bytearray(CHUNK)
    while time.monotonic() < until:
        with connect(host, port) as link:
            link.sendall(_request(host, "/big"))
            while time.monotonic() < until and (count := link.recv_into(buffer)):
                stream.add(count)


def upload(host: str, port: int, stream: Stream, until: float) -> None:
    """Send zeros, then wait until the other end has swallowed the last of them."""
    with connect(host, port) as link:
        payload = bytes(CHUNK)
        while time.monotonic() < until:
            stream.add(link.send(payload))
        link.shutdown(socket.SHUT_WR)
        while link.recv(CHUNK):
            pass


Mover = Callable[[str, int, Stream, float], None]


def move(host: str, port: int, movers: list[Mover], seconds: float) -> dict[str, object]:
    """Run one stream for each of ``movers`` at once; bytes, seconds, and what went wrong."""
    streams = [Stream() for _ in movers]
    errors: list[str] = []

    def run(mover: Mover, stream: Stream) -> None:
        try:
            mover(host, port, stream, began + seconds)
            stream.add(0)
        except TimeoutError:
            # A stall, which the pause tells.
            stream.add(0)
        except OSError as error:
            errors.append(str(error) or type(error).__name__)

    began = time.monotonic()
    threads = [
        threading.Thread(target=run, args=pair) for pair in zip(movers, streams, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "seconds": time.monotonic() - began,
        "bytes": sum(stream.moved for stream in streams),
        "streams": [stream.moved for stream in streams],
        "longest_pause": max(stream.longest_pause for stream in streams),
        "errors": errors,
    }


def _measure(arguments: argparse.Namespace) -> Iterator[tuple[str, object]]:
    host, port = arguments.host, arguments.port
    if arguments.connects:
        yield "connects", time_connects(host, port, arguments.connects)
    if arguments.requests:
        yield "requests", time_requests(host, port, arguments.requests)
    if arguments.many:
        yield "many", open_many(host, port, arguments.many, arguments.at_once)
    movers: list[Mover] = [*[download] * arguments.down, *[upload] * arguments.up]
    if movers:
        yield "moved", move(host, port, movers, arguments.seconds)


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description="Make traffic and measure it.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--connects", type=int, default=0, help="how many, one after the other")
    parser.add_argument("--requests", type=int, default=0, help="how many, one after the other")
    parser.add_argument("--many", type=int, default=0, help="HTTP requests, many at a time")
    parser.add_argument("--at-once", type=int, default=64, help="how many at a time")
    parser.add_argument("--down", type=int, default=0, help="streams that download")
    parser.add_argument("--up", type=int, default=0, help="streams that upload")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long streams run")
    print(json.dumps(dict(_measure(parser.parse_args()))))


if __name__ == "__main__":
    main()
