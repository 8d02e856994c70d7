"""OpenSSH as a carrier sees it: one master connection with forwardings, on real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from macnet.carriers.said import question
from macnet.runner import CommandFailed, Completed

OK = b"HTTP/1.0 200 OK\r\n\r\n"


class FakeSsh:
    """A `CommandRunner` for ssh alone. What is wrong with the other machine is said in fields."""

    def __init__(self, socket_there: str = "/var/run/docker.sock") -> None:
        self.socket_there = socket_there
        #: What a login fails with; an answer of the user on the terminal takes it away.
        self.refuses: str | None = None
        self.asked_user = 0
        self.engine_answers = True
        self.shell_says = "there\nusable\nmacnet-end\n"
        #: Nothing comes back from the other machine any more.
        self.line_dead = False
        #: What ssh writes to its log when a connection through a forwarding fails.
        self.logs = ""
        #: What the user's configuration forwards for this machine; each request that reads it
        #: asks for that too.
        self.configured: set[int] = set()
        self.ports: list[int] = []
        self.closed_ports: set[int] = set()
        self.taken_ports: set[int] = set()
        self.logins = 0
        self.argvs: list[list[str]] = []
        self._control: Path | None = None
        self._listener: socket.socket | None = None

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = 0,
        stdin: str | None = None,
        interactive: bool = False,
    ) -> Completed:
        words = list(argv)
        self.argvs.append(words)
        if self.line_dead and "-O" not in words:
            raise CommandFailed(words, f"did not end within {timeout_s:g} s")
        code, out, err = self._answer(words, interactive)
        return Completed(tuple(words), code, out, err)

    def find(self, program: str, *places: str) -> str | None:
        return program

    def dies(self) -> None:
        """The process is killed: its control socket stays behind."""
        self._end()

    def _answer(self, words: list[str], interactive: bool) -> tuple[int, str, str]:
        assert words[0] == "ssh"
        runs = self._control is not None and str(self._control) in words
        if "-M" in words:
            return self._log_in(words, interactive)
        match words:
            case [*_, "exit"] if "ControlPath=none" in words:
                return (255, "", self.refuses) if self.refuses else (0, "", "")
            case _ if not runs and "ProxyCommand=false" not in words:
                raise AssertionError(f"a login of its own: {words}")
            case _ if not runs:
                return 255, "", "Control socket connect: No such file or directory"
            case [*_, "-O", "check", "--", _]:
                return 0, "", "Master running (pid=7)"
            case [*_, "-O", "exit", "--", _]:
                control_socket = self._control
                self._end()
                if control_socket is not None:
                    control_socket.unlink(missing_ok=True)
                return 0, "", ""
            case [*_, "-O", "forward", "-L", what, "--", _]:
                return self._forward(what, set() if _blind(words) else self.configured)
            case [*_, "-O", "cancel", "-L", what, "--", _]:
                gone = {int(what.split(":")[1]), *(() if _blind(words) else self.configured)}
                self.ports = [port for port in self.ports if port not in gone]
                return 0, "", ""
            case [*_, "-W", what, "--", _]:
                return (255 if int(what.split(":")[1]) in self.closed_ports else 0), "", ""
            case [*_, "--", _, "exit"]:
                return 0, "", ""
            case [*_, "--", _, asked] if asked == question(self.socket_there):
                return 0, self.shell_says, ""
        raise AssertionError(words)

    def _log_in(self, words: list[str], interactive: bool) -> tuple[int, str, str]:
        control, log = (Path(words[words.index(flag) + 1]) for flag in ("-S", "-E"))
        if interactive:
            self.asked_user += 1
            self.refuses = None
        if self.refuses is not None:
            log.write_text(self.refuses)
            return 255, "", ""
        assert not control.exists(), "ssh would give up its control socket"
        self.logins += 1
        control.touch()
        log.write_text(self.logs)
        cleared = "ClearAllForwardings=yes" in words
        self._control, self.ports = control, [] if cleared else sorted(self.configured)
        return 0, "", ""

    def _forward(self, what: str, configured: set[int]) -> tuple[int, str, str]:
        if configured & self.taken_ports:
            return 255, "", "Port forwarding failed"
        self.ports += sorted(configured)
        local, _, there = what.partition(":")
        if there.startswith("/"):
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(local)
            self._listener.listen()
            threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()
            return 0, "", ""
        port = int(what.split(":")[1])
        if port in self.taken_ports:
            return 255, "", "Port forwarding failed"
        self.ports.append(port)
        return 0, "", ""

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(1000)
                if self.engine_answers:
                    connection.sendall(OK)

    def _end(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self._control = self._listener = None
        self.ports = []


def _blind(words: list[str]) -> bool:
    """Whether it reads no configuration."""
    return ("-F", "none") in pairwise(words)
