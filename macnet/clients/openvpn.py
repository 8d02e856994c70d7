"""The plain openvpn program as client: a daemon of ours, driven by its management socket.

The process belongs to root, since it makes an interface and sets routes. Its socket (mode 0777
in a directory of mode 0700) obeys only the user who started it, so that only the start needs
administrator rights.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import signal
import stat
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from macnet import host
from macnet.clients.base import Client, ClientState, ClientStatus, read_profile
from macnet.clients.management import Management, NotListening
from macnet.errors import ClientFailed, ClientMissing, MacnetError, PrivilegeError
from macnet.files import ensure_private_dir, remove_file, write_private
from macnet.paths import TunnelPaths
from macnet.privilege import run_as_root
from macnet.progress import Progress
from macnet.runner import CommandFailed, CommandRunner, Completed

#: Homebrew and MacPorts keep openvpn in sbin, which is not on everybody's PATH.
_PLACES = (
    "/opt/homebrew/sbin/openvpn",
    "/opt/homebrew/opt/openvpn/sbin/openvpn",
    "/usr/local/sbin/openvpn",
    "/usr/local/opt/openvpn/sbin/openvpn",
    "/opt/local/sbin/openvpn",
    "/opt/local/sbin/openvpn2",
    "/usr/sbin/openvpn",
)
_POLL_S = 0.1
_SLOW_POLL_S = 0.5
#: How long a started openvpn may take to open its socket, and an ended one to leave.
_APPEAR_S = 2.0
_LEAVE_S = 10.0

#: The log is kept while a connection is made, and shows that. After it openvpn writes only
#: fatal errors: to an engine that is off it tries to connect for days.
_VERBOSE, _QUIET = "verb 3", "verb 0"
#: Read at most this much of the end of a log, in bytes.
_TAIL_BYTES = 64 * 1024
_DETAIL_LINES = 20
_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (us=\d+ +)?")
#: Noise that every question of ours leaves in the log.
_MANAGEMENT = re.compile(r"^MANAGEMENT: (CMD|Client|>STATE)")
#: From the cause to its consequences: the first pattern found explains the most.
_REASONS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"AUTH_FAILED",
        r"^Options error:",
        r"VERIFY .*ERROR",
        r"certificate verify failed",
        r"Cannot (open|allocate) (TUN|utun)",
        r"(utun|tun).*(Permission denied|Operation not permitted)",
        r"Address already in use",
        r"tls-crypt.*(error|failed)|TLS key negotiation failed|TLS handshake failed",
        r"connect to .* failed|Connection refused|No route to host|Cannot resolve",
        r"^(ERROR|FATAL)\b|\bcannot\b|\bfailed\b",
    )
)


def find_program(runner: CommandRunner) -> str:
    """The path of openvpn. Raises `ClientMissing`."""
    if found := runner.find("openvpn", *_PLACES):
        return found
    raise ClientMissing(
        "openvpn is not installed",
        hint="install it with your package manager, for example `brew install openvpn`",
    )


class OpenVpnClient(Client):
    """Starts, asks and ends one openvpn process for one tunnel."""

    name = "openvpn"

    def __init__(
        self,
        paths: TunnelPaths,
        runner: CommandRunner,
        *,
        root: bool,
        user: str,
        terminal: bool | None = None,
    ) -> None:
        """``terminal`` tells whether sudo may ask for a password (default: stdin is one)."""
        self._paths = paths
        self._runner = runner
        self._root = root
        self._user = user
        self._terminal = sys.stdin.isatty() if terminal is None else terminal
        # One line: the process id, and the SHA-256 of the profile that this process has read.
        self._record = paths.root / "openvpn.profile"

    def require(self) -> None:
        """See `Client.require`."""
        find_program(self._runner)

    def version(self) -> str | None:
        """See `Client.version`."""
        try:
            # openvpn before 2.6 ends `--version` with status 1.
            done = self._runner.run([find_program(self._runner), "--version"], check=False)
        except (ClientMissing, CommandFailed):
            return None
        found = re.search(r"^OpenVPN (\S+)", done.stdout, re.MULTILINE)
        return found[1] if found else None

    def status(self) -> ClientStatus:
        """See `Client.status`."""
        try:
            with self._management() as management:
                state = management.state()
                pid = management.pid()
        except NotListening:
            return ClientStatus(ClientState.DISCONNECTED, "not running")
        except ClientFailed as error:
            return ClientStatus(ClientState.UNKNOWN, error.message)
        if state.name == "EXITING":
            return ClientStatus(ClientState.DISCONNECTED, state.name)
        current = self._is_current(pid)
        if state.name != "CONNECTED":
            return ClientStatus(ClientState.CONNECTING, state.name or "STARTING", current=current)
        interface = None
        if state.address is not None:
            interface = host.find_interface(state.address, host.list_interfaces())
        return ClientStatus(ClientState.CONNECTED, state.name, state.address, interface, current)

    def connect(self, progress: Progress, *, timeout_s: float) -> bool:
        """See `Client.connect`.

        A process that has read the present profile is waited for, not replaced: a server that
        has just been restarted is found again without administrator rights. To read another
        profile takes another process, as `_command_line` explains.
        """
        program = find_program(self._runner)
        profile = read_profile(self._paths.profile)
        pid = self._running_pid()
        if pid is not None and self._is_current(pid):
            if self.status().state is ClientState.CONNECTED or self._comes_back(
                progress, timeout_s
            ):
                return False
        elif pid is not None:
            self._end(pid)
        self._start(program, profile, progress, timeout_s)
        return True

    def disconnect(self, progress: Progress) -> bool:
        """See `Client.disconnect`. openvpn itself deletes its socket and its pid file."""
        pid = self._running_pid()
        if pid is not None:
            self._end(pid)
        return self.kill_orphans(progress) or pid is not None

    def kill_orphans(self, progress: Progress) -> bool:
        """See `Client.kill_orphans`. Their command line tells that they are ours."""
        answering = self._running_pid()
        pids = [pid for pid in self._processes() if pid != answering]
        if not pids:
            return False
        words = ", ".join(map(str, pids))
        progress.warn(
            f"stopping a leftover openvpn (pid {words}) of this tunnel: its control socket is gone"
        )
        self._kill(pids, progress)
        return True

    def _kill(self, pids: Sequence[int], progress: Progress) -> None:
        """End processes of ours, as root, and wait for their end."""
        if not pids:
            return
        words = [str(pid) for pid in pids]
        done = self._run_as_root(["kill", *words], progress)
        deadline = time.monotonic() + _LEAVE_S
        while any(host.is_process_alive(pid) for pid in pids):
            if time.monotonic() > deadline:
                raise ClientFailed(
                    f"openvpn (pid {', '.join(words)}) does not end",
                    hint=f"end it: sudo kill -9 {' '.join(words)}",
                    detail=done.stderr.strip() or None,
                )
            time.sleep(_POLL_S / 2)

    def _command_line(self, program: str) -> list[str]:
        """The command line. It carries no secrets: those are in the profile, mode 0600.

        The profile comes on standard input, so that root reads it once: a process that obeys a
        SIGHUP by reading a file of the user's again would be a way to become root. The log
        comes first, so that an error in the profile goes there too; what the profile must not
        change comes after it. Script level 1 lets openvpn call ifconfig and route, and nothing
        else.
        """
        paths = self._paths
        argv = [program, "--cd", str(paths.root), "--log-append", str(paths.client_log)]
        argv += ["--config", "stdin", "--daemon", "macnet"]
        argv += ["--writepid", str(paths.client_pid), "--script-security", "1"]
        argv += ["--management", str(paths.client_socket), "unix"]
        if not self._root:
            argv += ["--management-client-user", self._user]
        return argv

    def _start(self, program: str, profile: bytes, progress: Progress, timeout_s: float) -> None:
        """Start a process and wait for its connection. None answers on the socket now."""
        # One that has lost its socket would compete with the new one for the connection.
        self.kill_orphans(progress)
        self._check_socket_folder()
        ensure_private_dir(self._paths.client_socket.parent)
        for path in (self._paths.client_socket, self._record, self._paths.client_log):
            remove_file(path)
        # Made here, so that it is the user's; openvpn, as root, appends to it.
        write_private(self._paths.client_log, b"")
        try:
            done = self._run_as_root(self._command_line(program), progress, stdin=profile)
            if not done.ok:
                lines = read_log(self._paths.client_log)
                if not lines and not self._root:
                    raise PrivilegeError(
                        "sudo did not start openvpn",
                        hint="run the same command again and give your password; "
                        "your user must be an administrator",
                        detail=done.stderr.strip() or None,
                    )
                lines = lines or (done.stderr or done.stdout).splitlines()
                raise self._failure("openvpn did not start", lines)
            connected = self._wait_connected(progress, timeout_s, _APPEAR_S)
            pid = self._running_pid() if connected else None
            if pid is None:
                raise self._failure("openvpn ended", read_log(self._paths.client_log))
            write_private(self._record, f"{pid} {hashlib.sha256(profile).hexdigest()}\n".encode())
        except BaseException:
            # Also on Ctrl-C: a process that has only half started must not stay.
            self._abandon(progress)
            raise

    def _abandon(self, progress: Progress) -> None:
        """End a process that may be too young or too busy to answer; only warns if that fails.

        While openvpn waits for a TCP connection it may not answer for some seconds.
        """
        deadline = time.monotonic() + _LEAVE_S
        try:
            while time.monotonic() < deadline:
                with suppress(ClientFailed):
                    pid = self._running_pid()
                    if pid is not None:
                        self._end(pid)
                    if not self._processes():
                        return
                time.sleep(_POLL_S)
            self._kill(self._processes(), progress)
        except MacnetError as error:
            progress.warn(f"{error.message}; {error.hint}")

    def _comes_back(self, progress: Progress, timeout_s: float) -> bool:
        """Wait until the running process is connected again; False if it ended."""
        # The reason, if there is one, is in what it writes from now on.
        with suppress(OSError):
            os.truncate(self._paths.client_log, 0)
        self._set_verbosity(_VERBOSE)
        return self._wait_connected(progress, timeout_s, 0.0)

    def _wait_connected(self, progress: Progress, timeout_s: float, appear_s: float) -> bool:
        """Wait for the connection; False if the process ended, or did not open its socket."""
        begin = time.monotonic()
        answered = False
        poll_s = _POLL_S
        told = ""
        while (elapsed_s := time.monotonic() - begin) < timeout_s:
            try:
                with self._management() as management:
                    state = management.state().name
                answered = True
                if state == "CONNECTED":
                    self._set_verbosity(_QUIET)
                    return True
                if state != told:
                    told = state
                    progress.detail(f"openvpn says {state.replace('_', ' ').lower()}")
            except NotListening:
                if answered or elapsed_s >= appear_s:
                    return False
            except ClientFailed:
                pass  # busy with somebody else's question, or ending: the next round tells
            time.sleep(poll_s)
            # Each question leaves lines in the log.
            poll_s = min(poll_s * 1.1, _SLOW_POLL_S)
        self._set_verbosity(_QUIET)
        raise self._failure(
            f"openvpn did not connect within {timeout_s:g} s", read_log(self._paths.client_log)
        )

    def _set_verbosity(self, command: str) -> None:
        # It answers now or is on its way out; neither is worth an error.
        with suppress(ClientFailed), self._management() as management:
            management.ask(command)

    def _failure(self, message: str, lines: list[str]) -> ClientFailed:
        reason = find_reason(lines)
        return ClientFailed(
            f"{message}: {reason}" if reason else message,
            hint=f"its log is {self._paths.client_log}",
            detail="\n".join(lines[-_DETAIL_LINES:]) or None,
        )

    def _end(self, pid: int) -> None:
        """End the process that has just answered with ``pid``, and wait for its end."""
        with suppress(NotListening), self._management() as management:
            management.signal("SIGTERM")
        deadline = time.monotonic() + _LEAVE_S
        while host.is_process_alive(pid):
            if time.monotonic() > deadline:
                if not self._root:
                    raise ClientFailed(
                        f"openvpn (pid {pid}) does not end", hint=f"end it: sudo kill -9 {pid}"
                    )
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                return
            time.sleep(_POLL_S / 2)

    def _management(self) -> Management:
        self._check_socket_folder()
        return Management(self._paths.client_socket)

    def _check_socket_folder(self) -> None:
        """Raise `ClientFailed` where others could serve our socket; it may be in /tmp."""
        folder = self._paths.client_socket.parent
        if folder == self._paths.root:
            return
        try:
            found = folder.lstat()
        except OSError:
            return  # nothing listens there then
        if (
            not stat.S_ISDIR(found.st_mode)
            or found.st_uid != os.geteuid()
            or stat.S_IMODE(found.st_mode) != 0o700
        ):
            raise ClientFailed(
                f"{folder} is not a directory of yours alone, so macnet puts no socket there",
                hint=f"see who made it with `ls -ld {folder}`, and remove it",
            )

    def _running_pid(self) -> int | None:
        """The process that answers on our socket: certainly ours. None if none does.

        Raises `ClientFailed` where it does not answer.
        """
        try:
            with self._management() as management:
                return management.pid()
        except NotListening:
            return None

    def _is_current(self, pid: int) -> bool:
        """Whether the process ``pid`` has read exactly the stored profile."""
        try:
            digest = hashlib.sha256(self._paths.profile.read_bytes()).hexdigest()
            return self._record.read_text(encoding="ascii").split() == [str(pid), digest]
        except (OSError, ValueError):
            return False

    def _processes(self) -> list[int]:
        """The processes that were started with our socket, root's too: ps may see them."""
        try:
            # macOS and Linux know these words; -ww keeps lines whole.
            done = self._runner.run(["ps", "-axww", "-o", "pid=,args="], check=False)
        except CommandFailed:
            return []
        ours = f" --management {self._paths.client_socket} unix"
        lines = (line.strip().partition(" ") for line in done.stdout.splitlines())
        return [int(pid) for pid, _, argv in lines if ours in argv and pid.isdigit()]

    def _run_as_root(
        self, argv: Sequence[str], progress: Progress, *, stdin: bytes | None = None
    ) -> Completed:
        """See `macnet.privilege.run_as_root`; raises `ClientFailed` where it cannot run."""
        given = "" if stdin is None else f" < {shlex.quote(str(self._paths.profile))}"
        try:
            return run_as_root(
                argv,
                runner=self._runner,
                progress=progress,
                root=self._root,
                terminal=self._terminal,
                who="openvpn",
                shown=f"{shlex.join(['sudo', *argv])}{given}",
                stdin=None if stdin is None else stdin.decode(errors="replace"),
            )
        except CommandFailed as error:
            raise ClientFailed(f"cannot start {argv[0]}: {error}") from error


def read_log(path: Path) -> list[str]:
    """The last lines of openvpn's log, without what our questions left; [] if unreadable."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not _MANAGEMENT.match(_TIMESTAMP.sub("", line))]


def find_reason(lines: list[str]) -> str | None:
    """The line (without its time) that best tells why openvpn failed, or None if empty."""
    messages = [_TIMESTAMP.sub("", line) for line in lines]
    for pattern in _REASONS:
        # The newest one: an older failure may be over.
        for message in reversed(messages):
            if pattern.search(message):
                return message
    return messages[-1] if messages else None
