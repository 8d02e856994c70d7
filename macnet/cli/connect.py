"""``macnet connect``."""

from __future__ import annotations

import typer

from macnet.cli import options


def connect(
    context: typer.Context,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Connect the VPN client with the stored profile."""
    from macnet.cli.session import open_session  # noqa: PLC0415

    session = open_session(context, context=docker_context)
    changed = session.tunnel.connect()
    words = "connected" if changed else "was connected already"
    session.output.result(
        "connect", {"changed": changed}, [f"{session.tunnel.client.name} {words}"]
    )
