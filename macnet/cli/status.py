"""``macnet status``."""

from __future__ import annotations

import typer

from macnet.cli import options
from macnet.errors import EngineUnreachable, TunnelError


def status(
    context: typer.Context,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Show the tunnel, engine, client and settings.

    Exit code 0 when the tunnel is up, 8 when it is not, 3 when the engine does not answer.
    """
    from macnet.cli import views  # noqa: PLC0415
    from macnet.cli.session import open_session  # noqa: PLC0415

    session = open_session(context, context=docker_context)
    now = session.status()
    session.output.result("status", now, views.status(now, verbose=verbose))
    if now.engine.error is not None:
        raise typer.Exit(EngineUnreachable.exit_code)
    if not now.up:
        raise typer.Exit(TunnelError.exit_code)
