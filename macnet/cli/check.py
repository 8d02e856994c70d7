"""``macnet check``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import typer

from macnet.cli import options
from macnet.errors import ChecksFailed


def check(
    context: typer.Context,
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET[:PORT]]...",
            help="Containers or addresses to reach; all containers where none is given.",
            autocompletion=options.complete_containers,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, max=60, help="Seconds to wait for an answer.")
    ] = 1.0,
    watch: Annotated[
        bool, typer.Option("--watch", help="Check again and again, until Ctrl-C.")
    ] = False,
    interval: Annotated[
        float, typer.Option("--interval", min=0.5, max=3600, help="Seconds between, with --watch.")
    ] = 2.0,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Find the broken hop between here and the containers. Exit code 9 if one is broken."""
    from macnet import checks  # noqa: PLC0415
    from macnet.cli import views  # noqa: PLC0415
    from macnet.cli.session import open_session  # noqa: PLC0415

    session = open_session(context, context=docker_context)

    output, every = session.output, verbose or bool(targets)

    def run(show: Callable[[str | None], None]) -> checks.Report:
        return checks.run(
            open_session(context, context=docker_context).tunnel,
            targets or [],
            timeout_s=timeout,
            on_result=lambda result: show(views.check_result(result, every=every)),
        )

    if not watch:
        # Below the words, not below the mark in front of them.
        report = run(lambda line: output.live(line, indent=6))
        output.result("check", report, views.check_summary(report, every=every))
        if not report.ok:
            raise ChecksFailed("checks failed")
        return
    try:
        while True:
            lines: list[str | None] = []
            report = run(lines.append)
            if output.json:
                output.event("check", report, "")
            else:
                summary = map(str, views.check_summary(report, every=every))
                output.redraw([*filter(None, lines), *summary])
            time.sleep(interval)
    except KeyboardInterrupt:
        raise typer.Exit from None  # that is how it ends
