"""``macnet logs``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from macnet.cli import options


def logs(
    context: typer.Context,
    source: Annotated[
        Literal["server", "relay", "client"], typer.Argument(help="Whose log.")
    ] = "server",
    tail: Annotated[
        int, typer.Option("--tail", "-n", min=1, max=100000, help="How many lines.")
    ] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    docker_context: options.Context = None,
) -> None:
    """Show the log of the server, the relay or the openvpn client."""
    from macnet.cli.session import open_session  # noqa: PLC0415

    session = open_session(context, context=docker_context)
    for line in session.tunnel.logs(source, tail=tail, follow=follow):
        session.output.line(line)
