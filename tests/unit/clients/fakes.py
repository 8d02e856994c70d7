"""An openvpn that is a thread: it serves a management socket and writes a log."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from macnet.progress import Silent
from macnet.runner import DEFAULT_TIMEOUT_S, CommandFailed, Completed

GREETING = ">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n"


class FakeServer:
    """Serves a Unix socket, one client at a time, as OpenVPN does."""

    def __init__(
        self, path: Path, answer: Callable[[str], str], *, greeting: str = GREETING
    ) -> None:
        self.path = path
        self.commands: list[str] = []
        self._answer = answer
        self._greeting = greeting
        self._stopping = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(os.fspath(path))
        self._listener.listen(1)
        self._listener.settimeout(0.02)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self, *, leave_file: bool = False) -> None:
        """End; with ``leave_file`` as after ``kill -9``."""
        self._stopping = True
        if threading.current_thread() is not self._thread:
            self._thread.join(5)
        self._listener.close()
        if not leave_file:
            self.path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while not self._stopping:
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            with client, client.makefile("rw", newline="") as stream, contextlib.suppress(OSError):
                client.settimeout(5)
                stream.write(self._greeting)
                stream.flush()
                for line in stream:
                    self.commands.append(line.strip())
                    stream.write(self._answer(line.strip()))
                    stream.flush()


@dataclass
class FakeOpenVpn:
    """The process: reads the profile at its start, connects after some polls.

    A profile with ``broken`` ends it, one with ``silent`` never connects. When it ends it deletes
    its socket and its pid file, as openvpn does; not when it is killed (``leave_file``).
    """

    profile: Path
    socket: Path
    log: Path
    pid_file: Path
    pid: int = 4242
    polls_to_connect: int = 2
    alive: bool = field(default=False, init=False)
    read: list[str] = field(default_factory=list, init=False)
    verbosity: list[str] = field(default_factory=list, init=False)
    server: FakeServer | None = field(default=None, init=False)
    _polls: int = field(default=0, init=False)
    _port: int = field(default=50000, init=False)

    def start(self) -> None:
        self.alive = True
        self._polls = 0
        self._port += 1
        self.pid_file.write_text(f"{self.pid}\n")
        self.server = FakeServer(self.socket, self.answer)
        self._read()

    def stop(self, *, leave_file: bool = False) -> None:
        self.alive = False
        if not leave_file:
            self.pid_file.unlink(missing_ok=True)
        if self.server:
            self.server.stop(leave_file=leave_file)

    def drop(self, *, polls: int = 2) -> None:
        """Lose the connection; it is back after so many questions."""
        self._polls = self.polls_to_connect - polls

    def answer(self, command: str) -> str:
        if command == "pid":
            return f"SUCCESS: pid={self.pid}\r\n"
        if command == "state":
            self._polls += 1
            word = "TCP_CONNECT,,,,,,"
            if self._polls > self.polls_to_connect and "silent" not in self.read[-1]:
                word = f"CONNECTED,SUCCESS,127.0.0.1,127.0.0.1,1194,127.0.0.1,{self._port}"
            return f">BYTECOUNT:1,2\r\n1795544393,{word}\r\nEND\r\n"
        if command == "signal SIGTERM":
            self.stop()
        elif command.startswith("verb "):
            self.verbosity.append(command)
            return "SUCCESS: verb level changed\r\n"
        else:
            return "ERROR: unknown command, enter 'help' for more options\r\n"
        return f"SUCCESS: {command} thrown\r\n"

    def _read(self) -> None:
        self.read.append(self.profile.read_text())
        with self.log.open("a") as log:
            if "broken" in self.read[-1]:
                log.write("Options error: Unrecognized option in macnet.ovpn:9: broken (2.6.14)\n")
            else:
                log.write("2026-11-24 18:20:40 TCP: connect to 127.0.0.1 failed: refused\n")
        if "broken" in self.read[-1]:
            self.stop()


class FakeRunner:
    """Records what is run; ``answers`` maps the word that argv must contain to a result."""

    def __init__(self, programs: dict[str, str] | None = None) -> None:
        self.programs = programs or {}
        self.answers: list[tuple[str, Callable[[Sequence[str]], Completed | CommandFailed]]] = []
        self.calls: list[tuple[tuple[str, ...], bool]] = []
        self.inputs: list[str | None] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        stdin: str | None = None,
        interactive: bool = False,
    ) -> Completed:
        self.calls.append((tuple(argv), interactive))
        self.inputs.append(stdin)
        for word, answer in self.answers:
            if word in argv:
                result = answer(argv)
                if isinstance(result, CommandFailed):
                    raise result
                return result
        return Completed(tuple(argv), 0, "", "")

    def find(self, program: str, *places: str) -> str | None:
        return self.programs.get(program)


class Recorder(Silent):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.details: list[str] = []
        self.warnings: list[str] = []
        self.paused = False

    def detail(self, text: str) -> None:
        self.details.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        self.paused = True
        yield
        self.paused = False
