"""Runs single commands as root, by sudo where this is not root, and says so before."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from macnet.errors import PrivilegeError
from macnet.progress import Progress
from macnet.runner import CommandRunner, Completed

#: Seconds for typing a password.
_PASSWORD_TIMEOUT_S = 300.0
#: How sudo (and sudo-rs) begin their own messages, unlike the program that they run.
_SUDO_SAYS = re.compile(r"^(sudo|sudo-rs|Sorry, user\b)", re.MULTILINE)


def run_as_root(
    argv: Sequence[str],
    *,
    runner: CommandRunner,
    progress: Progress,
    root: bool,
    terminal: bool,
    who: str,
    shown: str | None = None,
    stdin: str | None = None,
    announce: bool = False,
) -> Completed:
    """Run ``argv`` as root, through sudo unless this is ``root``; any exit status is returned.

    sudo is first asked without a password; only on a ``terminal`` may it ask the user, and then
    the program's output goes there too. ``shown`` is the command as a user can type it, ``who``
    what needs the rights. The user is told the command once: before a password is asked for, with
    ``announce`` in any case. Raises `PrivilegeError`, with the command in its hint, where sudo is
    missing or refuses, and `macnet.runner.CommandFailed` where the program cannot run.
    """
    shown = shown or shlex.join(["sudo", *argv])
    if root:
        return runner.run(argv, check=False, stdin=stdin)
    sudo = runner.find("sudo", "/usr/bin/sudo")
    if sudo is None:
        raise PrivilegeError(
            f"{who} needs administrator rights, and there is no sudo",
            hint=f"run as root: {shown.replace('sudo ', '', 1)}",
        )
    told = f"{who} needs administrator rights: {shown}"
    (progress.warn if announce else progress.detail)(told)
    done = runner.run([sudo, "-n", *argv], check=False, stdin=stdin)
    if done.ok or not _SUDO_SAYS.search(done.stderr):
        return done
    if not terminal:
        raise PrivilegeError(
            f"{who} needs administrator rights, and sudo wants a password",
            hint=f"run it in a terminal, or do it yourself: {shown}",
            detail=done.stderr.strip(),
        )
    if not announce:
        progress.warn(told)
    with progress.pause():
        return runner.run(
            [sudo, *argv],
            check=False,
            interactive=True,
            timeout_s=_PASSWORD_TIMEOUT_S,
            stdin=stdin,
        )
