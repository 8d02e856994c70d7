"""``macnet regenerate``."""

from __future__ import annotations

from typing import Annotated

import typer

from macnet.cli import options


def regenerate(
    context: typer.Context,
    docker_context: options.Context = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="Make new certificates and keys as well.")
    ] = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Bring the tunnel up to date after Docker's networks changed."""
    from macnet.cli import views  # noqa: PLC0415
    from macnet.cli.session import open_session  # noqa: PLC0415

    session = open_session(context, context=docker_context)
    done = session.tunnel.regenerate(keys=keys)
    session.output.result("regenerate", done, views.regenerate(done))
