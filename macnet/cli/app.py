"""Puts the commands together and is the one place where errors become words and exit codes."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from macnet import __version__
from macnet.cli import commands
from macnet.cli.commands import EVERYDAY, LOOK, MORE, RESUMED
from macnet.cli.output import Output
from macnet.errors import ChecksFailed, MacnetError, PrivilegeError, WrongUsage

#: Exit status after Ctrl-C: 128 + SIGINT, as shells do.
INTERRUPTED = 130

app = commands.app

#: What other tools call it, and what does it here.
_ELSEWHERE = {
    "up": "`macnet setup` makes the tunnel and connects it",
    "start": "`macnet setup` makes the tunnel and connects it",
    "stop": "`macnet disconnect` ends the connection, `macnet down` removes the helper too",
    "ps": "`macnet networks` lists networks and containers, `macnet status` shows the tunnel",
    "ls": "`macnet networks` lists networks and containers, `macnet status` shows the tunnel",
    "list": "`macnet networks` lists networks and containers, `macnet status` shows the tunnel",
    "help": "`macnet --help` lists the commands, `macnet COMMAND --help` explains one",
    "version": "`macnet --version` shows the version",
    "doctor": "`macnet check` finds what is broken",
}


class Boundary(TyperGroup):
    """Runs a command and turns errors and Ctrl-C into a message and an exit code.

    Anything else is a bug and keeps its traceback.
    """

    def main(self, args: Sequence[str] | None = None, *rest: Any, **settings: Any) -> Any:
        """Run the command line; wrong usage ends it like every other error."""
        words = list(sys.argv[1:] if args is None else args)
        output = Output()
        # Known before the options are parsed: an error in them is JSON too.
        output.json = "--json" in words
        settings |= {"obj": output, "standalone_mode": False}
        try:
            code = super().main(words, *rest, **settings)
        except typer.TyperException as error:
            output.error(_wrong_usage(error, _path(self, words)))
            code = WrongUsage.exit_code
        sys.exit(code)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands in their groups, each with what it is for."""
        width = max(map(len, self.commands)) + 2
        for panel in (EVERYDAY, LOOK, MORE):
            rows = [
                (name.ljust(width - 2), command.get_short_help_str(limit=100))
                for name, command in self.commands.items()
                if getattr(command, "rich_help_panel", None) == panel
            ]
            with formatter.section(panel):
                formatter.write_dl(rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is named first; other tools' words lead to ours."""
        name = args[0]
        if name in self.commands or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        near = get_close_matches(name, self.commands, n=1)
        hint = f"did you mean `macnet {near[0]}`?" if near else "`macnet --help` lists the commands"
        raise WrongUsage(f"there is no command {name!r}", hint=_ELSEWHERE.get(name, hint))

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
            output.interrupted(resumes=ctx.invoked_subcommand in RESUMED)
            raise typer.Exit(INTERRUPTED) from None


def _path(group: TyperGroup, words: Sequence[str]) -> str:
    """The command that ``words`` begin with, as its help is asked for."""
    path = "macnet"
    for word in (word for word in words if not word.startswith("-")):
        if (command := group.commands.get(word)) is None:
            break
        path = f"{path} {word}"
        if not isinstance(command, TyperGroup):
            break
        group = command
    return path


def _wrong_usage(error: Any, path: str) -> WrongUsage:
    """The parser's error in our words; ``path`` is the command where it does not tell that."""
    command = error.ctx.command_path if getattr(error, "ctx", None) else path
    if possibilities := getattr(error, "possibilities", None):
        hint = f"did you mean {' or '.join(sorted(possibilities))}?"
    else:
        hint = f"`{command} --help` shows how it is used"
    param = getattr(error, "param", None)
    if isinstance(error, typer.BadParameter) and param is not None and error.message:
        words = next(_value_words(error.__cause__), error.message.rstrip("."))
        words = words.removeprefix("Value error, ")
        name = f"{param.opts[0]}: " if param.param_type_name == "option" else ""
        return WrongUsage(f"{name}{words}", hint=hint)
    words = (getattr(error, "message", "") or error.format_message()).replace("(s) (", " (")
    return WrongUsage(words[:1].lower() + words[1:].rstrip("."), hint=hint)


def _value_words(cause: Any) -> Iterator[str]:
    """What is wrong with a number, for a person: Typer gives pydantic's words."""
    for found in cause.errors() if hasattr(cause, "errors") else ():
        given, limits = found.get("input"), found.get("ctx", {})
        if str(found["type"]).startswith("int"):
            yield f"{given!r} is not a whole number"
        elif str(found["type"]).startswith("float"):
            yield f"{given!r} is not a number"
        elif "ge" in limits:
            yield f"{given} is too small: the least is {limits['ge']:g}"
        elif "le" in limits:
            yield f"{given} is too large: the most is {limits['le']:g}"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"macnet {__version__}")
        raise typer.Exit


@app.callback(
    cls=Boundary,
    invoke_without_command=True,
    epilog="`macnet` alone shows the tunnel's state and the next command.",
)
def macnet(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Reach Docker containers by IP address and name from this machine."""
    refuse_sudo()
    if context.invoked_subcommand is None:
        commands.overview(context)


def refuse_sudo() -> None:
    """Raise `PrivilegeError` under a Mac's sudo, which keeps HOME: root would own the files."""
    from macnet import host

    user = os.environ.get("SUDO_USER")
    if not user or host.system() != "macos" or not host.is_root():
        return
    if Path.home() != Path(pwd.getpwuid(0).pw_dir):
        raise PrivilegeError(
            f"macnet runs by sudo, but its files in {Path.home()} belong to {user}",
            hint="run it without sudo: it asks for administrator rights when it needs them",
        )
