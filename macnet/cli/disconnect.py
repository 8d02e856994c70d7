"""``macnet disconnect``."""

from __future__ import annotations

import typer

from macnet.cli import options


def disconnect(
    context: typer.Context,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Disconnect the VPN client; the helper stays."""
    from macnet.cli.session import open_session  # noqa: PLC0415

    session = open_session(context, context=docker_context)
    changed = session.tunnel.disconnect()
    words = "disconnected" if changed else "was not connected"
    session.output.result(
        "disconnect", {"changed": changed}, [f"{session.tunnel.client.name} {words}"]
    )
