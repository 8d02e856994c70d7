"""The commands: each parses its options, calls the domain and hands the result to `Output`.

What a command needs is imported when it runs: the help, a completion and a usage error load none
of it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from macnet.choices import ClientChoice
from macnet.cli import agent, options
from macnet.cli import names as names_commands
from macnet.cli.options import examples
from macnet.errors import ChecksFailed, EngineUnreachable, MacnetError, TunnelError

if TYPE_CHECKING:
    from macnet.checks import Report, Result
    from macnet.cli.output import Output
    from macnet.cli.session import Session
    from macnet.tunnel import DownResult, SetupResult, Tunnel

EVERYDAY, LOOK, MORE = "Everyday", "Look", "More"
#: Commands that take up their work where Ctrl-C has ended it.
RESUMED = frozenset({"setup", "regenerate", "connect", "down"})

F = TypeVar("F", bound=Callable[..., Any])

app = typer.Typer(**options.SETTINGS)


def open_session(run: typer.Context, *, context: str | None, **given: object) -> Session:
    """The session of a command; options in ``given`` hold for this one only."""
    from macnet.cli import session

    return session.open_session(run, context=context, **given)


def overview(context: typer.Context) -> None:
    """Show the state of the tunnel, and the next command: what `macnet` alone does."""
    from macnet.cli import first

    first.overview(open_session(context, context=None))


def _command(panel: str, *lines: str, name: str | None = None) -> Callable[[F], F]:
    return app.command(name, cls=options.Verb, rich_help_panel=panel, epilog=examples(*lines))


@_command(
    EVERYDAY,
    "macnet setup",
    "macnet setup --names",
    "macnet setup --dry-run",
    "macnet setup --network 'shop_*' --exclude shop_admin",
    "macnet setup --remap auto",
    "macnet setup --also 10.20.0.0/16=router",
    "macnet setup --unset exclude",
)
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
    also: options.Also = None,
    expose: options.Expose = None,
    names: Annotated[
        bool,
        typer.Option("--names", help="Give containers names as well, as `macnet names on` does."),
    ] = False,
    domain: options.Domain = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail if a subnet collides with this host.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what setup would do, and change nothing.")
    ] = False,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline", help="Download nothing for the helper image; say what is missing."
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Make a tunnel even if containers answer without one."),
    ] = False,
    reset: Annotated[
        bool, typer.Option("--reset", help="Forget the options of earlier setups.")
    ] = False,
    unset: Annotated[
        list[str] | None,
        typer.Option(
            "--unset",
            metavar="OPTION",
            help="Forget one option of earlier setups; may be repeated.",
        ),
    ] = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Make the tunnel and connect it; safe to repeat.

    Setup remembers the options that you give. Every other command uses the settings that setup
    stored.
    """
    from macnet.cli import first, views
    from macnet.cli import session as sessions
    from macnet.tunnel import naming

    if domain is not None and not names:
        raise typer.BadParameter("--domain is for names: give --names too")
    given = {
        "port": port,
        "tunnel_subnet": tunnel_subnet,
        "tun_mtu": tun_mtu,
        "comp_lzo": comp_lzo,
        "networks": network,
        "exclude": exclude,
        "base_image": base_image,
        "client": client,
        "routes": routes,
        "remap": remap,
        "also": also,
        "expose": expose,
    }

    def opened() -> Session:
        return sessions.open_setup(
            context, context=docker_context, reset=reset, unset=unset or (), options=given
        )

    if dry_run:
        session = opened()
        plan = session.tunnel.plan(force=force, strict=strict, offline=offline)
        if names and plan.already_reachable is None:
            plan = replace(plan, names=naming.plan_on(session.tunnel, domain=domain))
        session.output.result("plan", plan, views.plan(plan, session.tunnel))
        return

    def make(session: Session) -> tuple[Session, SetupResult]:
        tunnel = session.tunnel
        if names:
            return session, naming.set_up(
                tunnel, domain=domain, force=force, strict=strict, offline=offline
            )
        return session, tunnel.setup(force=force, strict=strict, offline=offline)

    session, done = first.with_client(opened, make)
    session.output.result("setup", done, views.setup(done))


@_command(
    EVERYDAY,
    "macnet check",
    "macnet check redis:6379",
    "macnet check web.shop.docker.test",
    "macnet check 172.17.0.2 --watch",
)
def check(
    context: typer.Context,
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET[:PORT]",
            help="Names or addresses to reach.  [default: all containers]",
            autocompletion=options.complete_targets,
        ),
    ] = None,
    timeout: options.Timeout = 1.0,
    watch: Annotated[bool, typer.Option("--watch", help="Check repeatedly, until Ctrl-C.")] = False,
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            metavar="SECONDS",
            min=0.5,
            max=3600,
            show_default=True,
            help="Pause between two checks, with --watch.",
        ),
    ] = 2.0,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Find the broken hop between here and the containers.

    Exit code 0 if nothing failed, 9 if something did.
    """
    from macnet import checks
    from macnet.cli import views

    output = open_session(context, context=docker_context).output

    def run() -> Report:
        def tell(result: Result) -> None:
            output.busy(f"checking: {result.title}")

        try:
            tunnel = open_session(context, context=docker_context).tunnel
            return checks.run(tunnel, targets or [], timeout_s=timeout, on_result=tell)
        finally:
            output.idle()

    if not watch:
        report = run()
        shown = views.check(report, every=verbose, subjects=bool(targets))
        output.result("check", report, shown)
        if not report.ok:
            raise ChecksFailed("checks failed")
        return
    try:
        with output.screen() as show:
            while True:
                report = run()
                if output.json:
                    output.event("check", report, "")
                else:
                    show(views.check(report, every=verbose, subjects=bool(targets)))
                time.sleep(interval)
    except KeyboardInterrupt:
        raise typer.Exit from None  # that is how it ends


@_command(EVERYDAY, "macnet status", "macnet status --all --json")
def status(
    context: typer.Context,
    docker_context: options.Context = None,
    everything: options.All = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Show the tunnel, engine, client and settings.

    Exit code 0 when the tunnel is up, 8 when it is not, 3 when the engine does not answer.
    """
    from macnet.cli import session as sessions
    from macnet.cli import views

    if everything:
        opened = sessions.open_sessions(context)
        found = [session.status(one_of_many=True) for session in opened]
        shown = [line for now in found for line in (*views.status(now, verbose=verbose), "")]
        opened[0].output.result("status_all", found, shown[:-1])
    else:
        session = open_session(context, context=docker_context)
        with session.output.working("looking"):
            found = [session.status()]
        session.output.result("status", found[0], views.status(found[0], verbose=verbose))
    if any(now.engine.error is not None for now in found):
        raise typer.Exit(EngineUnreachable.exit_code)
    if not all(now.up for now in found):
        raise typer.Exit(TunnelError.exit_code)


@_command(EVERYDAY, "macnet regenerate", "macnet regenerate --keys")
def regenerate(
    context: typer.Context,
    docker_context: options.Context = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="Make new certificates and keys as well.")
    ] = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Bring the routes up to date after Docker's networks changed.

    Keys stay as they are unless --keys is given.
    """
    from macnet.cli import views

    session = open_session(context, context=docker_context)
    done = session.tunnel.regenerate(keys=keys)
    session.output.result("regenerate", done, views.regenerate(done))


@_command(EVERYDAY, "macnet connect", "macnet connect --context colima")
def connect(
    context: typer.Context,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Connect the VPN client with the stored profile."""
    session = open_session(context, context=docker_context)
    changed = session.tunnel.connect()
    _tell_client(session, "connect", changed, "connected", "was already connected")


@_command(EVERYDAY, "macnet disconnect", "macnet disconnect --context colima")
def disconnect(
    context: typer.Context,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Disconnect the VPN client; server and relay keep running."""
    session = open_session(context, context=docker_context)
    changed = session.tunnel.disconnect()
    _tell_client(session, "disconnect", changed, "disconnected", "was not connected")


def _tell_client(session: Session, kind: str, changed: bool, done: str, already: str) -> None:
    name = session.tunnel.client.name
    if name == ClientChoice.NONE:
        # It is the user's to do, which the client has said; one of before may have been ended.
        shown = [done] if changed else []
    else:
        shown = [f"{name} {done if changed else already}"]
    session.output.result(kind, {"changed": changed}, shown)


@_command(EVERYDAY, "macnet down", "macnet down --purge", "macnet down --all")
def down(
    context: typer.Context,
    docker_context: options.Context = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Remove keys, profile and helper image as well.")
    ] = False,
    everything: options.All = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Disconnect and remove macnet's containers; keys, profile and image stay."""
    from macnet.cli import session as sessions
    from macnet.cli import views
    from macnet.tunnel.naming import take_down

    if not everything:
        session = open_session(context, context=docker_context)
        done = take_down(session.tunnel, purge=purge)
        session.output.result("down", done, views.down(done, purged=purge))
        return
    opened = sessions.open_sessions(context)
    found: list[DownResult] = []
    errors: list[MacnetError] = []
    for session in opened:
        try:
            found.append(take_down(session.tunnel, purge=purge))
        except MacnetError as error:  # an engine that is away must not keep the others up
            errors.append(error)
    output = opened[0].output
    shown = [line for done in found for line in views.down(done, purged=purge)]
    told = [{"code": e.code, "message": str(e), "hint": e.hint} for e in errors]
    output.result("down_all", {"tunnels": found, "errors": told}, shown)
    for one in () if output.json else errors:
        output.error(one)
    if errors:
        raise typer.Exit(errors[0].exit_code)


@_command(LOOK, "macnet networks", "macnet networks --exclude 'test_*'")
def networks(
    context: typer.Context,
    docker_context: options.Context = None,
    network: options.ShownNetworks = None,
    exclude: options.ShownExclude = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """List Docker's networks: which are routed, which not and why, and who is on them."""
    from macnet.cli import views
    from macnet.tunnel.naming import list_named_networks

    session = open_session(context, context=docker_context, networks=network, exclude=exclude)
    with session.output.working("asking the engine"):
        found = list_named_networks(session.tunnel)
    session.output.result("networks", found, views.networks(found, every=verbose))


@_command(LOOK, "macnet map", "macnet map -o map.html", "macnet map --serve", name="map")
def draw_map(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write a page (.html) or a picture (.svg)."
        ),
    ] = None,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", help="Show the page on 127.0.0.1 and keep it up to date, until Ctrl-C."
        ),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="PORT",
            min=0,
            max=65535,
            help="Where --serve listens; 0 chooses one.  [default: 13180, or a free one]",
        ),
    ] = None,
    timeout: options.Timeout = 1.0,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Draw the networks with their containers, ports and what answers."""
    from macnet.chart import draw_chart, save_picture
    from macnet.chart.picture import picture_kind
    from macnet.cli import tree

    if serve and output is not None:
        raise typer.BadParameter("--serve and --output are two ways to show it: give one of them")
    if port is not None and not serve:
        raise typer.BadParameter("--port is for --serve: give --serve too")
    session = open_session(context, context=docker_context)
    if serve:
        _serve_map(context, docker_context, session.output, port, timeout)
        return
    if output is not None:
        picture_kind(output)  # a wrong ending is told before anything is asked
    with session.output.working("asking the engine and its containers"):
        chart = draw_chart(session.tunnel, timeout_s=timeout)
    if output is None:
        session.output.result("map", chart, tree.lines(chart))
        return
    save_picture(chart, output)
    session.output.result("map", chart, [f"{output} written"])


def _serve_map(
    context: typer.Context,
    docker_context: str | None,
    output: Output,
    port: int | None,
    timeout_s: float,
) -> None:
    from threading import Thread

    from macnet.chart.live import LiveMap
    from macnet.chart.server import Board, listen

    def open_tunnel() -> Tunnel:
        return open_session(context, context=docker_context).tunnel

    board = Board()
    live = LiveMap(open_tunnel, board.put, watched=lambda: board.watched, timeout_s=timeout_s)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with listen(port, board) as server:
        Thread(target=server.serve_forever, name="map", daemon=True).start()
        output.result("map_served", {"url": server.url}, [f"{server.url} (Ctrl-C ends)"])
        try:
            live.run()
        except KeyboardInterrupt:
            raise typer.Exit from None  # that is how it ends
        finally:
            board.close()
            server.shutdown()


@_command(LOOK, "macnet logs", "macnet logs relay -n 20", "macnet logs client -f")
def logs(
    context: typer.Context,
    source: Annotated[
        Literal["server", "relay", "client"],
        typer.Argument(metavar="server|relay|client", show_default=True, help="Whose log to show."),
    ] = "server",
    tail: Annotated[
        int,
        typer.Option(
            "--tail",
            "-n",
            metavar="LINES",
            min=1,
            max=100000,
            show_default=True,
            help="How many lines.",
        ),
    ] = 100,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing new lines, until Ctrl-C.")
    ] = False,
    docker_context: options.Context = None,
) -> None:
    """Show the log of the server, the relay or openvpn (Tunnelblick keeps its own)."""
    session = open_session(context, context=docker_context)
    lines = session.tunnel.logs(source, tail=tail, follow=follow)
    try:
        for number, line in enumerate(lines):
            if number == 0:
                session.output.heading(f"log of the {source}, at most {tail} lines")
            session.output.raw(line)
    except KeyboardInterrupt:
        if not follow:
            raise
        raise typer.Exit from None  # that is how it ends


@_command(LOOK, "macnet profile", "macnet profile -o docker.ovpn")
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
    session = open_session(context, context=docker_context)
    if output is None:
        text = session.tunnel.profile_text()
        if json:
            session.output.result("profile", {"profile": text}, [])
        else:
            session.output.raw(*text.splitlines())
        return
    changed = session.tunnel.export_profile(output)
    words = "written" if changed else "unchanged"
    session.output.result(
        "profile", {"path": str(output), "changed": changed}, [f"{output} {words}"]
    )


@_command(LOOK, "macnet report", "macnet report --anonymize -o report.zip")
def report(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to write it.  [default: macnet-report-TIME.zip]",
        ),
    ] = None,
    anonymize: Annotated[
        bool, typer.Option("--anonymize", help="Replace names by numbers, consistently.")
    ] = False,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Write an archive for a bug report: versions, settings, checks, logs; no keys."""
    from macnet.report import make_report, save_report

    session = open_session(context, context=docker_context)
    with session.output.working("looking at everything"):
        parts = make_report(session.tunnel, session.status, anonymize=anonymize)
    target = output or Path(f"macnet-report-{datetime.now().astimezone():%Y%m%d-%H%M%S}.zip")
    save_report(parts, target)
    names = [part.name for part in parts]
    shown = [f"{target} written: {', '.join(names)}", "Read it before you share it."]
    session.output.result("report", {"path": str(target), "parts": names}, shown)


@_command(MORE, "macnet watch", "macnet watch --once", "macnet watch --json")
def watch(
    context: typer.Context,
    docker_context: options.Context = None,
    once: Annotated[bool, typer.Option("--once", help="Update the routes once and exit.")] = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Keep routes up to date while networks change, and answer for names.

    Prints one line per change, until Ctrl-C or SIGTERM. With --json each line is an object.
    """
    from macnet.watch import Watch

    def open_tunnel() -> Tunnel:
        return open_session(context, context=docker_context).tunnel

    output = open_session(context, context=docker_context).output
    watching = Watch(open_tunnel, lambda line: output.event("watch", line, line.text))
    if once:
        watching.once()
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        watching.run()
    except KeyboardInterrupt:
        raise typer.Exit from None  # that is how it ends


app.add_typer(agent.app, name="agent", rich_help_panel=MORE)
app.add_typer(names_commands.app, name="names", rich_help_panel=MORE)
