"""``macnet map``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from macnet.cli import options


def draw_map(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write a page (.html) or a picture (.svg)."
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, max=60, help="Seconds to wait for an answer.")
    ] = 1.0,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Draw the networks with their containers, ports and what answers."""
    from macnet.chart import draw_chart, save_picture  # noqa: PLC0415
    from macnet.chart.picture import picture_kind  # noqa: PLC0415
    from macnet.cli import tree  # noqa: PLC0415
    from macnet.cli.session import open_session  # noqa: PLC0415

    session = open_session(context, context=docker_context)
    if output is not None:
        picture_kind(output)  # a wrong ending is told before anything is asked
    chart = draw_chart(session.tunnel, timeout_s=timeout)
    if output is None:
        session.output.result("map", chart, tree.lines(chart))
        return
    save_picture(chart, output)
    session.output.result("map", chart, [f"{output} written"])
