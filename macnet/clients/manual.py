"""The client ``none``: macnet writes the profile, and the user does the rest."""

from __future__ import annotations

from pathlib import Path

from macnet.clients.base import ClientState, ClientStatus
from macnet.paths import TunnelPaths
from macnet.progress import Progress


class ManualClient:
    """Leaves the profile to the user: it says what to do and knows nothing."""

    name = "none"

    def __init__(self, paths: TunnelPaths) -> None:
        """The profile of ``paths`` is what the user is told to use."""
        self._paths = paths

    def require(self) -> None:
        """Nothing is needed."""

    def version(self) -> str | None:
        """No version: None."""
        return None

    def is_current(self, profile: Path) -> bool:
        """True: what the user's own client uses is not macnet's to judge."""
        return True

    def install(self, profile: Path, progress: Progress) -> bool:
        """Nothing to do."""
        return False

    def connect(self, progress: Progress, *, timeout_s: float) -> bool:
        """Say which profile to connect with; does not wait."""
        progress.warn(f"connect your VPN client with {self._paths.profile}")
        return False

    def reconnect(self, progress: Progress, *, timeout_s: float) -> None:
        """Say that the profile has changed; does not wait."""
        progress.warn(f"give your VPN client the new {self._paths.profile} and connect again")

    def disconnect(self, progress: Progress) -> bool:
        """Say it, as macnet cannot know whether there is a connection."""
        progress.warn("disconnect your VPN client, if it is still connected")
        return False

    def sweep(self, progress: Progress) -> bool:
        """Nothing of macnet's runs."""
        return False

    def status(self) -> ClientStatus:
        """Unknown, always."""
        return ClientStatus(ClientState.UNKNOWN, "not managed by macnet")

    def remove(self, progress: Progress) -> bool:
        """Nothing of ours is in the user's client, as far as macnet knows."""
        self.disconnect(progress)
        return False

    def leftover(self, *, purge: bool) -> tuple[str, ...]:
        """Nothing, as far as macnet knows."""
        return ()
