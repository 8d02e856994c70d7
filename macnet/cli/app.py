"""Puts the commands together and is the one place where errors become words and exit codes."""

from __future__ import annotations

import sys
from collections import UserDict
from collections.abc import Callable, Iterator
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
from macnet.cli.options import SETTINGS
from macnet.cli.output import Output
from macnet.errors import ChecksFailed, MacnetError

#: Exit status after Ctrl-C: 128 + SIGINT, as shells do.
INTERRUPTED = 130


#: Every command, in the order of the help: its function, or the app of its subcommands.
COMMANDS: dict[str, Callable[..., None] | typer.Typer] = {
    "setup": setup.setup,
    "regenerate": regenerate.regenerate,
    "check": check.check,
    "status": status.status,
    "networks": networks.networks,
    "map": map.draw_map,
    "connect": connect.connect,
    "disconnect": disconnect.disconnect,
    "profile": profile.profile,
    "watch": watch.watch,
    "agent": agent.app,
    "logs": logs.logs,
    "report": report.report,
    "down": down.down,
}


class OnDemand(UserDict[str, Any]):
    """Commands by name, each put together when it is asked for: all of them would take 9 ms."""

    def __getitem__(self, name: str) -> Any:
        """The command of that name."""
        found = self.data[name]
        if isinstance(found, typer.Typer):
            found = self.data[name] = typer.main.get_group(found)
        elif found is COMMANDS[name]:
            alone = typer.Typer(add_completion=False, **SETTINGS)
            alone.command(name)(found)
            found = self.data[name] = typer.main.get_command(alone)
        return found


class Boundary(TyperGroup):
    """Runs a command and turns `MacnetError` and Ctrl-C into a message and an exit code.

    Anything else is a bug and keeps its traceback.
    """

    def __init__(self, **settings: Any) -> None:
        """The group of all commands."""
        super().__init__(**settings)
        self.commands = OnDemand(COMMANDS)

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the help."""
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands with what each is for."""
        with formatter.section("Commands"):
            formatter.write_dl(_purposes())

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


def _purposes() -> Iterator[tuple[str, str]]:
    for name, one in COMMANDS.items():
        text = one.info.help if isinstance(one, typer.Typer) else one.__doc__
        yield name, str(text).partition("\n")[0].rstrip(".")


app = typer.Typer(
    name="macnet",
    cls=Boundary,
    help="Reach Docker containers by their IP from this machine.",
    epilog="`macnet setup` makes the tunnel, `macnet check` finds what is wrong.",
    no_args_is_help=True,
    **SETTINGS,
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
