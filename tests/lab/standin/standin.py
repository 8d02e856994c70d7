"""Puts the stand-in into a lab and takes it out again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import plistlib
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.lab.lab import Lab
from tests.lab.paths import state_root
from tests.lab.process import Completed, ProcessId

from .behaviour import Behaviour, Places

_CHECKOUT = Path(__file__).parents[3]
_APPLICATIONS = Path("/Applications")
_PROGRAMS = ("osascript", "open")


class Standin:
    """Tunnelblick on the Mac side of one lab, as long as this object is in use.

    The application has to be in /Applications. Commands that `run` starts see the stand-in's folder
    there, in a mount namespace of their own; the rest of the machine sees an empty folder.
    """

    def __init__(self, lab: Lab, version: str = "8.0.3") -> None:
        self.lab = lab
        self.places = Places(lab.paths.home / "standin")
        self.version = version
        self._folder = contextlib.ExitStack()

    def __enter__(self) -> Standin:
        self.places.applications.mkdir(parents=True, exist_ok=True)
        self.behave()
        self.install_app()
        self._folder.enter_context(_applications())
        path = shlex.quote(str(_CHECKOUT))
        for program in _PROGRAMS:
            words = [sys.executable, "-P", "-m", "tests.lab.standin.osascript", program]
            call = shlex.join([*words, str(self.places.root)])
            wrapper = self.lab.paths.bin / program
            wrapper.write_text(f'#!/bin/sh\nPYTHONPATH={path} exec {call} "$@"\n')
            wrapper.chmod(0o755)
        return self

    def __exit__(self, *_: object) -> None:
        self.end_connections()
        for program in _PROGRAMS:
            (self.lab.paths.bin / program).unlink(missing_ok=True)
        shutil.rmtree(self.places.root, ignore_errors=True)
        shutil.rmtree(self.user_folder, ignore_errors=True)
        self._folder.close()

    @property
    def user_folder(self) -> Path:
        """Tunnelblick's folder in the user's Library."""
        return self.lab.paths.mac_user / "Library/Application Support/Tunnelblick"

    @property
    def private(self) -> Path:
        """The user's configurations."""
        return self.user_folder / "Configurations"

    def install_app(self, version: str | None = None) -> None:
        """Put the application into /Applications."""
        plist = self.places.app / "Contents/Info.plist"
        plist.parent.mkdir(parents=True, exist_ok=True)
        shown = f"{version or self.version} (build 6280)"
        plist.write_bytes(plistlib.dumps({"CFBundleShortVersionString": shown}))

    def remove_app(self) -> None:
        """Take it away."""
        shutil.rmtree(self.places.app)

    def behave(self, wanted: Behaviour | None = None) -> None:
        """Behave like this from now on; well, if nothing is said."""
        self.places.write_behaviour(wanted or Behaviour())

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = 120,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run a command on the Mac side, with the application in place."""
        # Not even the mount of the folder's parent may spread.
        script = 'mount --bind "$0" /Applications && exec "$@"'
        words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        return self.lab.run(
            [*words, str(self.places.applications), *argv],
            check=check,
            timeout_s=timeout_s,
            # What macnet leaves in the temporary folder goes away with the stand-in.
            env={"TMPDIR": str(self.places.root), **(env or {})},
        )

    def history(self, *commands: str) -> list[list[str]]:
        """The scripts that were run: command, arguments, answer; only these commands, if any."""
        try:
            lines = self.places.history.read_text().splitlines()
        except FileNotFoundError:
            return []
        rows: list[list[str]] = [json.loads(line) for line in lines]
        return [row for row in rows if not commands or row[0] in commands]

    def forget_history(self) -> None:
        """Begin a new history."""
        self.places.history.unlink(missing_ok=True)

    def log(self) -> str:
        """Why it refused imports."""
        return self.places.log.read_text() if self.places.log.exists() else ""

    def quit(self) -> None:
        """What the user does by "Quit Tunnelblick": ends its connections too."""
        self.end_connections()
        self.places.state.unlink(missing_ok=True)

    def rename(self, name: str, new: str) -> None:
        """What the user does by "Rename Configuration"."""
        for folder in (self.private, self.places.shadow):
            (folder / f"{name}.tblk").rename(folder / f"{new}.tblk")

    def end_connections(self) -> None:
        """Kill the openvpn processes that it has started."""
        for connection in self._connections():
            if "pid" not in connection:
                continue
            known = ProcessId(connection["pid"], connection["start"])
            if known.alive():
                os.kill(known.pid, signal.SIGTERM)
                known.wait_gone(10)

    def _connections(self) -> list[dict[str, Any]]:
        try:
            state = json.loads(self.places.state.read_text())
        except FileNotFoundError:
            return []
        return list(state["connections"].values())


@contextlib.contextmanager
def _applications() -> Iterator[None]:
    """The folder is there while the block runs; the last of all labs takes it away again.

    Who removed it while another lab has its own mounted there would end that mount. The lock file
    says whether a lab has made the folder.
    """
    with (state_root() / "applications.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            _APPLICATIONS.mkdir()
        except FileExistsError:
            pass
        else:
            lock.write("made\n")
            lock.flush()
        try:
            yield
        finally:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock.seek(0)
                if lock.read():
                    _APPLICATIONS.rmdir()
                    lock.truncate(0)
