"""Remembers which process has read which profile, to tell whether it must read it again."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from macnet.errors import ClientFailed


@dataclass(frozen=True, slots=True)
class ProfileRecord:
    """One private line: the pid and the SHA-256 of the profile that it has read."""

    path: Path

    def matches(self, pid: int, digest: str) -> bool:
        """Whether the process ``pid`` has read the profile with this digest."""
        try:
            return self.path.read_text(encoding="ascii").split() == [str(pid), digest]
        except (OSError, ValueError):
            return False

    def write(self, pid: int, digest: str) -> None:
        """Remember it, in place of what was remembered."""
        self.clear()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{pid} {digest}\n")

    def clear(self) -> None:
        """Forget it."""
        self.path.unlink(missing_ok=True)


def digest_of(profile: Path) -> str:
    """The SHA-256 of a profile, in hex. Raises `ClientFailed` if it cannot be read."""
    try:
        return hashlib.sha256(profile.read_bytes()).hexdigest()
    except OSError as error:
        raise ClientFailed(f"cannot read the profile {profile}: {error.strerror}") from error
