"""``macnet down``."""

from __future__ import annotations

from typing import Annotated

import typer

from macnet.cli import options
from macnet.errors import MacnetError


def down(
    context: typer.Context,
    docker_context: options.Context = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Remove keys, profile and helper image as well.")
    ] = False,
    everything: options.All = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Disconnect and remove the helper; nothing else of the engine is touched."""
    from macnet.cli import views  # noqa: PLC0415
    from macnet.cli.session import open_session, open_sessions  # noqa: PLC0415
    from macnet.tunnel import DownResult  # noqa: PLC0415

    if not everything:
        session = open_session(context, context=docker_context)
        done = session.tunnel.down(purge=purge)
        session.output.result("down", done, views.down(done, purged=purge))
        return
    sessions = open_sessions(context)
    found: list[DownResult] = []
    errors: list[MacnetError] = []
    for session in sessions:
        try:
            found.append(session.tunnel.down(purge=purge))
        except MacnetError as error:  # an engine that is away must not keep the others up
            errors.append(error)
    output = sessions[0].output
    shown = [line for done in found for line in views.down(done, purged=purge)]
    told = [{"code": e.code, "message": str(e), "hint": e.hint} for e in errors]
    output.result("down_all", {"tunnels": found, "errors": told}, shown)
    for one in () if output.json else errors:
        output.error(one)
    if errors:
        raise typer.Exit(errors[0].exit_code)
