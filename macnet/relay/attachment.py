"""The relay at one server process: the name of its network namespace, and what its files say."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from macnet.relay.allowlist import VM, Allowlist, Applied, Home, Network
from macnet.relay.way import NAME, NAMESPACE, Link, Passage


class Attachment:
    """One server process, to which ways into namespaces of the engine are made."""

    def __init__(self, server: int, link: Link, wait: Callable[[float], None]) -> None:
        """``server`` is its process id, ``wait`` as in `Passage`. Nothing is done yet."""
        self.server = server
        self._link, self._wait = link, wait
        #: What carries TCP: the server's rules decide, by what its kernel has.
        self.kernel_lane = _server_file(server, "run/macnet/lane") == "kernel"
        self._folder: int | None = None
        self._applied: Applied | None = None

    def attach(self) -> None:
        """Give the server's namespace its name. Raises OSError or SubprocessError.

        From then on a new list of the server's makes a SIGIO, where the kernel can do that.
        """
        detach_name()
        NAMESPACE.parent.mkdir(parents=True, exist_ok=True)
        argv = ["ip", "netns", "attach", NAME, str(self.server)]
        subprocess.run(argv, check=True, capture_output=True)
        self._folder = os.open(f"/proc/{self.server}/root/etc/macnet", os.O_RDONLY | os.O_CLOEXEC)
        with suppress(OSError):
            fcntl.fcntl(self._folder, fcntl.F_NOTIFY, fcntl.DN_RENAME | fcntl.DN_MULTISHOT)
        self._applied = Applied(self._folder)

    def server_runs(self) -> bool:
        """Whether the server's process is there."""
        return Path(f"/proc/{self.server}").exists()

    def homes(self) -> dict[Home, tuple[Network, ...]]:
        """The joiners that the server names now, and the subnets behind each."""
        return Allowlist(self._allowed() or "").homes()

    def way(self, home: Home = VM, holder: int | None = None) -> Passage:
        """A way into the VM's namespace, or into that of a joiner's process ``holder``."""
        return Passage(
            self.server,
            self._link,
            home,
            holder,
            self._allowed,
            self._wait,
            kernel_lane=self.kernel_lane,
        )

    def detach(self) -> None:
        """Drop the name."""
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None
        self._applied = None
        detach_name()

    def _allowed(self) -> str | None:
        return self._applied.text() if self._applied is not None else None


def detach_name() -> None:
    """Drop the name of the namespace; one that survived a restart has nothing behind it."""
    subprocess.run(["umount", "-l", str(NAMESPACE)], check=False, capture_output=True)
    NAMESPACE.unlink(missing_ok=True)


def _server_file(server: int, name: str) -> str:
    try:
        return Path(f"/proc/{server}/root", name).read_text().strip()
    except OSError:
        return ""
