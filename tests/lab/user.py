"""A user of the Mac side who is not root, with a terminal, and a sudo that asks for a password."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import LabError
from .files import remove_tree
from .lab import Lab
from .process import Completed, Running, run

NAME, PASSWORD = "macuser", "open sesame"
_ID = 4242
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_SCRIPT = Path(__file__).with_name("mac_user.sh")
_CHECKOUT = Path(__file__).parents[2]


class Terminal:
    """A pseudo terminal with a command in it: what it shows, and what the user types."""

    def __init__(self, process: Running, master: int, slave: int) -> None:
        self.process = process
        self._master = master
        self._slave = slave
        self._shown = ""

    def shown(self, for_s: float = 0) -> str:
        """All that it has shown so far, after waiting for more."""
        deadline = time.monotonic() + for_s
        while select.select([self._master], [], [], max(0, deadline - time.monotonic()))[0]:
            self._shown += os.read(self._master, 1 << 16).decode(errors="replace")
        return self._shown

    def text(self) -> str:
        """The same without what moves the cursor and colours words."""
        return _CONTROL.sub("", self.shown())

    def wait_for(self, words: str, timeout_s: float = 30) -> None:
        """Wait until it has shown these words."""
        deadline = time.monotonic() + timeout_s
        while not re.search(words, self.shown(0.05)):
            if time.monotonic() > deadline:
                raise LabError(f"{words!r} is not on the terminal: {self._shown!r}")

    def type(self, text: str) -> None:
        """Type; ``"\\x03"`` is Ctrl-C."""
        os.write(self._master, text.encode())

    def echoes(self) -> bool:
        """Whether what is typed is shown, which a question for a password turns off."""
        mode = termios.tcgetattr(self._slave)[3]
        assert isinstance(mode, int)
        return bool(mode & termios.ECHO)

    def wait(self, timeout_s: float = 60) -> int:
        """Wait for the end of the command; its exit code."""
        deadline = time.monotonic() + timeout_s
        while self.process.poll() is None:
            self.shown(0.05)
            if time.monotonic() > deadline:
                raise LabError(f"the command does not end: {self._shown!r}")
        self.shown()
        return self.process.returncode


class MacUser:
    """The user, with a home of their own."""

    def __init__(self, lab: Lab, *, within: Sequence[str] = ()) -> None:
        """``within`` are words that enter another mount namespace first."""
        self.lab = lab
        self._within = tuple(within)
        self.home = lab.paths.home / "user"
        self._scratch = lab.paths.home / "user-scratch"

    def __enter__(self) -> MacUser:
        for folder in (self.home, self._scratch):
            remove_tree(folder)
            folder.mkdir(mode=0o755)
        os.chown(self.home, _ID, _ID)
        return self

    def __exit__(self, *_: object) -> None:
        for folder in (self.home, self._scratch):
            remove_tree(folder)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables of the user's commands."""
        own = {
            "HOME": str(self.home),
            "MACNET_HOME": str(self.home / "macnet"),
            "USER": NAME,
            "LOGNAME": NAME,
            "TERM": "xterm-256color",
        }
        return self.lab.mac_environment({**own, **(extra or {})})

    def run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Completed:
        """Run a command without a terminal, to its end, whatever that is."""
        words = [*self._words(), *argv]
        return self.lab.mac.run(words, self.environment(env), check=False)

    def adopt(self, file: Path, place: str) -> None:
        """Give the user a copy of a file, at a place below their home."""
        target = self.home / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
        for path in (target, *target.parents):
            if path == self.home:
                break
            os.chown(path, _ID, _ID)
            path.chmod(0o700 if path.is_dir() else 0o600)

    @contextmanager
    def terminal(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None
    ) -> Iterator[Terminal]:
        """A terminal of the user's in which a command runs while the block does."""
        master, slave = pty.openpty()
        try:
            process = self.lab.mac.popen(
                ["setsid", "--ctty", "--wait", *self._words(), *argv],
                self.environment(env),
                stdin=slave,
                stdout=slave,
                stderr=slave,
            )
            try:
                yield Terminal(process, master, slave)
            finally:
                # The terminal goes away, as if its window were closed.
                process.kill()
                process.wait(10)
        finally:
            os.close(slave)
            os.close(master)

    def _words(self) -> list[str]:
        hashed = run(["openssl", "passwd", "-6", PASSWORD]).stdout.strip()
        paths = f"{sys.base_prefix}:{_CHECKOUT}"
        return [
            *self._within,
            *("unshare", "--mount", "--propagation", "private", "sh", str(_SCRIPT)),
            *(str(self._scratch), NAME, str(_ID), str(self.home), hashed, paths),
        ]
