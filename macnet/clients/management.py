"""A short conversation with a running OpenVPN through its management interface.

The protocol is OpenVPN's own (doc/management-notes.txt): text lines; after a greeting
``>INFO:…`` each command gets either one line ``SUCCESS: …`` / ``ERROR: …`` or several lines
ended by ``END``. Lines that begin with ``>`` are news that may come between any others.

OpenVPN talks to one client at a time and lets the next one wait without a greeting: connect,
ask, close.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from netaddr import AddrFormatError, IPAddress

from macnet.errors import ClientFailed

_RETRY_S = 0.05
#: While the waiting line is full macOS refuses, as it does for a socket that nobody serves.
_REFUSED_RETRIES_S = 0.2


class NotListening(ClientFailed):
    """No OpenVPN serves the socket: there is none, or it is left over from a killed one."""

    code = "client_not_running"


@dataclass(frozen=True, slots=True)
class OpenVpnState:
    """The answer to ``state``: OpenVPN's word, its reason, our addresses inside the tunnel.

    ``line`` is the whole answer; it differs after each reconnect (time, port).
    """

    name: str
    description: str
    address: IPAddress | None
    line: str


class Management:
    """One conversation; use it in a ``with`` statement. Raises `ClientFailed`."""

    def __init__(self, path: Path, *, timeout_s: float = 2.0) -> None:
        """``timeout_s`` is the patience for the greeting and for each answer, in seconds."""
        self._path = path
        self._timeout_s = timeout_s
        self._deadline = 0.0
        self._socket: socket.socket | None = None
        self._buffer = b""

    def __enter__(self) -> Self:
        self._deadline = time.monotonic() + self._timeout_s
        self._socket = self._connect()
        try:
            while not self._read_line().startswith(">"):
                pass
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._socket is not None:
            self._socket.close()

    def ask(self, command: str) -> tuple[str, ...]:
        """Send ``command`` and return its answer: the text of one line, or all lines to END."""
        self._deadline = time.monotonic() + self._timeout_s
        lines: list[str] = []
        self._send(command)
        while True:
            line = self._read_line()
            if line.startswith(">"):
                continue
            if line == "END":
                return tuple(lines)
            if not lines and line.startswith("SUCCESS: "):
                return (line.removeprefix("SUCCESS: "),)
            if not lines and line.startswith("ERROR: "):
                reason = line.removeprefix("ERROR: ")
                raise ClientFailed(f"openvpn refuses the command `{command}`: {reason}")
            lines.append(line)

    def pid(self) -> int:
        """The process id of the OpenVPN that answers."""
        answer = self.ask("pid")[0]
        try:
            return int(answer.removeprefix("pid="))
        except ValueError as error:
            raise ClientFailed(f"openvpn answers `pid` with `{answer}`") from error

    def state(self) -> OpenVpnState:
        """How far the tunnel is; an empty name means that OpenVPN has only just started."""
        lines = self.ask("state")
        return parse_state(lines[-1] if lines else "")

    def signal(self, name: str) -> None:
        """Send a signal; ``SIGTERM`` ends the process."""
        self.ask(f"signal {name}")

    def _connect(self) -> socket.socket:
        refused_deadline = time.monotonic() + _REFUSED_RETRIES_S
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(self._left_s())
                sock.connect(os.fspath(self._path))
            except OSError as error:
                sock.close()
                if isinstance(error, FileNotFoundError):
                    raise NotListening("openvpn is not running") from error
                if isinstance(error, ConnectionRefusedError):
                    if time.monotonic() > refused_deadline:
                        raise NotListening("openvpn is not running") from error
                elif not isinstance(error, BlockingIOError):
                    # BlockingIOError: on Linux the waiting line is full.
                    raise self._broken(error) from error
                time.sleep(_RETRY_S)
            except BaseException:
                sock.close()
                raise
            else:
                return sock

    def _send(self, command: str) -> None:
        assert self._socket is not None, "use Management in a with statement"  # noqa: S101
        try:
            self._socket.settimeout(self._left_s())
            self._socket.sendall(f"{command}\n".encode())
        except OSError as error:
            raise self._broken(error) from error

    def _read_line(self) -> str:
        assert self._socket is not None, "use Management in a with statement"  # noqa: S101
        while b"\n" not in self._buffer:
            try:
                self._socket.settimeout(self._left_s())
                received = self._socket.recv(65536)
            except OSError as error:
                raise self._broken(error) from error
            if not received:
                raise ClientFailed(
                    "openvpn closed the conversation on its management socket",
                    hint="another user may have started it; end that one first",
                )
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    def _left_s(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _broken(self, error: OSError) -> ClientFailed:
        if isinstance(error, TimeoutError):
            reason = f"no answer within {self._timeout_s:g} s"
        else:
            reason = error.strerror or str(error)
        return ClientFailed(
            f"cannot ask openvpn through {self._path}: {reason}",
            hint="try again; if it hangs for good, end it: "
            f"sudo pkill -9 -f 'management {self._path}'",
        )


def parse_state(line: str) -> OpenVpnState:
    """Parse ``time,name,description,IPv4,remote,port,local,port,IPv6`` (later ones may miss)."""
    fields = [*line.split(","), *[""] * 9][:9]
    return OpenVpnState(
        name=fields[1],
        description=fields[2],
        address=_address(fields[3]) or _address(fields[8]),
        line=line,
    )


def _address(text: str) -> IPAddress | None:
    try:
        return IPAddress(text)
    except (AddrFormatError, ValueError):
        return None
