"""The plain openvpn program as client: a daemon of ours, driven by its management socket."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from macnet import host
from macnet.clients.base import ClientState, ClientStatus
from macnet.clients.management import MAX_SOCKET_PATH, Management, NotListening
from macnet.clients.openvpn_command import command_line, find_program, program_version
from macnet.clients.openvpn_log import find_reason, read_log, truncate_log
from macnet.clients.privilege import run_as_root
from macnet.clients.profile_record import ProfileRecord, digest_of
from macnet.clients.strays import end_strays
from macnet.errors import ClientFailed, MacnetError, PrivilegeError
from macnet.paths import TunnelPaths
from macnet.progress import Progress
from macnet.runner import CommandRunner

_POLL_S = 0.1
_SLOW_POLL_S = 0.5
#: How long a started openvpn may take to open its socket, and an ended one to leave.
_APPEAR_S = 2.0
_LEAVE_S = 10.0
_DETAIL_LINES = 20


class OpenVpnClient:
    """Starts, asks and ends one openvpn process for one tunnel.

    The process belongs to root; its socket (mode 0777 in a 0700 directory) obeys only ``user``.
    So only the start needs administrator rights.
    """

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
        self._record = ProfileRecord(paths.client_pid.with_name("openvpn.profile"))
        self._terminal = sys.stdin.isatty() if terminal is None else terminal

    def require(self) -> None:
        """See `Client.require`."""
        find_program(self._runner)

    def version(self) -> str | None:
        """See `Client.version`."""
        return program_version(self._runner)

    def is_current(self, profile: Path) -> bool:
        """Whether the running process has read exactly these bytes; False if none runs."""
        try:
            pid = self._running_pid()
            return pid is not None and self._record.matches(pid, digest_of(profile))
        except ClientFailed:
            return False

    def install(self, profile: Path, progress: Progress) -> bool:
        """Nothing to do for the tunnel's own profile, which openvpn reads at its start."""
        if profile == self._paths.profile:
            return False
        raise ClientFailed(f"openvpn uses {self._paths.profile}, not {profile}")

    def connect(self, progress: Progress, *, timeout_s: float) -> bool:
        """See `Client.connect`. On failure no process is left that was not there before."""
        program = find_program(self._runner)
        if self._running_pid() is None:
            self._start(program, progress, timeout_s)
            return True
        if self.status().state is ClientState.CONNECTED and self.is_current(self._paths.profile):
            return False
        self.reconnect(progress, timeout_s=timeout_s)
        return True

    def reconnect(self, progress: Progress, *, timeout_s: float) -> None:
        """See `Client.reconnect`. Another process takes its place, as `command_line` tells why."""
        program = find_program(self._runner)
        self.disconnect(progress)
        self._start(program, progress, timeout_s)

    def disconnect(self, progress: Progress) -> bool:
        """See `Client.disconnect`."""
        pid = self._running_pid()
        if pid is not None:
            self._end(pid)
        self._clean_up()
        return pid is not None

    def sweep(self, progress: Progress) -> bool:
        """See `Client.sweep`."""
        return self._end_strays(progress, spare=self._running_pid())

    def _end_strays(self, progress: Progress, *, spare: int | None) -> bool:
        return end_strays(
            self._paths.client_socket,
            spare=spare,
            runner=self._runner,
            root=self._root,
            terminal=self._terminal,
            progress=progress,
            timeout_s=_LEAVE_S,
        )

    def status(self) -> ClientStatus:
        """See `Client.status`."""
        try:
            with Management(self._paths.client_socket) as management:
                state = management.state()
        except NotListening:
            return ClientStatus(ClientState.DISCONNECTED, "not running")
        except ClientFailed as error:
            return ClientStatus(ClientState.UNKNOWN, error.message)
        if state.name == "EXITING":
            return ClientStatus(ClientState.DISCONNECTED, state.name)
        if state.name != "CONNECTED":
            return ClientStatus(ClientState.CONNECTING, state.name or "STARTING")
        interface = None
        if state.address is not None:
            interface = host.find_interface(state.address, host.list_interfaces())
        return ClientStatus(ClientState.CONNECTED, state.name, state.address, interface)

    def remove(self, progress: Progress) -> bool:
        """See `Client.remove`."""
        changed = self.disconnect(progress) or self._paths.client_log.exists()
        self._paths.client_log.unlink(missing_ok=True)
        return changed

    def leftover(self, *, purge: bool) -> tuple[str, ...]:
        """Nothing: the profile is the tunnel's own file."""
        return ()

    def _running_pid(self) -> int | None:
        """The process that answers on our socket: certainly ours. None if none does.

        Raises `ClientFailed` where the path is too long or the process does not answer.
        """
        length = len(os.fsencode(self._paths.client_socket))
        if length > MAX_SOCKET_PATH:
            raise ClientFailed(
                f"the path of the management socket has {length} bytes, "
                f"the system allows {MAX_SOCKET_PATH}: {self._paths.client_socket}",
                hint="set MACNET_HOME to a shorter path",
            )
        try:
            with Management(self._paths.client_socket) as management:
                return management.pid()
        except NotListening:
            return None

    def _start(self, program: str, progress: Progress, timeout_s: float) -> None:
        self._clean_up()
        digest = digest_of(self._paths.profile)
        truncate_log(self._paths.client_log)
        try:
            done = run_as_root(
                command_line(program, self._paths, user=None if self._root else self._user),
                runner=self._runner,
                root=self._root,
                terminal=self._terminal,
                progress=progress,
                stdin=self._paths.profile,
            )
            if not done.ok:
                lines = read_log(self._paths.client_log)
                if not lines and not self._root:
                    raise PrivilegeError("sudo did not start openvpn", detail=done.stderr.strip())
                lines = lines or (done.stderr or done.stdout).splitlines()
                raise self._failure("openvpn did not start", lines)
            self._wait_connected(timeout_s)
            pid = self._running_pid()
            if pid is None:
                raise self._failure("openvpn ended", read_log(self._paths.client_log))
            self._record.write(pid, digest)
        except BaseException:
            # Also on Ctrl-C: what has only half started must not stay.
            self._abandon(progress)
            raise

    def _abandon(self, progress: Progress) -> None:
        """End a process that may be too young or too busy to answer; only warns if that fails."""
        deadline = time.monotonic() + _APPEAR_S
        while time.monotonic() < deadline:
            with suppress(ClientFailed):
                self.disconnect(progress)
                break
            time.sleep(_POLL_S)
        try:
            self._end_strays(progress, spare=None)
        except MacnetError as error:
            progress.warn(f"{error.message}; {error.hint}")

    def _wait_connected(self, timeout_s: float) -> None:
        begin = time.monotonic()
        answered = False
        poll_s = _POLL_S
        while (elapsed_s := time.monotonic() - begin) < timeout_s:
            try:
                with Management(self._paths.client_socket) as management:
                    state = management.state()
                answered = True
                if state.name == "CONNECTED":
                    return
            except NotListening:
                if answered or elapsed_s > _APPEAR_S:
                    lines = read_log(self._paths.client_log)
                    raise self._failure("openvpn ended", lines) from None
            except ClientFailed:
                pass  # busy with somebody else's question, or ending: the next round tells
            time.sleep(poll_s)
            # Each question leaves lines in the log.
            poll_s = min(poll_s * 1.1, _SLOW_POLL_S)
        raise self._failure(
            f"openvpn did not connect within {timeout_s:g} s", read_log(self._paths.client_log)
        )

    def _failure(self, message: str, lines: list[str]) -> ClientFailed:
        reason = find_reason(lines)
        return ClientFailed(
            f"{message}: {reason}" if reason else message,
            hint=f"its log is {self._paths.client_log}",
            detail="\n".join(lines[-_DETAIL_LINES:]) or None,
        )

    def _end(self, pid: int) -> None:
        """End the process that has just answered with ``pid``, and wait for its end."""
        with Management(self._paths.client_socket) as management:
            management.signal("SIGTERM")
        deadline = time.monotonic() + _LEAVE_S
        while host.is_process_alive(pid):
            if time.monotonic() > deadline:
                if not self._root:
                    raise ClientFailed(
                        f"openvpn (pid {pid}) does not end", hint=f"end it: sudo kill -9 {pid}"
                    )
                os.kill(pid, signal.SIGKILL)
                return
            time.sleep(_POLL_S / 2)

    def _clean_up(self) -> None:
        """Delete what an ended process left. Refuses while one runs that cannot be asked."""
        try:
            pid = int(self._paths.client_pid.read_text(encoding="ascii"))
        except (OSError, ValueError):
            pid = 0
        if pid and host.is_process_alive(pid) and host.process_name(pid) == "openvpn":
            raise ClientFailed(
                f"an openvpn (pid {pid}) runs, but its management socket does not answer",
                hint=f"end it (sudo kill {pid}) or, if it is not macnet's, "
                f"delete {self._paths.client_pid}",
            )
        self._paths.client_pid.unlink(missing_ok=True)
        self._paths.client_socket.unlink(missing_ok=True)
        self._record.clear()
