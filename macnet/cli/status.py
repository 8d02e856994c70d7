"""``macnet status``."""

from __future__ import annotations

import typer

from macnet.cli import options
from macnet.errors import EngineUnreachable, TunnelError


def status(
    context: typer.Context,
    docker_context: options.Context = None,
    everything: options.All = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Show the tunnel, engine, client and settings.

    Exit code 0 when the tunnel is up, 8 when it is not, 3 when the engine does not answer.
    """
    from macnet.cli import views  # noqa: PLC0415
    from macnet.cli.session import open_session, open_sessions  # noqa: PLC0415

    if everything:
        sessions = open_sessions(context)
        found = [session.status(one_of_many=True) for session in sessions]
        shown = [line for now in found for line in (*views.status(now, verbose=verbose), "")]
        sessions[0].output.result("status_all", found, shown[:-1])
    else:
        session = open_session(context, context=docker_context)
        found = [session.status()]
        session.output.result("status", found[0], views.status(found[0], verbose=verbose))
    if any(now.engine.error is not None for now in found):
        raise typer.Exit(EngineUnreachable.exit_code)
    if not all(now.up for now in found):
        raise typer.Exit(TunnelError.exit_code)
