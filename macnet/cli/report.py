"""``macnet report``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from macnet.cli import options


def report(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to (macnet-report-TIME.zip)."),
    ] = None,
    anonymize: Annotated[
        bool, typer.Option("--anonymize", help="Replace names by numbers, consistently.")
    ] = False,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Write an archive for a bug report: versions, settings, checks, logs; no keys."""
    from macnet.cli.session import open_session  # noqa: PLC0415
    from macnet.report import make_report, save_report  # noqa: PLC0415

    session = open_session(context, context=docker_context)
    parts = make_report(session.tunnel, session.status, anonymize=anonymize)
    target = output or Path(f"macnet-report-{datetime.now().astimezone():%Y%m%d-%H%M%S}.zip")
    save_report(parts, target)
    names = [part.name for part in parts]
    shown = [f"{target} written: {', '.join(names)}", "Look into it before you give it away."]
    session.output.result("report", {"path": str(target), "parts": names}, shown)
