"""``macnet watch``."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from macnet.cli import options


def watch(
    context: typer.Context,
    docker_context: options.Context = None,
    once: Annotated[bool, typer.Option("--once", help="Take one look and end.")] = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Follow the engine and keep the routes right; one line per change.

    Ends on Ctrl-C and SIGTERM. With --json each line is an object.
    """
    from macnet.cli.session import open_session  # noqa: PLC0415
    from macnet.tunnel import Tunnel  # noqa: PLC0415
    from macnet.watch import Watch  # noqa: PLC0415

    def open_tunnel() -> Tunnel:
        return open_session(context, context=docker_context).tunnel

    output = open_session(context, context=docker_context).output
    watching = Watch(open_tunnel, lambda line: output.event("watch", line, line.text))
    if once:
        watching.once()
        return
    signal.signal(signal.SIGTERM, _end)
    try:
        watching.run()
    except KeyboardInterrupt:
        raise typer.Exit from None


def _end(_signal: int, _frame: object) -> None:
    raise typer.Exit
