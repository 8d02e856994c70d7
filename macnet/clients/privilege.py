"""Run one program as root: openvpn makes an interface and routes. Said before it is done."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from macnet.errors import ClientFailed, PrivilegeError
from macnet.progress import Progress
from macnet.runner import CommandFailed, CommandRunner, Completed

#: Seconds for typing a password.
_PASSWORD_TIMEOUT_S = 300.0
#: How sudo (and sudo-rs) begin their own messages, unlike the program that they run.
_SUDO_SAYS = re.compile(r"^(sudo|sudo-rs|Sorry, user\b)", re.MULTILINE)


def run_as_root(
    argv: Sequence[str],
    *,
    runner: CommandRunner,
    root: bool,
    terminal: bool,
    progress: Progress,
    stdin: Path | None = None,
) -> Completed:
    """Run ``argv`` as root, through sudo unless this is root; any exit status is returned.

    ``stdin`` is a file whose text the program gets on its standard input; sudo itself asks on
    the terminal.

    sudo is first asked without a password; only on a ``terminal`` may it ask the user, and
    then the program's output goes there too. Raises `PrivilegeError`, with the command in its
    hint, where sudo is missing or refuses, and `ClientFailed` where the program cannot be run.
    """
    try:
        text = None if stdin is None else stdin.read_text(encoding="utf-8")
        if root:
            return runner.run(argv, check=False, stdin=text)
        given = "" if stdin is None else f" < {shlex.quote(str(stdin))}"
        command = f"{shlex.join(['sudo', *argv])}{given}"
        sudo = runner.find("sudo", "/usr/bin/sudo")
        if sudo is None:
            raise PrivilegeError(
                "openvpn needs administrator rights, and there is no sudo",
                hint=f"run as root: {shlex.join(argv)}{given}",
            )
        progress.detail(f"needs administrator rights: {command}")
        done = runner.run([sudo, "-n", *argv], check=False, stdin=text)
        if done.ok or not _SUDO_SAYS.search(done.stderr):
            return done
        if not terminal:
            raise PrivilegeError(
                "openvpn needs administrator rights, and sudo wants a password",
                hint=f"run it in a terminal, or start it yourself: {command}",
                detail=done.stderr.strip(),
            )
        progress.warn(f"needs administrator rights: {command}")
        return runner.run(
            [sudo, *argv],
            check=False,
            interactive=True,
            timeout_s=_PASSWORD_TIMEOUT_S,
            stdin=text,
        )
    except OSError as error:
        raise ClientFailed(f"cannot read {stdin}: {error.strerror}") from error
    except CommandFailed as error:
        raise ClientFailed(f"cannot start openvpn: {error}") from error
