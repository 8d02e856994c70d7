"""Starts other programs; the only module that imports ``subprocess``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Protocol

from macnet.errors import MacnetError

#: Seconds after which a program that says nothing is ended.
DEFAULT_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that has ended: what was run, how it ended, what it said."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether the exit status is 0."""
        return self.returncode == 0


class CommandFailed(MacnetError):
    """A program failed; the caller translates this into an error of its own layer."""

    code = "command_failed"

    def __init__(self, argv: Sequence[str], reason: str, stderr: str = "") -> None:
        """Keep argv, how it failed, and what it wrote to standard error."""
        last = stderr.strip().splitlines()[-1:] or [""]
        super().__init__(f"`{' '.join(argv)}` {reason}" + (f": {last[0]}" if last[0] else ""))
        self.argv = tuple(argv)
        self.reason = reason
        self.stderr = stderr


class CommandRunner(Protocol):
    """The seam through which every other program is run; tests bring a recorder."""

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        stdin: str | None = None,
        interactive: bool = False,
    ) -> Completed:
        """Run ``argv`` to its end.

        ``interactive`` leaves the terminal to the program (a password prompt) and captures
        nothing. Raises `CommandFailed` on a missing program, a timeout, or, with ``check``, a
        non-zero exit status.
        """

    def find(self, program: str, *places: str) -> str | None:
        """The path of ``program`` on PATH or in ``places``, or None."""


class SystemRunner:
    """Runs programs for real: argv lists only, ``LC_ALL=C``, always with a timeout."""

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        stdin: str | None = None,
        interactive: bool = False,
    ) -> Completed:
        """See `CommandRunner.run`."""
        # Without input the program must not read the user's terminal.
        inherited = None if interactive else subprocess.DEVNULL
        try:
            # Files and no pipes: what goes on in the background, as an ssh and its jump do, keeps
            # a pipe open, and the end of that would be waited for.
            with TemporaryFile() as out, TemporaryFile() as err:
                done = subprocess.run(
                    list(argv),
                    check=False,
                    timeout=timeout_s,
                    text=True,
                    stdout=None if interactive else out,
                    stderr=None if interactive else err,
                    env={**os.environ, "LC_ALL": "C"},
                    **({"input": stdin} if stdin is not None else {"stdin": inherited}),
                )
                said = [_read(file) for file in (out, err)]
        except FileNotFoundError as error:
            raise CommandFailed(argv, "is not installed") from error
        except PermissionError as error:
            raise CommandFailed(argv, "may not be run by this user") from error
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(argv, f"did not end within {timeout_s:g} s") from error
        result = Completed(tuple(argv), done.returncode, *said)
        if check and not result.ok:
            raise CommandFailed(argv, f"ended with status {result.returncode}", result.stderr)
        return result

    def find(self, program: str, *places: str) -> str | None:
        """See `CommandRunner.find`."""
        return shutil.which(program) or next(
            (found for place in places if (found := shutil.which(place))), None
        )


def _read(file: IO[bytes]) -> str:
    """What a program has written, as text with one kind of line ends."""
    file.seek(0)
    return file.read().decode(errors="replace").replace("\r\n", "\n")
