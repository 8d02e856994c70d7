"""The one error that the lab shows to a person: what is wrong and what to do."""

from __future__ import annotations


class LabError(Exception):
    """Something the lab cannot do, with a hint that says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class CommandError(LabError):
    """A command that ended with an unwanted exit code, or did not end in time."""

    def __init__(self, argv: list[str], returncode: int | None, stdout: str, stderr: str) -> None:
        ended = "did not end in time" if returncode is None else f"ended with code {returncode}"
        said = (stderr.strip() or stdout.strip())[-2000:]
        super().__init__(f"{' '.join(argv)}: {ended}: {said}")
        self.argv = argv
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
