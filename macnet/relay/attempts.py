"""Starting what may fail, again and again, and saying once why it does."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from macnet.relay.log import say


class Attempts:
    """The attempts at one thing."""

    def __init__(self, what: str = "") -> None:
        """``what`` begins each message; empty for the relay itself."""
        self._what = f"{what}: " if what else ""
        self._problem = ""

    def succeeds(self, action: Callable[[], object]) -> bool:
        """Do it; what goes wrong is said, and False."""
        try:
            action()
        except subprocess.CalledProcessError as error:
            said = (error.stderr or b"").decode(errors="replace").strip()
            self.complain(f"cannot attach: {' '.join(error.cmd)}: {said or error.returncode}")
        except (OSError, subprocess.SubprocessError) as error:
            self.complain(f"cannot attach: {error}")
        else:
            return True
        return False

    def complain(self, problem: str) -> None:
        """Say what is wrong, once."""
        if problem != self._problem:
            say(f"{self._what}{problem}")
        self._problem = problem

    def over(self) -> None:
        """It has worked: the same problem would be a new one."""
        self._problem = ""
