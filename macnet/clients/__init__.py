"""The VPN clients that macnet drives, and the choice between them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from netaddr import IPNetwork

from macnet.choices import ClientChoice
from macnet.clients.base import Client, ClientState, ClientStatus, ManualClient
from macnet.errors import BadValue
from macnet.paths import TunnelPaths
from macnet.progress import Silent
from macnet.runner import CommandRunner
from macnet.state import load_state

if TYPE_CHECKING:
    from macnet.clients.tunnelblick_bundle import TunnelblickPlaces

__all__ = ["Client", "ClientState", "ClientStatus", "get_client"]


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
    """The client for one of `ClientChoice`, and why it is this one.

    The client need not be installed: its ``require`` tells. Raises `BadValue` on another
    choice. ``places`` says where Tunnelblick is, if not where it always is.
    """
    name, why = (choice, "chosen") if choice != ClientChoice.AUTO else _pick(system, places)
    # Each is imported for itself: a command works with one of them.
    match name:
        case ClientChoice.TUNNELBLICK:
            from macnet.clients.tunnelblick import TunnelblickClient

            def tunnel_subnet() -> IPNetwork | None:
                # A damaged record was reported when the command began.
                return load_state(paths.state, Silent()).tunnel_subnet

            return TunnelblickClient(
                paths, runner, places=places or _places(), tunnel_subnet=tunnel_subnet
            ), why
        case ClientChoice.OPENVPN:
            from macnet.clients.openvpn import OpenVpnClient

            return OpenVpnClient(paths, runner, root=root, user=user), why
        case ClientChoice.NONE:
            return ManualClient(paths), why
    raise BadValue(f"no client `{choice}`", hint=f"give one of {', '.join(ClientChoice)}")


def _pick(system: str, places: TunnelblickPlaces | None) -> tuple[str, str]:
    """The best client that this machine has."""
    if system == "macos" and (places or _places()).app.exists():
        return "tunnelblick", "Tunnelblick is installed"
    return "openvpn", "the default"


def _places() -> TunnelblickPlaces:
    from macnet.clients.tunnelblick_bundle import TunnelblickPlaces

    return TunnelblickPlaces.of(Path.home())
