"""The stand-in's model of the application: imports, states, and real openvpn processes."""

from __future__ import annotations

import contextlib
import json
import os
import plistlib
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lab.process import ProcessId, run

from .behaviour import Places
from .management import ask_state
from .rules import Refused, read_bundle

_DISCONNECTING_S = 0.4
"""How long the state DISCONNECTING can be seen at least."""


class AppleError(Exception):
    """An error as osascript reports it: only the number is of use."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number
        self.message = message


NO_CONSENT = AppleError(-1743, "Not authorized to send Apple events to Tunnelblick.")
TIMED_OUT = AppleError(-1712, "Tunnelblick got an error: AppleEvent timed out.")
NOT_RUNNING = AppleError(-600, "Application isn't running.")
HAS_QUIT = AppleError(-609, "Tunnelblick got an error: Connection is invalid.")


class Application:
    """One answer to one Apple event; what lasts is in files."""

    def __init__(self, places: Places, home: Path) -> None:
        self.places = places
        self.behaviour = places.read_behaviour()
        self.private = home / "Library/Application Support/Tunnelblick/Configurations"
        try:
            self.state: dict[str, Any] = json.loads(places.state.read_text())
        except FileNotFoundError:
            self.state = {"running": False, "connections": {}}

    def save(self) -> None:
        """Keep the state for the next event."""
        self.places.state.write_text(json.dumps(self.state))

    def configurations(self) -> str:
        """Whether it runs, and each configuration's state."""
        if not self.state["running"]:
            return "not running"
        self._allow()
        states = self._others()
        for bundle in self._bundles():
            states[bundle.stem] = self.state_of(bundle.stem)
        rows = sorted(states.items(), key=lambda row: row[0].lower())
        return "\n".join(["running", *(f"{state}\t{name}" for name, state in rows)])

    def launch(self) -> str:
        """Start; `launch` needs no consent."""
        self.state["running"] = self.behaviour.launches
        self.save()
        return ""

    def connect(self, name: str) -> str:
        """Start openvpn on the installed copy."""
        self._open("connect")
        if not (self.private / f"{name}.tblk").is_dir():
            return "false"
        state = self.state_of(name)
        if state == "CONNECTED":
            return "false"
        asks = any(state != "EXITING" for state in self._others().values())
        if asks and not self.behaviour.confirms_others:
            raise TIMED_OUT
        if state == "DISCONNECTING":
            self._wait_gone(name)
            state = "EXITING"
        if state == "EXITING":
            self._start(name)
        return "true"

    def disconnect(self, name: str) -> str:
        """Ask openvpn to end; does not wait."""
        self._open("disconnect")
        if self.state_of(name) in ("EXITING", "DISCONNECTING"):
            return "false"
        connection = self.state["connections"][name]
        if "pid" not in connection:
            del self.state["connections"][name]
            self.save()
            return "true"
        connection["left"] = time.time()
        self.save()
        with contextlib.suppress(ProcessLookupError):
            os.kill(connection["pid"], signal.SIGTERM)
        return "true"

    def install(self, path: str) -> str:
        """Import a bundle; a refusal is "false" and a line in the log."""
        self._open("install")
        bundle = Path(path)
        try:
            if not bundle.is_absolute() or bundle.suffix != ".tblk":
                raise Refused(f"not the path of a .tblk: {path}")
            wanted = read_bundle(bundle)
            if bundle.stem in self.behaviour.shared:
                raise Refused(f"{bundle.stem} is shared")
            time.sleep(self.behaviour.install_s)
            if not self.behaviour.password:
                raise Refused("the user cancelled")
        except Refused as error:
            self._log(error)
            return "false"
        if not self.behaviour.keeps_copy:
            return "true"
        target = self._find(wanted.identifier) or self.private / bundle.name
        name = target.stem
        connected = self.state_of(name) != "EXITING"
        if connected and not self.behaviour.replaces_connected:
            # It waits on its main thread for a disconnect that the main thread would have to do,
            # finds that out, and terminates (VPNConnection.m, waitUntilCompletelyDisconnected).
            self.quit()
            raise HAS_QUIT
        if connected:
            self.disconnect(name)
            self._wait_gone(name)
        _copy(bundle, target, wanted.profile, 0o750, 0o740)
        _copy(bundle, self.places.shadow / target.name, wanted.profile, 0o755, 0o700)
        if connected:
            self._start(name)
        return "true"

    def open(self, path: str) -> str:
        """What ``open BUNDLE`` hands over: here a bundle that uninstalls. Errors are dialogs."""
        self.launch()
        bundle = Path(path)
        try:
            wanted = read_bundle(bundle)
            if not wanted.uninstalls:
                raise Refused("it asks for whom to install it")
            installed = self._find(wanted.identifier)
            if installed is None:
                raise Refused(f"{wanted.identifier} is not installed")
            if not self.behaviour.password:
                raise Refused("the user cancelled")
        except Refused as error:
            self._log(error)
            return ""
        for folder in (installed, self.places.shadow / installed.name):
            shutil.rmtree(folder)
        return ""

    def quit(self) -> None:
        """End, and with it every connection, the user's others too."""
        for connection in self.state["connections"].values():
            if "pid" in connection and _alive(connection):
                os.kill(connection["pid"], signal.SIGTERM)
        self.state = {"running": False, "connections": {}, "dropped": True}
        self.save()

    def state_of(self, name: str) -> str:
        """The state of one configuration: openvpn's own word for it."""
        connection = self.state["connections"].get(name)
        if connection is None:
            return "EXITING"
        if "pid" not in connection:
            if not self.behaviour.online:
                return "NETWORK_ACCESS"
            self._start(name)
            return self.state_of(name)
        alive = _alive(connection)
        if "left" in connection:
            if alive or time.time() - connection["left"] < _DISCONNECTING_S:
                return "DISCONNECTING"
        elif alive:
            return self.behaviour.stuck or ask_state(Path(connection["management"]))
        del self.state["connections"][name]
        self.save()
        return "EXITING"

    def _open(self, command: str) -> None:
        """What `tell application` does first: consent, start, and then the wait for an answer."""
        self._allow()
        if not self.state["running"]:
            self.launch()
        if not self.state["running"]:
            raise NOT_RUNNING
        if command in self.behaviour.silent:
            raise TIMED_OUT

    def _allow(self) -> None:
        if not self.behaviour.consent:
            raise NO_CONSENT

    def _others(self) -> dict[str, str]:
        """The user's other configurations; none is connected once the application has quit."""
        others = dict(self.behaviour.others)
        return dict.fromkeys(others, "EXITING") if self.state.get("dropped") else others

    def _log(self, why: Refused) -> None:
        with self.places.log.open("a") as log:
            log.write(f"{why}\n")

    def _bundles(self) -> Iterator[Path]:
        return self.private.glob("*.tblk")

    def _find(self, identifier: str) -> Path | None:
        for bundle in self._bundles():
            plist = plistlib.loads((bundle / "Contents/Info.plist").read_bytes())
            if plist.get("CFBundleIdentifier", "").lower() == identifier:
                return bundle
        return None

    def _start(self, name: str) -> None:
        """As Tunnelblick starts it (tunnelblick-helper.m), but with a socket file to ask it."""
        part = Path(f"{name}.tblk/Contents/Resources/config.ovpn")
        config = self.places.shadow / part
        if not config.exists() or config.read_bytes() != (self.private / part).read_bytes():
            # "has been modified since it was last secured": a modal question.
            raise TIMED_OUT
        if not self.behaviour.online:
            # VPNConnection.m waits for a route to 0.0.0.0 before it starts openvpn.
            self.state["connections"][name] = {}
            self.save()
            return
        management = self.places.root / f"{name}.sock"
        management.unlink(missing_ok=True)
        pid_file = self.places.root / f"{name}.pid"
        run(
            [
                *("openvpn", "--daemon", "--log-append", self.places.root / f"{name}.log"),
                *("--cd", config.parent, "--machine-readable-output"),
                *("--setenv", "IV_GUI_VER", "net.tunnelblick.tunnelblick_9_8.0.3"),
                *("--config", config, "--writepid", pid_file),
                *("--management", management, "unix", "--script-security", "2"),
            ]
        )
        deadline = time.monotonic() + 5
        while not pid_file.exists() or not pid_file.read_text().strip():
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)
        pid = int(pid_file.read_text())
        pid_file.unlink()
        known = ProcessId.of(pid)
        if known is not None:
            self.state["connections"][name] = {
                "pid": pid,
                "start": known.start,
                "management": str(management),
            }
        self.save()

    def _wait_gone(self, name: str) -> None:
        deadline = time.monotonic() + 15
        while self.state_of(name) != "EXITING" and time.monotonic() < deadline:
            time.sleep(0.05)


def _alive(connection: dict[str, Any]) -> bool:
    return ProcessId(connection["pid"], connection["start"]).alive()


def _copy(bundle: Path, target: Path, profile: bytes, folder: int, file: int) -> None:
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(bundle, target)
    (target / "Contents/Resources/config.ovpn").write_bytes(profile)
    for path in (target, *target.rglob("*")):
        path.chmod(folder if path.is_dir() else file)
