"""What macnet asks of a VPN client, whichever one it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from netaddr import IPAddress

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
    ``interface`` the one that holds it.
    """

    state: ClientState
    detail: str = ""
    address: IPAddress | None = None
    interface: str | None = None


class Client(Protocol):
    """A VPN client. Every verb may be repeated: it reports whether it changed anything."""

    @property
    def name(self) -> str:
        """The name by which a user chooses it."""

    def require(self) -> None:
        """Raise `ClientMissing`, with a hint how to get it, unless it is installed."""

    def version(self) -> str | None:
        """The client's version; None if it is not installed or does not tell."""

    def is_current(self, profile: Path) -> bool:
        """Whether the client already uses exactly the bytes of ``profile``."""

    def install(self, profile: Path, progress: Progress) -> bool:
        """Make the client use ``profile`` from its next connect on; False = nothing to do."""

    def connect(self, progress: Progress, *, timeout_s: float) -> bool:
        """Connect and wait for it; False = it was connected with the current profile.

        Raises `ClientFailed` with the client's own reason, `PrivilegeError` without rights.
        """

    def reconnect(self, progress: Progress, *, timeout_s: float) -> None:
        """Read the profile again and connect with it; connects if it was not connected."""

    def disconnect(self, progress: Progress) -> bool:
        """End the connection and wait for its end; False = there was none."""

    def sweep(self, progress: Progress) -> bool:
        """End what still runs of ours but cannot be asked any more; False = nothing.

        That is so when the tunnel's files were deleted while it was connected.
        """

    def status(self) -> ClientStatus:
        """What the client says now. Changes nothing and does not raise."""

    def remove(self, progress: Progress) -> bool:
        """Disconnect and leave nothing of ours in the client; False = nothing was there."""

    def leftover(self, *, purge: bool) -> tuple[str, ...]:
        """What `down` leaves in the client, and how the user removes it, in lines of text.

        With ``purge`` the tunnel's own directory goes away right after this.
        """
