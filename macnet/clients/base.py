"""What macnet asks of a VPN client, whichever it is; ``none``, where the user has an own one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from netaddr import IPAddress

from macnet.errors import ClientFailed
from macnet.paths import TunnelPaths
from macnet.progress import Progress


class ClientState(StrEnum):
    """How far the client is. UNKNOWN: it does not say, or macnet cannot ask."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """What the client says about the tunnel.

    ``detail`` is its own word (``RECONNECTING``); ``address`` our address inside the tunnel,
    ``interface`` the one that holds it. ``current``: it runs, connected or on its way, with
    exactly the bytes of the tunnel's stored profile.
    """

    state: ClientState
    detail: str = ""
    address: IPAddress | None = None
    interface: str | None = None
    current: bool = False


class Client(ABC):
    """A VPN client for one tunnel. Every verb may be repeated.

    The defaults are those of a client that needs no installation and leaves nothing behind.
    """

    #: How a user chooses it.
    name: ClassVar[str]

    def require(self) -> None:  # noqa: B027 - a default, not a forgotten abstract method
        """Raise `ClientMissing`, with a hint how to get it, unless it is installed."""

    def version(self) -> str | None:
        """The client's version; None if it is not installed or does not say."""
        return None

    @abstractmethod
    def status(self) -> ClientStatus:
        """What the client says now. Changes nothing and does not raise."""

    @abstractmethod
    def connect(self, progress: Progress, *, timeout_s: float) -> bool:
        """Be connected with exactly the tunnel's stored profile, and wait for it.

        Imports the profile or starts the client again where that is needed. False = nothing
        was: it was connected, or came back by itself. Raises `ClientError` with the client's
        own reason, `PrivilegeError` without rights; then nothing runs that did not run before.
        """

    @abstractmethod
    def disconnect(self, progress: Progress) -> bool:
        """End the connection, and any process of ours that lost its socket; False = none ran."""

    def kill_orphans(self, progress: Progress) -> bool:
        """End processes of ours that can no longer be asked; False = there were none.

        They are left when the tunnel's files are deleted while it is connected.
        """
        return False

    def leftovers(self, *, purge: bool) -> tuple[str, ...]:
        """What `down` leaves in the client, and how the user removes it, in lines of text.

        With ``purge`` the tunnel's own directory goes away right after this.
        """
        return ()


class ManualClient(Client):
    """``none``: macnet writes the profile, and the user's own client does the rest."""

    name = "none"

    def __init__(self, paths: TunnelPaths) -> None:
        """The user is asked to use the profile of ``paths``."""
        self._paths = paths

    def status(self) -> ClientStatus:
        """Unknown, always."""
        return ClientStatus(ClientState.UNKNOWN, "not managed by macnet")

    def connect(self, progress: Progress, *, timeout_s: float) -> bool:
        """Say which profile to connect with; does not wait."""
        progress.warn(f"connect your VPN client with {self._paths.profile}")
        return False

    def disconnect(self, progress: Progress) -> bool:
        """Say so, as macnet cannot know whether there is a connection."""
        progress.warn("disconnect your VPN client, if it is still connected")
        return False


def read_profile(path: Path) -> bytes:
    """The bytes of a profile. Raises `ClientFailed` if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ClientFailed(
            f"cannot read the profile {path}: {error.strerror}",
            hint="`macnet setup` writes it again",
        ) from error
