"""Checks of the VPN client on this machine."""

from __future__ import annotations

from macnet.checks.base import Finding, count, fail, ok, warn
from macnet.checks.facts import Facts
from macnet.clients.base import ClientState
from macnet.helper.spec import client_address
from macnet.tunnel.decide import describe_owner

_CONNECT = "`macnet connect`"


def installed(facts: Facts) -> Finding:
    """Whether the VPN client is here."""
    client = facts.tunnel.client
    client.require()
    version = client.version()
    return ok(f"{client.name}{f' {version}' if version else ''} ({facts.tunnel.client_reason})")


def connected(facts: Facts) -> Finding:
    """Whether the VPN client is connected; for a client of your own the server tells."""
    client = facts.tunnel.client
    status = client.status()
    said = f"{client.name} is {status.state}" + (f" ({status.detail})" if status.detail else "")
    if status.state is ClientState.CONNECTED:
        return ok(said)
    if status.state is ClientState.UNKNOWN:
        return _ask_server(facts, said)
    if status.state is ClientState.CONNECTING:
        # The port is open, but perhaps it is not the engine that has it.
        port = facts.state.port or 0
        owner = facts.tunnel.host.port_owner(port)
        if owner is not None:
            said += f"; port {port} is held by {describe_owner(owner)}"
        return fail(said, f"`macnet disconnect`, then {_CONNECT}: it tells why it does not connect")
    return fail(said, _CONNECT)


def _ask_server(facts: Facts, said: str) -> Finding:
    """The client does not tell (it may be the user's own), but the server knows."""
    if served := facts.connected_clients:
        return ok(f"{said}; the server serves {count(served, 'client')}")
    return fail(
        f"{said}; no client is connected to the server",
        f"connect your VPN client with {facts.tunnel.paths.profile}",
    )


def address(facts: Facts) -> Finding:
    """Whether an interface holds the client's address in the tunnel."""
    wanted = client_address(facts.own_subnets[0])
    if facts.interface is not None:
        return ok(f"{facts.interface} holds {wanted}")
    return fail(
        f"no interface of this machine holds {wanted}",
        f"`macnet disconnect`, then {_CONNECT}",
    )


def current(facts: Facts) -> Finding:
    """Whether the VPN client has read the present profile."""
    client = facts.tunnel.client
    status = client.status()
    # A client that does not say may be the user's own.
    if status.current or status.state is ClientState.UNKNOWN:
        return ok(f"{client.name} uses the present profile")
    return warn(f"{client.name} uses an older profile", "`macnet regenerate`")
