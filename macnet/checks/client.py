"""Checks of the VPN client on this machine."""

from __future__ import annotations

from macnet.checks.base import Check, Finding, fail, ok, warn
from macnet.checks.context import Context
from macnet.clients.base import ClientState
from macnet.helper.spec import client_address
from macnet.tunnel.plan import describe_owner

_CONNECT = "`macnet connect`"


def _installed(context: Context) -> Finding:
    client = context.tunnel.client
    client.require()
    version = client.version()
    return ok(f"{client.name}{f' {version}' if version else ''} ({context.tunnel.client_reason})")


def _connected(context: Context) -> Finding:
    client, status = context.tunnel.client, context.client
    said = f"{client.name} is {status.state}" + (f" ({status.detail})" if status.detail else "")
    if status.state is ClientState.CONNECTED:
        return ok(said)
    if status.state is ClientState.UNKNOWN:
        return _ask_server(context, said)
    if status.state is ClientState.CONNECTING:
        # The port is open, but perhaps it is not the engine that has it.
        port = context.state.port or 0
        owner = context.tunnel.around.port_owner(port)
        if owner is not None:
            said += f"; port {port} is held by {describe_owner(owner)}"
        return fail(said, f"`macnet disconnect`, then {_CONNECT}: it tells why it does not connect")
    return fail(said, _CONNECT)


def _ask_server(context: Context, said: str) -> Finding:
    """The client does not tell (it may be the user's own), but the server knows."""
    count = context.connected_clients
    if count:
        return ok(f"{said}; the server serves {count} client{'' if count == 1 else 's'}")
    return fail(
        f"{said}; no client is connected to the server",
        f"connect your VPN client with {context.tunnel.paths.profile}",
    )


def _address(context: Context) -> Finding:
    wanted = client_address(context.tunnel_subnet)
    if context.interface is not None:
        return ok(f"{context.interface} holds {wanted}")
    return fail(
        f"no interface of this machine holds {wanted}",
        f"`macnet disconnect`, then {_CONNECT}",
    )


def _current(context: Context) -> Finding:
    client, profile = context.tunnel.client, context.tunnel.paths.profile
    if client.is_current(profile):
        return ok(f"{client.name} uses the present profile")
    return warn(f"{client.name} uses an older profile", "`macnet regenerate`")


CHECKS = (
    Check(
        id="client.installed",
        title="The VPN client is installed",
        about="Looks for the VPN client that was chosen or found.",
        needs=(),
        fix="install a VPN client, for example `brew install openvpn`",
        run=_installed,
    ),
    Check(
        id="client.connected",
        title="The VPN client is connected",
        about="Asks the VPN client for its state; for a client of your own, asks the server.",
        needs=(
            "client.installed",
            "tunnel.profile",
            "tunnel.port",
            "helper.server.answers",
        ),
        fix=_CONNECT,
        run=_connected,
    ),
    Check(
        id="client.current",
        title="The VPN client uses the present profile",
        about="Compares the profile that the VPN client has read with the one that macnet wrote.",
        needs=("client.connected",),
        fix="`macnet regenerate`",
        run=_current,
    ),
    Check(
        id="client.address",
        title="The tunnel's address is here",
        about="Looks for the interface that holds the client's address in the tunnel.",
        needs=("client.connected",),
        fix=_CONNECT,
        run=_address,
    ),
)
