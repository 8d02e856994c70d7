"""Docker Desktop's port publishing, played by one process per engine.

For each TCP port that the engine publishes it listens on 127.0.0.1 of the Mac side and connects to
127.0.0.1 in the VM. It follows the engine's events, and asks for the whole list again after each,
so that it can miss none.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import http.client
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import urllib.parse
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_PIPE_SIZE = 1 << 20
_RELIST_S = 1.0
_PUBLISHED_ON = ("127.0.0.1", "0.0.0.0")  # noqa: S104 - what an engine says, not what is bound
_libc = ctypes.CDLL(None, use_errno=True)


def _log(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


def _enter(netns: str) -> None:
    """Move this thread, and no other, to a network namespace."""
    handle = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(handle, _CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), netns)
    finally:
        os.close(handle)


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Carry bytes one way until the end, without copying them to this process."""
    reader, writer = os.pipe()
    with contextlib.suppress(OSError):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    try:
        while count := os.splice(source.fileno(), writer, _PIPE_SIZE):
            while count:
                count -= os.splice(reader, target.fileno(), count)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
    finally:
        os.close(reader)
        os.close(writer)


class Forwarder:
    """Listeners on the Mac side that follow what one engine publishes."""

    def __init__(self, engine_socket: Path, mac_netns: str, vm_netns: str) -> None:
        self._socket = engine_socket
        self._mac = mac_netns
        self._vm = vm_netns
        self._listeners: dict[int, socket.socket] = {}
        self._refused: set[int] = set()

    def run(self) -> None:
        """Follow the engine for ever, through its restarts."""
        _enter(self._mac)
        while True:
            try:
                with self._request(
                    "/events?" + _filters(type=["container"], event=["start", "die"])
                ) as events:
                    self._follow(events)
            except (OSError, ValueError, http.client.HTTPException):
                pass
            self._apply(set())
            time.sleep(0.05)

    def _follow(self, events: socket.socket) -> None:
        again = 0.0
        while True:
            self._apply(self._published())
            # A second look soon after a change: its event may come before the list shows it.
            wait = 0.05 if time.monotonic() < again else _RELIST_S
            if select.select([events], [], [], wait)[0]:
                if not events.recv(1 << 16):
                    return
                again = time.monotonic() + 0.3

    def _request(self, path: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(10)
            connection.connect(str(self._socket))
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        except BaseException:
            connection.close()
            raise
        return connection

    def _published(self) -> set[int]:
        with self._request("/containers/json") as connection:
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            containers = json.loads(answer.read())
        if answer.status != 200:
            raise ValueError(f"the engine answers {answer.status}")
        ports = [port for container in containers for port in container.get("Ports") or []]
        return {
            int(port["PublicPort"])
            for port in ports
            if port.get("Type") == "tcp"
            and port.get("PublicPort")
            and port.get("IP") in _PUBLISHED_ON
        }

    def _apply(self, wanted: set[int]) -> None:
        for port in sorted(set(self._listeners) - wanted):
            listener = self._listeners.pop(port)
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            _log(f"closed 127.0.0.1:{port}")
        for port in sorted(wanted - set(self._listeners)):
            self._listen(port)
        self._refused &= wanted

    def _listen(self, port: int) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(512)
        except OSError as error:
            listener.close()
            if port not in self._refused:
                _log(f"cannot listen on 127.0.0.1:{port}, trying again: {error}")
                self._refused.add(port)
            return
        self._refused.discard(port)
        self._listeners[port] = listener
        threading.Thread(target=self._accept, args=(listener, port), daemon=True).start()
        _log(f"listening on 127.0.0.1:{port}")

    def _accept(self, listener: socket.socket, port: int) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client, port), daemon=True).start()

    def _serve(self, client: socket.socket, port: int) -> None:
        with client:
            try:
                _enter(self._vm)
                server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                _enter(self._mac)
            except OSError as error:
                _log(f"no way into the VM for 127.0.0.1:{port}: {error}")
                return
            with server:
                try:
                    server.settimeout(10)
                    server.connect(("127.0.0.1", port))
                except OSError as error:
                    _log(f"127.0.0.1:{port} in the VM: {error}")
                    return
                for end in (client, server):
                    end.settimeout(None)
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join()


def _filters(**values: list[str]) -> str:
    return urllib.parse.urlencode({"filters": json.dumps(values)})


def main() -> None:
    """Run the forwarder until it is told to stop."""
    parser = argparse.ArgumentParser(description="Forward the ports that an engine publishes.")
    parser.add_argument("--socket", type=Path, required=True, help="the engine's API socket")
    parser.add_argument("--mac", required=True, help="file of the Mac side's network namespace")
    parser.add_argument("--vm", required=True, help="file of the VM's network namespace")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Forwarder(arguments.socket, arguments.mac, arguments.vm).run()


if __name__ == "__main__":
    main()
