"""Talks to Tunnelblick by AppleScript, its only documented way in.

The scripts are ``templates/client/tunnelblick/*.applescript``. Each is passed to ``osascript``
as it is; names and paths go beside it as arguments, so none can become part of a script.

Sources: Tunnelblick's dictionary (``tunnelblick.sdef``, ``ApplescriptCommands.m``) and, for the
states, ``VPNConnection.m``; osascript(1). The error numbers are Apple's. None of it has been run
on a Mac yet: ``python -m tests.mac`` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from macnet.errors import (
    ClientBusy,
    ClientDenied,
    ClientFailed,
    ClientMissing,
    ClientRefused,
)
from macnet.render import template_text
from macnet.runner import CommandFailed, CommandRunner

INSTALL_HINT = "install it: brew install --cask tunnelblick"
CONSENT_HINT = (
    "allow your terminal to control Tunnelblick in System Settings > Privacy & Security > "
    "Automation; if it is not listed there: `tccutil reset AppleEvents`, then try again, or run "
    "macnet in Terminal.app once"
)

#: The states that Tunnelblick reports. EXITING is also the state before the first connection.
DISCONNECTED = "EXITING"
DISCONNECTING = "DISCONNECTING"
CONNECTED = "CONNECTED"
#: It waits, for ever, until this machine has a route to the rest of the world.
NO_NETWORK = "NETWORK_ACCESS"
# fmt: off
KNOWN_STATES = frozenset((
    "EXITING", "DISCONNECTING", "SLEEP", "NETWORK_ACCESS", "CONNECTING", "RESOLVE",
    "TCP_CONNECT", "UDP_CONNECT", "WAIT", "AUTH", "GET_CONFIG", "ASSIGN_IP", "ADD_ROUTES",
    "CONNECTED", "RECONNECTING", "PASSWORD_WAIT", "PRIVATE_KEY_WAIT",
))
# fmt: on

#: Seconds for osascript itself, beyond the timeout that the script gives Tunnelblick.
_MARGIN_S = 15.0
#: The first question may wait for the user's consent ("Terminal wants to control Tunnelblick").
_LIST_S = 120.0
_LOOK_S = 5.0
_CONNECT_S = 120.0
_DISCONNECT_S = 60.0
#: Seconds that ``install.applescript`` gives the user for the password.
INSTALL_S = 600.0
_LAUNCH_S = 30.0

_NO_CONSENT = (ClientDenied, "macOS does not let macnet control Tunnelblick", CONSENT_HINT)
_NOT_RUNNING = (
    ClientFailed,
    "Tunnelblick does not run, or has just quit",
    "start Tunnelblick, then try again",
)
_UNKNOWN = (
    ClientFailed,
    "Tunnelblick does not know what macnet asked for",
    "its configurations may just have changed: try again",
)
_ERRORS: Mapping[int, tuple[type[ClientFailed | ClientMissing], str, str]] = {
    -1743: _NO_CONSENT,
    -1744: _NO_CONSENT,
    -600: _NOT_RUNNING,
    -609: _NOT_RUNNING,
    -1719: _UNKNOWN,
    -1728: _UNKNOWN,
    -10814: (ClientMissing, "Tunnelblick is not installed", INSTALL_HINT),
    -128: (
        ClientRefused,
        "the dialog of Tunnelblick or macOS was cancelled",
        "run the command again and confirm in the dialog",
    ),
}
_NUMBER = re.compile(r"\((-\d+)\)\s*$")


@dataclass(frozen=True, slots=True)
class Listing:
    """Whether Tunnelblick runs, and the state of each of its configurations by name."""

    running: bool
    states: Mapping[str, str] = field(default_factory=dict)


class Tunnelblick:
    """The application, one method for each script. Each raises `ClientError`."""

    def __init__(self, runner: CommandRunner) -> None:
        """``runner`` starts osascript."""
        self._runner = runner

    def listing(self, *, patient: bool = True) -> Listing:
        """What it has; does not start it. Not ``patient``: do not wait for the user's consent."""
        timeout_s = _LIST_S if patient else _LOOK_S
        return parse_listing(self._run("configurations", timeout_s=timeout_s))

    def launch(self) -> None:
        """Start it; returns before it has started."""
        self._run("launch", timeout_s=_LAUNCH_S)

    def connect(self, name: str, *, patient: bool = True) -> bool:
        """Begin to connect; False if it was connected, or there is no such configuration.

        Not ``patient``: do not wait until an open dialog is closed; the request waits for it.
        """
        return self._ask("connect", name, timeout_s=_CONNECT_S if patient else _LOOK_S)

    def disconnect(self, name: str) -> bool:
        """Begin to disconnect; False if it was not connected, or does not exist."""
        return self._ask("disconnect", name, timeout_s=_DISCONNECT_S)

    def install(self, bundle: str) -> bool:
        """Install a .tblk for this user; False if Tunnelblick refuses it."""
        return self._ask("install", bundle, timeout_s=INSTALL_S)

    def _ask(self, script: str, argument: str, *, timeout_s: float) -> bool:
        answer = self._run(script, argument, timeout_s=timeout_s).strip()
        if answer not in ("true", "false"):
            raise ClientFailed(f"Tunnelblick answered {answer!r} to `{script}`")
        return answer == "true"

    def _run(self, script: str, *arguments: str, timeout_s: float) -> str:
        """Run one script; what it returned. The text of errors is localised, the number not."""
        program = self._runner.find("osascript", "/usr/bin/osascript")
        if program is None:
            raise ClientMissing("there is no osascript: Tunnelblick needs macOS")
        text = template_text(f"client/tunnelblick/{script}.applescript")
        try:
            done = self._runner.run(
                [program, "-e", text, *arguments], check=False, timeout_s=timeout_s + _MARGIN_S
            )
        except CommandFailed as error:
            # Not `from error`'s text: it would show the whole script.
            if "did not end" in error.reason:
                raise _timeout(script) from error
            raise ClientFailed(f"osascript {error.reason}") from error
        if not done.ok:
            raise translate(script, done.stderr)
        return done.stdout


def parse_listing(text: str) -> Listing:
    """Read what ``configurations.applescript`` returns. Raises `ClientFailed` on other text."""
    head, *lines = text.rstrip("\n").split("\n")
    if head not in ("running", "not running"):
        raise ClientFailed(f"Tunnelblick's list begins with {head!r}")
    states = {}
    for line in lines:
        state, tab, name = line.partition("\t")
        if not tab:
            raise ClientFailed(f"Tunnelblick's list has the line {line!r}")
        states[name] = state
    return Listing(head == "running", states)


def translate(script: str, stderr: str) -> ClientFailed | ClientMissing:
    """The error for what osascript wrote when ``script`` failed, told by Apple's number."""
    said = stderr.strip()
    found = _NUMBER.search(said)
    number = int(found[1]) if found else 0
    if number == -1712:
        return _timeout(script)
    kind, message, hint = _ERRORS.get(
        number, (ClientFailed, f"Tunnelblick's script `{script}` failed", None)
    )
    return kind(message, hint=hint, detail=said or None)


def _timeout(script: str) -> ClientBusy:
    return ClientBusy(
        f"Tunnelblick did not answer to `{script}` in time",
        hint="look for a dialog of Tunnelblick or macOS that waits for an answer, then try again",
    )
