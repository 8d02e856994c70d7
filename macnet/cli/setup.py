"""``macnet setup``."""

from __future__ import annotations

from typing import Annotated

import typer

from macnet.cli import options


def setup(
    context: typer.Context,
    docker_context: options.Context = None,
    port: options.Port = None,
    tunnel_subnet: options.TunnelSubnet = None,
    tun_mtu: options.TunMtu = None,
    comp_lzo: options.CompLzo = None,
    network: options.Networks = None,
    exclude: options.Exclude = None,
    base_image: options.BaseImage = None,
    client: options.Client = None,
    routes: options.Routes = None,
    remap: options.Remap = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail if a subnet collides with this host.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, do nothing.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Go on even if containers answer without a tunnel."),
    ] = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Make the tunnel and connect it; safe to repeat.

    Options that are given are remembered for later commands.
    """
    from macnet.cli import views  # noqa: PLC0415
    from macnet.cli.session import open_session  # noqa: PLC0415

    session = open_session(
        context,
        context=docker_context,
        port=port,
        tunnel_subnet=tunnel_subnet,
        tun_mtu=tun_mtu,
        comp_lzo=comp_lzo,
        networks=network,
        exclude=exclude,
        base_image=base_image,
        client=client,
        routes=routes,
        remap=remap,
    )
    if dry_run:
        plan = session.tunnel.plan()
        session.output.result("plan", plan, views.plan(plan, session.tunnel))
        return
    done = session.tunnel.setup(force=force, strict=strict)
    session.output.result("setup", done, views.setup(done))
