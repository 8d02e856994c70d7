"""The only module that prints. Results go to stdout, progress and errors to stderr.

With ``--json`` stdout carries one object, whether the command succeeds or fails.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from macnet.errors import MacnetError
from macnet.plain import to_plain

if TYPE_CHECKING:
    from rich.status import Status
    from rich.table import Table

#: The version of the JSON objects; raised when a field goes or changes its meaning.
JSON_VERSION = 1
#: Width for tables that are not on a terminal: nothing is cut for a pipe or a file.
_PIPE_WIDTH = 200
#: First words of lines of a check.
_MARK_COLORS = {"ok": "32", "warn": "33;1", "FAIL": "31;1"}


class Output:
    """Prints for one run of the command line; it also is the domain's `Progress`."""

    def __init__(self) -> None:
        """Plain output until an option says otherwise."""
        self.json = False
        self.verbose = False
        self._stage: str | None = None
        self._began = 0.0
        self._spinner: Status | None = None
        self._warned: set[str] = set()

    def result(self, kind: str, value: object, shown: Iterable[str | Table]) -> None:
        """Print a command's result: ``value`` as JSON, or what a view made of it."""
        if self.json:
            self._print_json({"version": JSON_VERSION, "kind": kind, kind: to_plain(value)})
            return
        for item in shown:
            self.line(item) if isinstance(item, str) else self._table(item)

    def live(self, shown: str | None, *, indent: int = 0) -> None:
        """Print one line of a result that is still growing; with ``--json`` it waits.

        On a terminal it goes on below, ``indent`` columns in, where it is too long. What stands
        in those columns is a mark, which has a colour there.
        """
        if shown is not None and not self.json:
            first, *rest = _folded(shown, indent)
            mark = first.partition(" ")[0]
            color = _MARK_COLORS.get(mark) if indent else None
            if color is not None:
                sys.stdout.write(_colored(mark, color, sys.stdout))
                first = first.removeprefix(mark)
            for line in (first, *rest):
                self.line(line)

    def event(self, kind: str, value: object, text: str) -> None:
        """Print one of many: a line of text with the time, or one line of JSON."""
        if self.json:
            sys.stdout.write(
                json.dumps({"version": JSON_VERSION, "kind": kind, kind: to_plain(value)}) + "\n"
            )
            sys.stdout.flush()
        else:
            self.line(f"{time.strftime('%H:%M:%S')} {text}")

    def redraw(self, lines: Sequence[str]) -> None:
        """Show ``lines`` in place of the ones before, below the time; not on a terminal below."""
        head = f"{time.strftime('%H:%M:%S')}  (Ctrl-C ends)"
        if not sys.stdout.isatty():
            sys.stdout.write("\n".join([head, *map(printable, lines), "", ""]))
        else:
            size = os.get_terminal_size(sys.stdout.fileno())
            # What does not fit would scroll, and the next picture would not be in its place.
            shown = [printable(line)[: size.columns] for line in (head, *lines)][: size.lines - 1]
            # Home, each line cleared to its end, then all below.
            sys.stdout.write("\x1b[H" + "".join(f"{x}\x1b[K\n" for x in shown) + "\x1b[J")
        sys.stdout.flush()

    def line(self, text: str) -> None:
        """Print one line to stdout, without control characters that others may have put in."""
        sys.stdout.write(printable(text) + "\n")
        sys.stdout.flush()

    def error(self, error: MacnetError) -> None:
        """Print an error with its detail and hint."""
        if self.json:
            self._print_json(
                {
                    "version": JSON_VERSION,
                    "kind": "error",
                    "error": {
                        "code": error.code,
                        "exit_code": error.exit_code,
                        "message": str(error),
                        "hint": error.hint,
                        "detail": error.detail,
                    },
                }
            )
            return
        for line in (error.detail or "").splitlines():
            self._note(f"  | {line}")
        self._note(str(error), _colored("error:", "31;1"))
        if error.hint:
            self._note(error.hint, _colored("hint:", "36;1"))

    def interrupted(self) -> None:
        """Tell that Ctrl-C ended the command, and where."""
        where = f" while {self._stage}" if self._stage else ""
        if self.json:
            message = f"interrupted{where}"
            error = {"code": "interrupted", "exit_code": 130, "message": message}
            error |= {"hint": None, "detail": None}
            self._print_json({"version": JSON_VERSION, "kind": "error", "error": error})
            return
        self._note(where.strip(), _colored("interrupted", "31;1"))
        self._note("the same command takes up where this one ended", _colored("hint:", "36;1"))

    # What follows is `macnet.progress.Progress`.

    def start(self, stage: str) -> None:
        """A stage begins."""
        self._stage, self._began = stage, time.monotonic()
        if self._quiet or not sys.stderr.isatty():
            return
        from rich.console import Console  # noqa: PLC0415
        from rich.status import Status  # noqa: PLC0415

        self._spinner = Status(stage, console=Console(stderr=True), spinner="line")
        self._spinner.start()

    def detail(self, text: str) -> None:
        """A line about the running stage: kept on screen with ``-v``, else shown in passing."""
        if self.verbose:
            self._note(f"  | {text}")
        elif self._spinner is not None:
            from rich.markup import escape  # noqa: PLC0415

            passing = f"{self._stage}: {printable(text)}"
            self._spinner.update(escape(passing[: max(20, _width(sys.stderr) - 4)]))

    def done(self, stage: str, *, changed: bool) -> None:
        """The stage has ended well."""
        self._stop_spinner()
        self._stage = None
        if not self._quiet and (changed or self.verbose):
            took = f" ({time.monotonic() - self._began:.1f} s)"
            self._note(f"{stage}{took if changed else ': as it was'}", _mark("✓", "ok", "32"))

    def failed(self, stage: str) -> None:
        """The stage has failed; the error follows."""
        self._stop_spinner()
        if not self._quiet:
            self._note(stage, _mark("✗", "failed", "31"))

    def warn(self, text: str) -> None:
        """Something to know that stops nothing."""
        if not self._quiet and text not in self._warned:
            self._warned.add(text)
            self._note(text, _colored("warning:", "33;1"))

    @property
    def _quiet(self) -> bool:
        return self.json and not self.verbose

    def _stop_spinner(self) -> None:
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None

    def _note(self, text: str, mark: str = "") -> None:
        """One line to stderr; only ``mark``, which is our own, may be coloured."""
        spinner, self._spinner = self._spinner, None
        if spinner is not None:
            spinner.stop()
        shown = printable(text)
        sys.stderr.write((f"{mark} {shown}".rstrip() if mark else shown) + "\n")
        sys.stderr.flush()
        if spinner is not None:
            spinner.start()
            self._spinner = spinner

    def _table(self, table: Table) -> None:
        from rich.console import Console  # noqa: PLC0415
        from rich.segment import Segment, Segments  # noqa: PLC0415

        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        console = Console(file=sys.stdout, width=width, highlight=False, markup=False)
        rendered = console.render(table)
        console.print(
            Segments(Segment(printable(s.text, keep="\n"), s.style) for s in rendered), end=""
        )

    def _print_json(self, value: Mapping[str, object]) -> None:
        sys.stdout.write(json.dumps(value, indent=2) + "\n")
        sys.stdout.flush()


def printable(text: str, *, keep: str = "") -> str:
    """Replace control characters: a network's name must not steer the terminal."""
    return "".join(c if c.isprintable() or c in keep else "\ufffd" for c in text)


def _folded(text: str, indent: int) -> list[str]:
    """The text in lines as wide as the terminal; whole where it goes to a file or a pipe."""
    if not sys.stdout.isatty():
        return [text]
    import textwrap  # noqa: PLC0415

    folded = textwrap.wrap(
        text,
        width=max(40, _width(sys.stdout)),
        subsequent_indent=" " * indent,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return folded or [text]


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 80


def _colored(text: str, code: str, stream: TextIO | None = None) -> str:
    # https://no-color.org: any non-empty value switches colour off.
    if os.environ.get("NO_COLOR") or not (stream or sys.stderr).isatty():
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def _mark(sign: str, plain: str, code: str) -> str:
    encoding = (sys.stderr.encoding or "").lower().replace("-", "")
    return _colored(sign if encoding == "utf8" else plain, code)
