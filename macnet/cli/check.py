"""``macnet check``."""

from __future__ import annotations

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
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, max=60, help="Seconds to wait for an answer.")
    ] = 1.0,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Find the broken hop between here and the containers. Exit code 9 if one is broken."""
    from macnet import checks  # noqa: PLC0415
    from macnet.cli import views  # noqa: PLC0415
    from macnet.cli.session import open_session  # noqa: PLC0415

    session = open_session(context, context=docker_context)

    every = verbose or bool(targets)

    def show(result: checks.Result) -> None:
        session.output.live(views.check_result(result, every=every))

    report = checks.run(session.tunnel, targets or [], timeout_s=timeout, on_result=show)
    session.output.result("check", report, views.check_summary(report, every=every))
    if not report.ok:
        raise ChecksFailed("checks failed")
