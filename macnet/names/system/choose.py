"""Which way this machine has."""

from __future__ import annotations

import re
from pathlib import Path

from macnet.names.system.base import NamesSystem
from macnet.names.system.linux import DELEGATE_VERSION, ByHand, Delegate
from macnet.names.system.macos import MacResolver
from macnet.runner import CommandFailed, CommandRunner

#: Where systemd-resolved keeps what it has made, while it runs.
_RESOLVED = Path("/run/systemd/resolve")


def choose_system(system: str, *, runner: CommandRunner, resolved: Path = _RESOLVED) -> NamesSystem:
    """The best way for a system ("macos", "linux")."""
    if system == "macos":
        return MacResolver()
    if system != "linux" or not resolved.exists():
        return ByHand(resolved=False)
    if find_systemd_version(runner) >= DELEGATE_VERSION:
        return Delegate()
    return ByHand(resolved=True)


def find_systemd_version(runner: CommandRunner) -> int:
    """systemd's version, 0 where it does not tell."""
    try:
        said = runner.run(["resolvectl", "--version"], check=False).stdout
    except CommandFailed:
        return 0
    found = re.match(r"systemd (\d+)", said)
    return int(found[1]) if found else 0
