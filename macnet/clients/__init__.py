"""The VPN clients that macnet drives, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from macnet.clients.base import Client, ClientState, ClientStatus
from macnet.clients.manual import ManualClient
from macnet.clients.openvpn import OpenVpnClient
from macnet.errors import BadValue, ClientMissing
from macnet.paths import TunnelPaths
from macnet.runner import CommandRunner

__all__ = ["CHOICES", "Client", "ClientState", "ClientStatus", "get_client"]

#: What a user may ask for.
CHOICES = ("auto", "tunnelblick", "openvpn", "none")

_TUNNELBLICK_APP = Path("/Applications/Tunnelblick.app")


def get_client(
    choice: str,
    *,
    paths: TunnelPaths,
    runner: CommandRunner,
    system: str,
    root: bool,
    user: str,
) -> tuple[Client, str]:
    """The client for one of `CHOICES`, and why it is this one.

    The client need not be installed: its ``require`` tells. Raises `BadValue` on another
    choice and `ClientMissing` for one that macnet cannot drive.
    """

    def tunnelblick() -> Client:
        raise ClientMissing(
            "macnet cannot drive Tunnelblick yet",
            hint=f"use the client openvpn, or none and give Tunnelblick {paths.profile}",
        )

    factories: dict[str, Callable[[], Client]] = {
        "tunnelblick": tunnelblick,
        "openvpn": lambda: OpenVpnClient(paths, runner, root=root, user=user),
        "none": lambda: ManualClient(paths),
    }
    name, why = _pick(system) if choice == "auto" else (choice, "chosen")
    if name not in factories:
        raise BadValue(f"no client `{choice}`", hint=f"one of: {', '.join(CHOICES)}")
    return factories[name](), why


def _pick(system: str) -> tuple[str, str]:
    """The best client that this machine has."""
    if system == "macos" and _TUNNELBLICK_APP.exists():
        return "openvpn", "Tunnelblick is installed, but macnet cannot drive it yet"
    return "openvpn", "the default"
