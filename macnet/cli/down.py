"""``macnet down``."""

from __future__ import annotations

from typing import Annotated

import typer

from macnet.cli import options


def down(
    context: typer.Context,
    docker_context: options.Context = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Remove keys, profile and helper image as well.")
    ] = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Disconnect and remove the helper; nothing else of the engine is touched."""
    from macnet.cli import views  # noqa: PLC0415
    from macnet.cli.session import open_session  # noqa: PLC0415

    session = open_session(context, context=docker_context)
    done = session.tunnel.down(purge=purge)
    session.output.result("down", done, views.down(done, purged=purge))
