"""Puts the commands together and is the one place where errors become words and exit codes."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from macnet import __version__
from macnet.cli import (
    agent,
    check,
    connect,
    disconnect,
    down,
    logs,
    map,
    networks,
    profile,
    regenerate,
    report,
    setup,
    status,
    watch,
)
from macnet.cli.output import Output
from macnet.errors import ChecksFailed, MacnetError

#: Exit status after Ctrl-C: 128 + SIGINT, as shells do.
INTERRUPTED = 130


class Boundary(TyperGroup):
    """Runs a command and turns `MacnetError` and Ctrl-C into a message and an exit code.

    Anything else is a bug and keeps its traceback.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command inside the boundary."""
        output = ctx.ensure_object(Output)
        try:
            return super().invoke(ctx)
        except ChecksFailed as error:
            raise typer.Exit(error.exit_code) from None  # its report has told all
        except MacnetError as error:
            output.error(error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            output.interrupted()
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="macnet",
    cls=Boundary,
    help="Reach Docker containers by their IP from this machine.",
    epilog="`macnet setup` makes the tunnel, `macnet check` finds what is wrong.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: it loads twice as fast
    pretty_exceptions_enable=False,  # they show local variables, which may be keys
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"macnet {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Reach Docker containers by their IP from this machine."""


for command in (
    setup.setup,
    regenerate.regenerate,
    check.check,
    status.status,
    networks.networks,
    connect.connect,
    disconnect.disconnect,
    profile.profile,
    watch.watch,
    logs.logs,
    report.report,
    down.down,
):
    app.command()(command)
app.command("map")(map.draw_map)

app.add_typer(agent.app)
