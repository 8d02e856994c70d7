"""``macnet networks``."""

from __future__ import annotations

import typer

from macnet.cli import options


def networks(
    context: typer.Context,
    docker_context: options.Context = None,
    network: options.Networks = None,
    exclude: options.Exclude = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """List Docker's networks: which are routed, which not and why, and who is on them."""
    from macnet.cli import views  # noqa: PLC0415
    from macnet.cli.session import open_session  # noqa: PLC0415

    session = open_session(context, context=docker_context, networks=network, exclude=exclude)
    found = session.tunnel.networks()
    session.output.result("networks", found, views.networks(found))
