"""A Tunnelblick in this process: answers osascript by the stand-in's own texts and rules."""

from __future__ import annotations

import plistlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from macnet.clients.tunnelblick_bundle import TunnelblickPlaces
from macnet.runner import DEFAULT_TIMEOUT_S, CommandFailed, Completed
from tests.lab.standin.rules import Refused, read_bundle
from tests.lab.standin.scripts import ARGUMENTS, recognise

PROFILE = "client\ndev tun\nremote 127.0.0.1 13194\n"
CONNECTING = ["SLEEP", "TCP_CONNECT", "AUTH", "CONNECTED"]


class Quits(Exception):
    """Tunnelblick ends while it is asked."""


class FakeTunnelblick:
    """A `CommandRunner`. Each look at a configuration moves it one state on.

    ``fails`` maps a command to the error number with which it ends, ``path`` holds the states
    that a connect goes through, the last of which stays. Like the real one it quits when a
    configuration is replaced that is not disconnected, and waits for ever where there is no
    network (``offline``).
    """

    def __init__(self, root: Path) -> None:
        self.places = TunnelblickPlaces(
            private=root / "private", app=root / "Tunnelblick.app", shared=root / "shared"
        )
        self.running = True
        self.starts = True
        self.states: dict[str, list[str]] = {}
        self.path = list(CONNECTING)
        self.fails: dict[str, int] = {}
        self.hangs: set[str] = set()
        self.takes = True
        self.keeps = True
        self.slow_start = 0
        self.offline = False
        self.calls: list[tuple[str, ...]] = []
        self.timeouts: dict[str, float] = {}
        self.set_app("8.0.3")

    def set_app(self, version: str) -> None:
        plist = self.places.app / "Contents/Info.plist"
        plist.parent.mkdir(parents=True, exist_ok=True)
        plist.write_bytes(plistlib.dumps({"CFBundleShortVersionString": f"{version} (build 1)"}))

    def commands(self, *names: str) -> list[tuple[str, ...]]:
        return [call for call in self.calls if call[0] in names]

    def find(self, program: str, *places: str) -> str | None:
        return "/usr/bin/osascript" if program == "osascript" else None

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        stdin: str | None = None,
        interactive: bool = False,
    ) -> Completed:
        assert list(argv[:2]) == ["/usr/bin/osascript", "-e"]
        assert not check
        command = recognise(argv[2])
        assert command is not None, argv[2]
        arguments = tuple(argv[3:])
        assert len(arguments) == ARGUMENTS[command]
        self.calls.append((command, *arguments))
        self.timeouts[command] = timeout_s
        if command in self.hangs:
            raise CommandFailed(argv, f"did not end within {timeout_s:g} s")
        number = self.fails.get(command, 0)
        if not number:
            try:
                return Completed(tuple(argv), 0, getattr(self, command)(*arguments) + "\n", "")
            except Quits:
                number = -609
        error = f"12:30: execution error: Tunnelblick got an error ({number})\n"
        return Completed(tuple(argv), 1, "", error)

    def configurations(self) -> str:
        if not self.running:
            return "not running"
        if self.slow_start:
            self.slow_start -= 1
            return "running"
        rows = ["running"]
        for name, states in self.states.items():
            rows.append(f"{states[0]}\t{name}")
            if len(states) > 1:
                states.pop(0)
        return "\n".join(rows)

    def launch(self) -> str:
        self.running = self.starts
        return ""

    def connect(self, name: str) -> str:
        state = self.states.get(name, ["CONNECTED"])[0]
        if state == "CONNECTED":
            return "false"
        if state in ("EXITING", "DISCONNECTING"):
            path = ["NETWORK_ACCESS"] if self.offline else list(self.path)
            self.states[name] = path if state == "EXITING" else [state, *path]
        return "true"

    def disconnect(self, name: str) -> str:
        if self.states.get(name, ["EXITING"])[0] == "EXITING":
            return "false"
        self.states[name] = ["DISCONNECTING", "EXITING"]
        return "true"

    def install(self, path: str) -> str:
        bundle = Path(path)
        try:
            wanted = read_bundle(bundle)
        except Refused:
            return "false"
        if not self.takes:
            return "false"
        if self.keeps:
            found = [
                old
                for old in self.places.private.glob("*.tblk")
                if plistlib.loads((old / "Contents/Info.plist").read_bytes())["CFBundleIdentifier"]
                == wanted.identifier
            ]
            target = found[0] if found else self.places.private / bundle.name
            if self.states.get(target.stem, ["EXITING"])[0] != "EXITING":
                self.quit()
                raise Quits
            shutil.copytree(bundle, target, dirs_exist_ok=True)
            self.states[target.stem] = ["EXITING"]
        return "true"

    def quit(self) -> None:
        """It ends, with every VPN in it."""
        self.running = False
        self.states = {name: ["EXITING"] for name in self.states}
