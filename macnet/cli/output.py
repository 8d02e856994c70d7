"""The only module that prints. Results go to stdout, progress and errors to stderr.

With ``--json`` stdout carries one object, whether the command succeeds or fails; commands that
follow something print one object per line.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from macnet.errors import MacnetError
from macnet.plain import to_plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text

#: The version of the JSON objects; raised when a field goes or changes its meaning.
JSON_VERSION = 1
#: Width of tables that are not on a terminal: nothing is wrapped for a pipe or a file.
_PIPE_WIDTH = 10_000
#: The colours of the words in front of a line.
_STYLES = {
    "error:": "bold red",
    "interrupted": "bold red",
    "hint:": "bold cyan",
    "next:": "bold cyan",
    "fix:": "bold cyan",
    "warning:": "bold yellow",
    "ok": "green",
    "warn": "bold yellow",
    "FAIL": "bold red",
    "skip": "dim",
    "✓": "green",
    "✗": "red",
    "failed": "red",
}

#: A command of ours in a text that goes by tunnel, and does not name a context yet.
_COMMAND = re.compile(
    r"`(macnet (?:setup|check|status|regenerate|connect|disconnect|down|networks|map|logs|profile"
    r"|report|watch|names|agent install)\b(?:(?!--context|--all)[^`])*)`"
)


class Line(NamedTuple):
    """One line with a word in front, which has a colour on a terminal.

    ``mark`` may end in spaces; what does not fit is continued below ``text``.
    """

    mark: str
    text: str


Shown = str | Line


class Output:
    """Prints for one run of the command line; it also is the domain's `Progress`."""

    def __init__(self) -> None:
        """Plain output until an option says otherwise."""
        self.json = False
        self.verbose = False
        #: The Docker context that an option named: commands in texts are typed with it too.
        self.context: str | None = None
        self._stage: str | None = None
        self._began = 0.0
        self._spinner: Spinner | None = None
        self._live: Live | None = None
        self._told: set[str] = set()

    @cached_property
    def _out(self) -> Console:
        return _console(stderr=False)

    @cached_property
    def _err(self) -> Console:
        return _console(stderr=True)

    def result(self, kind: str, value: object, shown: Iterable[Shown | Table]) -> None:
        """Print a command's result: ``value`` as JSON, or what a view made of it."""
        if self.json:
            self._print_json(
                {"version": JSON_VERSION, "kind": kind, kind: to_plain(value)}, indent=2
            )
            return
        for item in shown:
            if isinstance(item, str | Line):
                self.line(item)
            else:
                self._table(item)

    def event(self, kind: str, value: object, text: str) -> None:
        """Print one of many: a line of text with the time, or one line of JSON."""
        if self.json:
            self._print_json({"version": JSON_VERSION, "kind": kind, kind: to_plain(value)})
        else:
            self.line(Line(time.strftime("%H:%M:%S"), text))

    @contextmanager
    def screen(self) -> Iterator[Callable[[Iterable[Shown]], None]]:
        """Give a function that shows lines in place of the ones before; without a terminal below.

        A terminal shows what fits on it.
        """
        from rich.console import Group
        from rich.live import Live

        def headed(lines: Iterable[Shown]) -> Iterator[Shown]:
            yield Line(time.strftime("%H:%M:%S"), " (Ctrl-C ends)")
            yield from lines

        if not self._out.file.isatty():

            def below(lines: Iterable[Shown]) -> None:
                for line in (*headed(lines), ""):
                    self.line(line)

            yield below
            return
        with Live(
            console=self._out,
            auto_refresh=False,
            vertical_overflow="crop",
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live:

            def in_place(lines: Iterable[Shown]) -> None:
                texts = [_styled(line) for line in headed(lines)]
                for text in texts:
                    text.no_wrap, text.overflow = True, "crop"
                live.update(Group(*texts), refresh=True)

            yield in_place

    def line(self, text: Shown) -> None:
        """Print one line to stdout; on a terminal it wraps at words."""
        if isinstance(text, Line):
            _print(self._out, Line(text.mark, self._typed(text.text)))
        else:
            _print(self._out, self._typed(text))

    def raw(self, *lines: str) -> None:
        """Print lines as they are, without control characters that others may have put in."""
        sys.stdout.write("".join(f"{printable(line)}\n" for line in lines))
        sys.stdout.flush()

    def heading(self, text: str) -> None:
        """Say on a terminal what follows; a pipe or a file gets what follows alone."""
        if sys.stdout.isatty():
            self.line(Line(f"== {text} ==", ""))

    def error(self, error: MacnetError) -> None:
        """Print an error with its detail and hint; as JSON on one line, also amid events."""
        if self.json:
            self._json_error(error.code, error.exit_code, str(error), error.hint, error.detail)
            return
        for line in (error.detail or "").splitlines():
            self._note("  |", line)
        self._note("error:", str(error))
        if error.hint:
            self._note("hint:", error.hint)

    def interrupted(self, *, resumes: bool) -> None:
        """Tell that Ctrl-C ended the command, and where; ``resumes``: it goes on the next time."""
        where = f"while {self._stage}" if self._stage else ""
        if self.json:
            self._json_error("interrupted", 130, f"interrupted {where}".rstrip(), None, None)
            return
        self._note("interrupted", where)
        if resumes:
            self._note("hint:", "run the same command again to continue")

    def busy(self, text: str) -> None:
        """Show what goes on until `idle`, on a terminal only."""
        if self._quiet or not self._err.file.isatty():
            return
        from rich.live import Live
        from rich.spinner import Spinner

        if self._live is None:
            self._spinner = Spinner("line")
            self._live = Live(
                self._spinner,
                console=self._err,
                transient=True,
                refresh_per_second=12.5,
                redirect_stdout=False,
                redirect_stderr=False,
            )
        assert self._spinner is not None  # noqa: S101 - the two are made together
        cut = printable(text)[: max(20, self._err.width - 4)]
        self._spinner.update(text=_styled(cut))
        self._live.start()

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show ``text`` while the block runs, on a terminal only."""
        self.busy(text)
        try:
            yield
        finally:
            self.idle()

    @property
    def interactive(self) -> bool:
        """Whether a user at a terminal reads what is told, and can answer."""
        return not self.json and self._err.file.isatty() and sys.stdin.isatty()

    def ask(self, question: str) -> bool:
        """Ask a user at a terminal; anything but y or yes is a no."""
        _print(self._err, question, end=" [y/N] ")
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    def idle(self) -> None:
        """End what `busy` shows."""
        if self._live is not None:
            self._live.stop()
            self._live = self._spinner = None

    # What follows is `macnet.progress.Progress`.

    def start(self, stage: str) -> None:
        """A stage begins."""
        self._stage, self._began = stage, time.monotonic()
        self.busy(stage)

    def detail(self, text: str) -> None:
        """A line about the running stage: kept on screen with ``-v``, else shown in passing."""
        if self.verbose:
            self._note("  |", text)
        elif self._live is not None:
            self.busy(f"{self._stage}: {text}")

    def done(self, stage: str, *, changed: bool) -> None:
        """The stage has ended well."""
        self.idle()
        self._stage = None
        if not self._quiet and (changed or self.verbose):
            took = f" ({time.monotonic() - self._began:.1f} s)" if changed else ": nothing to do"
            self._note(self._sign("✓", "ok"), f"{stage}{took}")

    def failed(self, stage: str) -> None:
        """The stage has failed; the error follows."""
        self.idle()
        if not self._quiet:
            self._note(self._sign("✗", "failed"), stage)

    def warn(self, text: str) -> None:
        """Something to know that stops nothing."""
        if not self._quiet and text not in self._told:
            self._told.add(text)
            self._note("warning:", text)

    def note(self, text: str) -> None:
        """Something that explains what follows, told once."""
        if not self._quiet and text not in self._told:
            self._told.add(text)
            _print(self._err, self._typed(text))

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave the terminal to another program, which may ask the user: nothing draws."""
        live = self._live
        if live is not None:
            live.stop()
        try:
            yield
        finally:
            if live is not None and live is self._live:
                live.start()

    @property
    def _quiet(self) -> bool:
        return self.json and not self.verbose

    def _note(self, mark: str, text: str) -> None:
        _print(self._err, Line(mark, self._typed(text)))

    def _sign(self, sign: str, plain: str) -> str:
        return sign if self._err.encoding.replace("-", "") == "utf8" else plain

    def _table(self, table: Table) -> None:
        from rich.segment import Segment
        from rich.text import Text

        console = self._out
        options = console.options
        if not console.file.isatty():
            options = options.update(width=_PIPE_WIDTH)
        for line in Segment.split_lines(console.render(table, options)):
            shown = Text.assemble(*((printable(s.text), s.style or "") for s in line))
            shown.rstrip()
            console.print(shown, soft_wrap=True)

    def _json_error(
        self, code: str, exit_code: int, message: str, hint: str | None, detail: str | None
    ) -> None:
        error = {"code": code, "exit_code": exit_code, "message": message}
        error |= {"hint": hint, "detail": detail}
        self._print_json({"version": JSON_VERSION, "kind": "error", "error": error})

    def _print_json(self, value: Mapping[str, object], *, indent: int | None = None) -> None:
        text = self._typed(json.dumps(value, indent=indent), escape=lambda t: json.dumps(t)[1:-1])
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def _typed(self, text: str, *, escape: Callable[[str], str] = str) -> str:
        """``text`` with its commands as they have to be typed for this tunnel."""
        if self.context is None:
            return text
        option = escape(f" --context {shlex.quote(self.context)}`")
        return _COMMAND.sub(lambda found: f"`{found[1]}{option}", text)


def printable(text: str) -> str:
    """Replace control characters: a network's name must not steer the terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    # https://no-color.org: any non-empty value switches colour off; for rich alone bold stays.
    plain = bool(os.environ.get("NO_COLOR"))
    return Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        emoji=False,
        color_system=None if plain else "auto",
    )


def _print(console: Console, item: Shown, *, end: str = "\n") -> None:
    """One line; on a terminal it goes on in the next one where it is too long, word by word."""
    mark, text = item if isinstance(item, Line) else ("", item)
    indent = len(mark) + 1 if mark else len(text) - len(text.lstrip())
    text = printable(text)
    if console.file.isatty():
        folded = textwrap.wrap(
            text,
            width=max(40, console.width) - (indent if mark else 0),
            subsequent_indent="" if mark else " " * indent,
            replace_whitespace=False,
            break_long_words=False,
            break_on_hyphens=False,
        )
        text = ("\n" + (" " * indent if mark else "")).join(folded)
    console.print(_styled(Line(mark, text) if mark else text, safe=True), soft_wrap=True, end=end)


def _styled(item: Shown, *, safe: bool = False) -> Text:
    from rich.text import Text

    mark, text = item if isinstance(item, Line) else ("", item)
    text = text if safe else printable(text)
    if not mark:
        return Text(text)
    return Text.assemble((mark, _STYLES.get(mark.strip(), "")), f" {text}" if text else "")
