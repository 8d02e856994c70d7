"""The commands of the pages and the output that they show, to be typed and compared.

In a page a block marked ``sh`` has a command on each line. A block marked ``console`` has commands
behind ``$``, each with the output that follows it, or none where that does not matter. In output
``…`` stands for anything, alone on a line for any number of lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: What a page would have to mark as commands.
_LIKE_A_COMMAND = re.compile(
    r"^(\$ |(macnet|docker|brew|uv|pipx|pip|curl|ping|redis-cli|make|nc|podman) [\w./-])"
)
#: What is another one each time: pattern, and what stands for it in both texts.
_VARYING = (
    (r"\b\d\d:\d\d:\d\d\b", "<clock>"),
    (r"\b\d{4}-\d\d-\d\d\b", "<date>"),
    (r"\b\d+(\.\d+)? m?s\b", "<time>"),
    (r"\btime[=<]\d+(\.\d+)?", "time=<number>"),
    (r"\bttl=\d+", "ttl=<number>"),
    (r"\bmacnet-helper:[0-9a-f]{12}\b", "macnet-helper:<hash>"),
    (r"\(process \d+\)", "(process <number>)"),
    # Columns of tables are as wide as what is in them.
    (r"(?<=\S) {2,}", "  "),
)


@dataclass(frozen=True)
class Typed:
    """One command of a page; ``shown`` is None where the page shows no output."""

    page: str
    line: int
    command: str
    shown: tuple[str, ...] | None


def commands(page: str) -> list[Typed]:
    """The commands of a page, in its order; the path is that from the project's root."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found: list[Typed] = []
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 2
        if block[1] == "sh":
            found += _lines(page, line, block[2])
        elif block[1] == "console":
            found += _session(page, line, block[2])
    return found


def unmarked(page: str) -> list[str]:
    """Lines that look like commands in blocks that say nothing of it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = (block[2] for block in _BLOCK.finditer(text) if block[1] == "")
    return [line for block in blocks for line in block.splitlines() if _LIKE_A_COMMAND.match(line)]


def _lines(page: str, first: int, block: str) -> Iterator[Typed]:
    for number, line in enumerate(block.splitlines(), first):
        if command := _bare(line):
            yield Typed(page, number, command, None)


def _session(page: str, first: int, block: str) -> Iterator[Typed]:
    typed: Typed | None = None
    shown: list[str] = []
    for number, line in enumerate(block.splitlines(), first):
        if not line.startswith("$ "):
            shown.append(line.rstrip())
            continue
        if typed is not None:
            yield _with(typed, shown)
        typed, shown = Typed(page, number, _bare(line[2:]), None), []
    if typed is not None:
        yield _with(typed, shown)


def _with(typed: Typed, shown: list[str]) -> Typed:
    lines = "\n".join(shown).strip("\n").splitlines()
    return Typed(typed.page, typed.line, typed.command, tuple(lines) or None)


def _bare(line: str) -> str:
    return re.sub(r"(^|\s+)# .*", "", line).strip()


def same(shown: tuple[str, ...], real: str) -> bool:
    """Whether a command has printed what the page shows."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else f"{_pattern(line)}\n" for line in map(_steady, shown)
    )
    lines = (_steady(line) for line in real.strip("\n").splitlines())
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


def _pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("…"))


def _steady(line: str) -> str:
    for pattern, instead in _VARYING:
        line = re.sub(pattern, instead, line)
    return line.rstrip()
