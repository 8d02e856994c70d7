"""One connection of the system's OpenSSH, which carries the engine's socket and the tunnel's port.

It is a master connection (``ssh_config(5)``, ControlMaster) of its own in a folder of its own:
by its control socket it is found again, asked, changed and ended, by whichever macnet comes next.
Keys, agent, host names and jumps are those of the user's own configuration of ssh.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from macnet.carriers import said
from macnet.carriers.base import Carrier
from macnet.choices import CarrierKind
from macnet.contexts import EngineAddress, SshTarget
from macnet.errors import (
    Busy,
    CarrierDenied,
    CarrierDown,
    CarrierFailed,
    CarrierHostKey,
    EngineError,
    PortTaken,
)
from macnet.files import ensure_private_dir, lock, read_private, remove_file, write_private
from macnet.progress import Progress
from macnet.runner import CommandFailed, CommandRunner, Completed
from macnet.state import Way
from macnet.values import LOOPBACK

#: Seconds for a login without questions, for one with them, and for a request to a running ssh.
LOGIN_S, ASKING_S, REQUEST_S = 30.0, 300.0, 10.0
#: Seconds for the engine's first answer through a running ssh.
ANSWER_S = 5.0
#: Seconds for the other machine's ssh server to say anything, after a sleep of this machine.
AWAKE_S = 3.0
#: Seconds to wait for another macnet that starts it.
_LOCK_WAIT_S = 30.0

#: Over what the user's configuration may say of the host. What would run something there, or open
#: a way back into this machine, is off. How a host key is judged stays the user's choice.
_OPTIONS = {
    "ConnectTimeout": "5",
    "ControlPersist": "no",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "LogLevel": "INFO",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "ServerAliveCountMax": "3",
    "ServerAliveInterval": "4",
    "StreamLocalBindUnlink": "yes",
    "Tunnel": "no",
}
#: Of a new connection: the forwardings of the user's configuration are not ours, and another ssh
#: of the user's may have them already.
_NO_FORWARDS = ("-o", "ClearAllForwardings=yes")
_BATCH = ("-o", "BatchMode=yes")
#: Of a request to the ssh that runs, which needs nothing but its control socket. The user's
#: configuration would add all its forwardings to those that are asked for, or make the request a
#: connection of its own (ControlMaster). Nor does one become that where no ssh runs any more.
_NO_CONFIG = ("-F", "none", *_BATCH, "-o", "ProxyCommand=false")
#: What an ssh that does not end in time is taken to have said.
_NO_END = "connection timed out"


class Ssh(Carrier):
    """The engine of another machine, as if its socket and its port were here."""

    def __init__(
        self,
        address: EngineAddress,
        target: SshTarget,
        *,
        folder: Path,
        runner: CommandRunner,
        terminal: bool,
    ) -> None:
        """``folder`` is for sockets and log; ``terminal`` tells whether ssh can ask the user."""
        super().__init__(address)
        self._target = target
        self._folder = folder
        self._runner = runner
        self._terminal = terminal

    @property
    def way(self) -> Way:
        """Both ends of the port are on a 127.0.0.1."""
        return Way(CarrierKind.SSH, self._target.host)

    @property
    def folder(self) -> Path:
        """Where its sockets and its log are."""
        return self._folder

    def start(self, progress: Progress, *, ask: bool) -> bool:
        """Log in unless an ssh to this machine runs and the engine answers through it.

        Without a question first; with ``ask``, on a terminal, ssh may then ask for what it lacks.
        """
        with lock(self._folder / "lock", wait_s=_LOCK_WAIT_S):
            self._own_folder()
            if self.running():
                if self._knows_target() and self._keep_running():
                    return False
                self._exit()
            port = self._port()
            self._forget()
            try:
                self._begin(progress, ask=ask)
            except EngineError:
                self._exit()
                if port is None:  # nothing to come back to
                    shutil.rmtree(self._folder, ignore_errors=True)
                else:
                    self._remember(port)
                raise
            if port is not None:
                with suppress(PortTaken):  # whoever needs it asks for it again
                    self._carry(port)
            return True

    def _begin(self, progress: Progress, *, ask: bool) -> None:
        self._log_in(progress, ask=ask)
        write_private(self._folder / "target", self._target_text())
        # By a request, which tells whether it went well.
        self._forward("-L", f"{self._socket}:{self._target.socket}")
        if (error := self.engine_error()) is not None:
            raise error
        self._send_at_once()

    def _send_at_once(self) -> None:
        """Run nothing there, once: a connection without a session waits with small packets.

        Up to OpenSSH 10.0 sshd sets TCP_NODELAY when a session begins (its session.c,
        do_exec_no_pty). What the command gives does not count, nor whether one is allowed: without
        it all works, each packet up to a delayed acknowledgement later.
        """
        self._run(_request_argv(self._folder, command="exit"), timeout_s=ANSWER_S)

    def running(self) -> bool:
        """Whether an ssh answers at the control socket."""
        return (self._folder / "s").exists() and self._request("-O", "check").ok

    def drop_if_dead(self) -> bool:
        """End an ssh whose line died while this machine slept: it would notice 16 s later.

        Whoever needs it starts it again, with its port.
        """
        if not self._folder.is_dir():
            return False
        with suppress(Busy), lock(self._folder / "lock"):  # whoever holds it finds out
            if self.running() and not self._line_answers():
                self._exit()
                return True
        return False

    def _line_answers(self) -> bool:
        """Whether the ssh server there says anything, be it that nobody listens at that port."""
        tried = self._request("-W", f"{LOOPBACK}:1", timeout_s=AWAKE_S)
        return tried.stderr != _NO_END

    def engine_address(self) -> EngineAddress:
        """The engine's socket, as it is here."""
        if not (self.running() and self._knows_target()):
            raise CarrierDown(
                f"no ssh of macnet's to {self._target.host} runs",
                hint="`macnet connect` starts it; before the first setup, `macnet setup`",
            )
        return replace(self.address, via=f"unix://{self._socket}")

    def engine_error(self) -> EngineError | None:
        """Why the engine does not answer through the ssh that runs; None if it does."""
        if answers(self._socket, timeout_s=ANSWER_S):
            return None
        return self._why_silent(self._ask_there())

    def port_error(self, port: int) -> CarrierFailed | None:
        """Why the ssh that runs cannot carry ``port``; None if it can."""
        tried = self._request("-W", f"{LOOPBACK}:{port}")
        if tried.ok:
            return None
        if (error := said.forbidden(f"{tried.stderr}{self._log()}", self._target)) is not None:
            return error
        return CarrierFailed(
            f"nobody answers on port {port} of {self._target.host}'s {LOOPBACK}",
            hint="`macnet setup` starts the server again",
        )

    def login_error(self) -> CarrierFailed | None:
        """Why a login without a question fails now; None if it works. Leaves nothing."""
        argv = self._argv("-o", "ControlPath=none", *_NO_FORWARDS, *_BATCH)
        tried = self._run([*argv, "--", self._target.destination, "exit"], timeout_s=LOGIN_S)
        # 255 is ssh's own; another one is of a shell there that was reached.
        return said.failed_login(tried.stderr, self._target) if tried.returncode == 255 else None

    def carry(self, port: int) -> bool:
        """Forward it, in place of the one before."""
        with lock(self._folder / "lock", wait_s=_LOCK_WAIT_S):
            if self._port() == port:
                return False
            self._carry(port)
        if (error := self.port_error(port)) is not None:
            raise error
        return True

    def holds(self, port: int) -> bool:
        """Whether it forwards that port."""
        return self._port() == port and self.running()

    def _carry(self, port: int) -> None:
        if (before := self._port()) is not None:
            self._request("-O", "cancel", "-L", _both_ends(before))
            remove_file(self._folder / "port")
        done = self._request("-O", "forward", "-L", _both_ends(port))
        if not done.ok:
            raise PortTaken(
                f"ssh cannot listen on port {port} of {LOOPBACK}: another program holds it",
                hint="`macnet setup --port 0` takes a free one",
            )
        self._remember(port)

    def _remember(self, port: int) -> None:
        write_private(self._folder / "port", f"{port}\n".encode())

    def _keep_running(self) -> bool:
        """Whether the ssh that runs is good; raises where it is, and the engine is not."""
        if answers(self._socket, timeout_s=ANSWER_S):
            return True
        there = self._ask_there()
        if not said.answered(there):
            return False  # the line is dead, or the forwarding was lost
        raise self._why_silent(there)

    def _why_silent(self, there: str) -> EngineError:
        # Of a port it does say that it forbids it, also where nobody would listen.
        tried = self._request("-W", f"{LOOPBACK}:1")
        told = f"{there}\n{tried.stderr}\n{self._log()}"
        return said.forbidden(told, self._target) or said.silent_engine(there, self._target)

    def _log_in(self, progress: Progress, *, ask: bool) -> None:
        error = self._try(interactive=False)
        # What a person can answer: a passphrase, a password, whether a new host key is right.
        if isinstance(error, CarrierDenied | CarrierHostKey) and ask and self._terminal:
            progress.detail(f"ssh asks for {self._target.host}")
            with progress.pause():
                error = self._try(interactive=True)
        if error is not None:
            raise error

    def _try(self, *, interactive: bool) -> CarrierFailed | None:
        log = self._folder / "log"
        write_private(log, b"")
        batch = () if interactive else _BATCH
        control = ("-M", "-S", str(self._folder / "s"))
        argv = self._argv("-f", "-N", *control, "-E", str(log), *_NO_FORWARDS, *batch)
        done = self._run(
            [*argv, "--", self._target.destination],
            timeout_s=ASKING_S if interactive else LOGIN_S,
            interactive=interactive,
        )
        if done.ok:
            return None
        return said.failed_login(f"{self._log()}\n{done.stderr}", self._target)

    def _forward(self, *words: str) -> None:
        done = self._request("-O", "forward", *words)
        if not done.ok:
            raise CarrierFailed(
                f"ssh to {self._target.host} cannot forward the engine's socket: {done.stderr}",
                hint="`macnet disconnect`, then try again",
            )

    def _ask_there(self) -> str:
        asked = said.question(self._target.socket)
        return self._run(_request_argv(self._folder, command=asked), timeout_s=REQUEST_S).stdout

    def _request(self, *words: str, timeout_s: float = REQUEST_S) -> Completed:
        """Ask the ssh that runs."""
        return self._run(_request_argv(self._folder, *words), timeout_s=timeout_s)

    def _argv(self, *words: str) -> list[str]:
        options = [f"-o{name}={value}" for name, value in _OPTIONS.items()]
        port = [] if self._target.port is None else ["-p", str(self._target.port)]
        return ["ssh", *options, *port, *words]

    def _run(
        self, argv: Sequence[str], *, timeout_s: float, interactive: bool = False
    ) -> Completed:
        try:
            return self._runner.run(argv, check=False, timeout_s=timeout_s, interactive=interactive)
        except CommandFailed as error:
            if "did not end" in error.reason:
                return Completed(tuple(argv), 255, "", _NO_END)
            raise CarrierFailed(
                f"ssh {error.reason}", hint="macnet uses the system's OpenSSH"
            ) from error

    @property
    def _socket(self) -> Path:
        return self._folder / "e"

    def _target_text(self) -> bytes:
        return json.dumps(asdict(self._target), sort_keys=True).encode()

    def _knows_target(self) -> bool:
        return read_private(self._folder / "target") == self._target_text()

    def _port(self) -> int | None:
        text = (read_private(self._folder / "port") or b"").decode().strip()
        return int(text) if text.isdigit() else None

    def _log(self) -> str:
        return (read_private(self._folder / "log") or b"").decode(errors="replace")

    def _forget(self) -> None:
        for name in ("s", "e", "port", "target"):
            remove_file(self._folder / name)

    def _exit(self) -> None:
        exit_ssh(self._folder, self._runner)

    def _own_folder(self) -> None:
        """Raise `CarrierFailed` where others could serve our sockets: it is below /tmp."""
        for folder in (self._folder.parent, self._folder):
            ensure_private_dir(folder)
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise CarrierFailed(
                    f"{folder} belongs to somebody else", hint=f"remove it: `sudo rm -r {folder}`"
                )


def stop_ssh(folder: Path, runner: CommandRunner) -> bool:
    """End the ssh of ``folder``, whatever it leads to, and remove the folder; False = none was."""
    if not folder.is_dir():
        return False
    with lock(folder / "lock", wait_s=_LOCK_WAIT_S):
        ran = exit_ssh(folder, runner)
        shutil.rmtree(folder, ignore_errors=True)
    return ran


def exit_ssh(folder: Path, runner: CommandRunner) -> bool:
    """End the ssh of ``folder`` and wait until it is gone; False = none ran."""
    control = folder / "s"
    if not control.exists():
        return False
    with suppress(CommandFailed):
        done = runner.run(_request_argv(folder, "-O", "exit"), check=False, timeout_s=REQUEST_S)
        deadline = time.monotonic() + REQUEST_S
        while done.ok and control.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return done.ok
    return False


def answers(path: Path, *, timeout_s: float) -> bool:
    """Whether an engine answers at a socket of this machine."""
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
        connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
        return connection.recv(5) == b"HTTP/"
    return False


def _request_argv(folder: Path, *words: str, command: str | None = None) -> list[str]:
    """What asks the ssh of ``folder``, or runs ``command`` through it."""
    argv = ["ssh", *_NO_CONFIG, "-S", str(folder / "s"), *words]
    # The name of the host is not looked at: the control socket leads to the right one.
    return [*argv, "--", "macnet", *([] if command is None else [command])]


def _both_ends(port: int) -> str:
    return f"{LOOPBACK}:{port}:{LOOPBACK}:{port}"
