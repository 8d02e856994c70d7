"""``macnet names [on | off | flush]``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from macnet.cli import options
from macnet.cli.options import examples

if TYPE_CHECKING:
    from macnet.cli.session import Session
    from macnet.tunnel import Tunnel

app = typer.Typer(
    name="names",
    help="Reach containers by name, such as redis.docker.test.",
    invoke_without_command=True,
    **options.SETTINGS,
)

Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        metavar="PORT",
        min=1,
        max=65535,
        help="Port on 127.0.0.1 where macnet answers.  [default: 13153, or the next free one]",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="NAME",
        help="Answer for cluster.local too, by asking this Kubernetes cluster; "
        "see `macnet setup --also`.",
    ),
]
NoCluster = Annotated[
    bool, typer.Option("--no-cluster", help="Take `--cluster` back: leave cluster.local alone.")
]


def _open(context: typer.Context, docker_context: str | None) -> Session:
    """The tunnel of ``--context``, which may also stand before the subcommand."""
    from macnet.cli.session import open_session

    before = context.parent.params.get("docker_context") if context.parent is not None else None
    return open_session(context, context=docker_context or before)


@app.callback()
def names(
    context: typer.Context,
    docker_context: options.Context = None,
    json: options.Json = False,
) -> None:
    """Reach containers by name, such as redis.docker.test."""
    if context.invoked_subcommand is None:
        list_names(context, docker_context)


@app.command(
    cls=options.Verb, name="list", epilog=examples("macnet names", "macnet names list --json")
)
def list_names(
    context: typer.Context,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """List the names of the running containers.

    Names that were refused come last, with the reason.
    """
    from macnet.cli import views
    from macnet.tunnel.naming import report_names

    session = _open(context, docker_context)
    with session.output.working("asking the engine"):
        found = report_names(session.tunnel)
    session.output.result("names", found, views.names(found))


@app.command(
    cls=options.Verb,
    epilog=examples(
        "macnet names on",
        "macnet names on --domain docker.home.arpa",
        "macnet names on --cluster kind",
    ),
)
def on(
    context: typer.Context,
    domain: options.Domain = None,
    port: Port = None,
    cluster: Cluster = None,
    no_cluster: NoCluster = False,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Switch names on: programs on this machine find containers by name.

    On a Mac this writes a file to /etc/resolver, as root. `macnet watch` answers for the names.
    Domain, port and cluster of before are kept where no other is given.
    """
    from macnet.cli import views
    from macnet.names.system import fill_interface
    from macnet.tunnel.naming import NO_CLUSTER, switch_on

    if cluster is not None and no_cluster:
        raise typer.BadParameter("--cluster and --no-cluster exclude each other")
    session = _open(context, docker_context)
    wanted = NO_CLUSTER if no_cluster else cluster
    tunnel = session.tunnel
    done = switch_on(tunnel, domain=domain, port=port, cluster=wanted)
    if done.steps:
        done = replace(done, steps=fill_interface(done.steps, _interface(tunnel)))
    session.output.result("names_switch", done, views.names_switch(done))


def _interface(tunnel: Tunnel) -> str | None:
    """The interface of a tunnel that is connected."""
    from macnet.errors import MacnetError
    from macnet.tunnel.conflicts import own_interface, present_subnets

    try:
        subnet, _ = present_subnets(tunnel.settings, tunnel.state())
        return own_interface(tunnel.host.interfaces(), subnet)
    except MacnetError:
        return None


@app.command(
    cls=options.Verb, epilog=examples("macnet names off", "macnet names off --context colima")
)
def off(
    context: typer.Context,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Undo `macnet names on`."""
    from macnet.cli import views
    from macnet.tunnel.naming import switch_off

    session = _open(context, docker_context)
    done = switch_off(session.tunnel)
    session.output.result("names_switch", done, views.names_switch(done))


@app.command(cls=options.Verb, epilog=examples("macnet names flush", "macnet names flush --json"))
def flush(
    context: typer.Context,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Empty this machine's cache of names.

    macOS remembers for 77 seconds that a name does not exist.
    """
    from macnet.tunnel import naming

    session = _open(context, docker_context)
    changed = naming.flush(session.tunnel)
    words = "the cache of names is empty" if changed else "nothing here keeps names for long"
    session.output.result("names_flush", {"changed": changed}, [words])
