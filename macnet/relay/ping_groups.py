"""The VM's ping_group_range: only its groups get the sockets through which pasta pings."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from macnet.relay.log import say

RANGE = Path("/proc/sys/net/ipv4/ping_group_range")
#: Survives a kill of this container, so that the next run knows what was there before.
RECORD = Path("/run/macnet/ping_group_range")


def widened(first: int, last: int) -> tuple[int, int]:
    """The range with group 0, which is pasta's, in it; "1 0" is the empty one."""
    if first <= 0:
        return first, last
    return (0, 0) if last < first else (0, last)


class PingGroups:
    """Widens the range, and takes back only what it has changed itself."""

    def __init__(
        self, write: Callable[[str], None], setting: Path = RANGE, record: Path = RECORD
    ) -> None:
        """``write`` sets the range; it raises OSError or SubprocessError where it cannot."""
        self._write, self._setting, self._record = write, setting, record
        self._failed = False

    def widen(self) -> None:
        """Add group 0 if it is not there. A failure is said once."""
        first, last = self._read()
        wanted = widened(first, last)
        if wanted == (first, last):
            return
        try:
            self._record.write_text(f"{first} {last}\n{wanted[0]} {wanted[1]}\n")
            self._write(f"{wanted[0]} {wanted[1]}")
            if self._read() != wanted:
                raise OSError("the kernel did not take it")
        except (OSError, subprocess.SubprocessError) as error:
            self._record.unlink(missing_ok=True)
            if not self._failed:
                say(f"cannot change ping_group_range, so ping will not work: {error}")
            self._failed = True
        else:
            say(f"ping_group_range changed from {first} {last} to {wanted[0]} {wanted[1]}")

    def restore(self) -> None:
        """Set it back, if this relay changed it and nobody has changed it since."""
        try:
            before, ours = self._record.read_text().splitlines()
        except (OSError, ValueError):
            return
        self._record.unlink(missing_ok=True)
        if " ".join(map(str, self._read())) != ours:
            return
        try:
            self._write(before)
        except (OSError, subprocess.SubprocessError) as error:
            say(f"cannot set ping_group_range back to {before}: {error}")

    def _read(self) -> tuple[int, int]:
        first, last = self._setting.read_text().split()
        return int(first), int(last)


def write_range(text: str) -> None:
    """Set the range. /proc/sys is read-only in a container and is opened for that moment."""
    _remount("rw")
    try:
        RANGE.write_text(text)
    finally:
        _remount("ro")


def leave_range(text: str) -> None:
    """In place of `write_range` on a machine that is not this user's alone."""
    raise OSError(f"this machine keeps its setting; `sysctl net.ipv4.ping_group_range='{text}'`")


def _remount(mode: str) -> None:
    argv = ["mount", "-o", f"remount,{mode},bind", "/proc/sys"]
    subprocess.run(argv, check=True, capture_output=True)
