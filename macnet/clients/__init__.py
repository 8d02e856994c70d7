"""The VPN clients that macnet drives, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from netaddr import IPNetwork

from macnet.clients.base import Client, ClientState, ClientStatus
from macnet.clients.manual import ManualClient
from macnet.clients.openvpn import OpenVpnClient
from macnet.clients.tunnelblick import TunnelblickClient
from macnet.clients.tunnelblick_bundle import TunnelblickPlaces
from macnet.errors import BadValue
from macnet.paths import TunnelPaths
from macnet.progress import Silent
from macnet.runner import CommandRunner
from macnet.state import load_state

__all__ = ["CHOICES", "Client", "ClientState", "ClientStatus", "get_client"]

#: What a user may ask for.
CHOICES = ("auto", "tunnelblick", "openvpn", "none")


def get_client(
    choice: str,
    *,
    paths: TunnelPaths,
    runner: CommandRunner,
    system: str,
    root: bool,
    user: str,
    places: TunnelblickPlaces | None = None,
) -> tuple[Client, str]:
    """The client for one of `CHOICES`, and why it is this one.

    The client need not be installed: its ``require`` tells. Raises `BadValue` on another
    choice. ``places`` says where Tunnelblick is, if not where it always is.
    """
    places = places or TunnelblickPlaces.of(Path.home())

    def tunnel_subnet() -> IPNetwork | None:
        # A damaged record was reported when the command began.
        return load_state(paths.state, Silent()).tunnel_subnet

    factories: dict[str, Callable[[], Client]] = {
        "tunnelblick": lambda: TunnelblickClient(
            paths, runner, places=places, tunnel_subnet=tunnel_subnet
        ),
        "openvpn": lambda: OpenVpnClient(paths, runner, root=root, user=user),
        "none": lambda: ManualClient(paths),
    }
    name, why = _pick(system, places) if choice == "auto" else (choice, "chosen")
    if name not in factories:
        raise BadValue(f"no client `{choice}`", hint=f"one of: {', '.join(CHOICES)}")
    return factories[name](), why


def _pick(system: str, places: TunnelblickPlaces) -> tuple[str, str]:
    """The best client that this machine has."""
    if system == "macos" and places.app.exists():
        return "tunnelblick", "Tunnelblick is installed"
    return "openvpn", "the default"
