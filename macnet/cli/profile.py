"""``macnet profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from macnet.cli import options


def profile(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it to FILE (mode 0600)."),
    ] = None,
    docker_context: options.Context = None,
    json: options.Json = False,
) -> None:
    """Print the client's profile, or write it to a file. It holds a private key."""
    from macnet.cli.session import open_session  # noqa: PLC0415

    session = open_session(context, context=docker_context)
    text = session.tunnel.profile_text()
    if output is None:
        session.output.result("profile", {"profile": text}, text.splitlines())
        return
    changed = session.tunnel.export_profile(output)
    words = "written" if changed else "unchanged"
    session.output.result(
        "profile", {"path": str(output), "changed": changed}, [f"{output} {words}"]
    )
