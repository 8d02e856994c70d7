"""OpenSSH as a carrier sees it: one master connection with forwardings, on real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
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
            control, log = (Path(words[words.index(flag) + 1]) for flag in ("-S", "-E"))
            return self._log_in(control, log, interactive)
        match words:
            case [*_, "exit"]:
                return (255, "", self.refuses) if self.refuses else (0, "", "")
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
                return self._forward(what)
            case [*_, "-O", "cancel", "-L", what, "--", _]:
                self.ports.remove(int(what.split(":")[1]))
                return 0, "", ""
            case [*_, "-W", what, "--", _]:
                return (255 if int(what.split(":")[1]) in self.closed_ports else 0), "", ""
            case [*_, "--", _, asked] if asked == question(self.socket_there):
                return 0, self.shell_says, ""
        raise AssertionError(words)

    def _log_in(self, control: Path, log: Path, interactive: bool) -> tuple[int, str, str]:
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
        self._control, self.ports = control, []
        return 0, "", ""

    def _forward(self, what: str) -> tuple[int, str, str]:
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
