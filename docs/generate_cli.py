"""What the command line says of itself: cli.md, the man page, and the shells' completions."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import typer
from generate_table import table
from typer.completion import get_completion_script
from typer.core import TyperGroup
from typer.main import get_group

from macnet import __version__
from macnet.cli.app import app
from macnet.cli.options import Verb

Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class Command:
    """One command with what its help says."""

    name: str
    usage: str
    text: str
    arguments: Rows
    options: Rows
    examples: list[str]


def list_commands() -> Iterator[Command]:
    """Every command, in the order of the help."""

    def below(prefix: str, group: TyperGroup) -> Iterator[Command]:
        for name, command in group.commands.items():
            if isinstance(command, TyperGroup):
                yield from below(f"{prefix} {name}", command)
            elif isinstance(command, Verb):
                yield _command(f"{prefix} {name}", command)

    return below("macnet", get_group(app))


def _command(name: str, verb: Verb) -> Command:
    context = typer.Context(verb, info_name=name)
    return Command(
        name,
        verb.get_usage(context).removeprefix("Usage: "),
        inspect.cleandoc(verb.help or ""),
        verb.rows(context, "argument"),
        [row for row in verb.rows(context, "option") if "--help" not in row[0]],
        [line.strip() for line in (verb.epilog or "").splitlines()[2:]],
    )


def cli_text(commands: Iterable[Command]) -> str:
    """docs/reference/cli.md."""
    parts = [
        "# Commands\n",
        "Written by `docs/generate.py` from the commands themselves.\n",
        "`macnet` alone shows the tunnel's state and the next command.\n"
        "`macnet --version` shows the version; `-h` and `--help` work for every command. Most\n"
        "options of `macnet setup` are settings as well: [configuration.md](configuration.md).\n"
        "What a command ends with: [exit-codes.md](exit-codes.md). What `--json` prints:\n"
        "[json.md](json.md). With `--json` standard output has that and nothing else.\n",
    ]
    for command in commands:
        rows = ((f"`{what}`", help_) for what, help_ in (*command.arguments, *command.options))
        parts.append(f"## {command.name}\n")
        parts.append(f"```\n{command.usage}\n```\n")
        parts.append(f"{command.text}\n")
        parts.append(table(("argument or option", "what it does"), rows) + "\n")
        if command.examples:
            parts.append("```\n" + "\n".join(command.examples) + "\n```\n")
    return "\n".join(parts)


# The man page


def man_text(commands: Iterable[Command], exit_codes: Rows) -> str:
    """share/man/man1/macnet.1, for man(7)."""
    about = (get_group(app).help or "").rstrip(".")
    lines = [
        '.\\" Written by docs/generate.py from the commands themselves.',
        f'.TH MACNET 1 "" "macnet {__version__}" "User Commands"',
        ".SH NAME",
        f"macnet \\- {_roff(about[:1].lower() + about[1:])}",
        ".SH SYNOPSIS",
        ".B macnet",
        "COMMAND [OPTIONS] ...",
        ".br",
        ".B macnet \\-\\-version",
        ".SH COMMANDS",
        "Each command takes",
        ".B \\-\\-help",
        "as well.",
    ]
    for command in commands:
        lines += [f".SS {_roff(command.name)}", f".B {_roff(command.usage)}"]
        for paragraph in command.text.split("\n\n"):
            lines += [".PP", _roff(paragraph)]
        for what, help_ in (*command.arguments, *command.options):
            lines += [".TP", f".B {_roff(what)}", _roff(help_)]
        if command.examples:
            lines += [".PP", "Examples:", ".PP", ".RS 4", ".nf"]
            lines += map(_roff, command.examples)
            lines += [".fi", ".RE"]
    lines += [".SH EXIT STATUS"]
    for code, meaning in exit_codes:
        lines += [".TP", f".B {code}", _roff(meaning)]
    lines += [".SH SEE ALSO", ".BR docker (1),", ".BR openvpn (8)"]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """The text as roff shows it: no escape, no request, and hyphens that can be pasted."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return re.sub(r"^(?=[.'])", r"\\&", text)


# Completions


def completion_text(shell: str) -> str:
    """What a shell reads at its first Tab after ``macnet``."""
    script = get_completion_script(prog_name="macnet", complete_var="_MACNET_COMPLETE", shell=shell)
    if shell == "zsh":
        # From fpath the file itself is the function, called for the first Tab.
        register = "compdef _macnet_completion macnet"
        both = (
            "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n"
            '  _macnet_completion "$@"\n'
            f"else\n  {register}\nfi"
        )
        script = script.replace(register, both)
    return script.strip() + "\n"
