"""Each word that macnet says is plain technical English, or explained in the glossary.

The vocabulary is closed: what is in neither list fails, so a new term of ours cannot slip in.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.unit.test_contributing import MODULES, ROOT, said, texts

GLOSSARY = ROOT / "docs/reference/glossary.md"
PLAIN = ROOT / "tests/data/words.txt"
#: Pages for users. Left out: docs/benchmarks, whose terms are those of statistics and of what was
#: measured, and CONTRIBUTING.md and tests/lab, which are for developers.
PAGES = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    ROOT / "CHANGELOG.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name != "benchmarks"),
]
_WORD = re.compile(r"(?<![\w./@:-])[A-Za-z][a-z]+(?:-[a-z]+)*(?![\w@]|[./:-]\w)")
#: What is typed or named, and so no word: code, options, addresses, targets of links.
_NO_WORDS = re.compile(
    r"```.*?```|`[^`]*`|\]\([^)]*\)|<!--.*?-->|https?://\S+|\{[^}]*\}", re.DOTALL
)
_ENDINGS = ("s", "es", "d", "ed", "ing", "ly")


def terms() -> list[str]:
    """What the glossary explains, row by row."""
    text = GLOSSARY.read_text(encoding="utf-8")
    return [row.lower() for row in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)[1:]]


def explained() -> set[str]:
    """The words of these."""
    return {word for row in terms() for word in words(row)}


def plain() -> set[str]:
    """The data file: words in any order, any number on a line; # begins a comment."""
    lines = PLAIN.read_text(encoding="utf-8").splitlines()
    return {word for line in lines for word in line.partition("#")[0].split()}


def words(text: str) -> Iterator[str]:
    spoken = _NO_WORDS.sub(" ", text).replace("n't", " not")
    spoken = re.sub(r"(?<=\w)'s\b", "", spoken)
    for match in _WORD.finditer(spoken):
        yield from match[0].lower().split("-")


def roots(word: str) -> Iterator[str]:
    """The word, and what it may be a form of."""
    yield word
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending) + 2:
            stem = word.removesuffix(ending)
            yield from (stem, f"{stem}e")
            if stem[-1] == stem[-2:-1]:
                yield stem[:-1]
            if stem.endswith("i"):
                yield f"{stem[:-1]}y"


def unknown(text: str, known: set[str]) -> set[str]:
    return {word for word in words(text) if known.isdisjoint(roots(word))}


def help_of(tree: ast.Module) -> Iterator[str]:
    """The docstrings of commands, which are their help."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            yield ast.get_docstring(node) or ""


def whole(tree: ast.Module) -> Iterator[str]:
    """The texts of a module, each f-string as one: what it fills in may stand between backticks."""
    filled = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    pieces = {
        part.value for node in filled for part in node.values if isinstance(part, ast.Constant)
    }
    yield from (text for text in said(tree) if text not in pieces)
    for node in filled:
        yield from texts(node)


#: What the relay hands to `ip` or a shell, or looks for in a file of the kernel: nobody reads it.
_FOR_PROGRAMS = re.compile(r"(addr|link|route|mount) |Max open files$")
#: What a template fills in, where literals may be, and its own statements.
_FILLED, _STATEMENT = re.compile(r"\{\{(.*?)\}\}"), re.compile(r"\{%.*?%\}")
_LITERAL = re.compile(r"'([^']*)'|\"([^\"]*)\"|`([^`]*)`")


class _Page(HTMLParser):
    """What somebody reads of a page or picture: its text, and the attributes that are shown."""

    def __init__(self, template: str) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.feed(_STATEMENT.sub(" ", _FILLED.sub(_literals, template)))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        read = ("title", "placeholder", "aria-label")
        self.shown += [value for name, value in attrs if value and name in read]

    def handle_data(self, data: str) -> None:
        self.shown.append(data)


def _literals(filled: re.Match[str]) -> str:
    # A single one is a key or a format.
    return " ".join(text for text in map(_inside, _LITERAL.finditer(filled[1])) if " " in text)


def _inside(literal: re.Match[str]) -> str:
    return next(text for text in literal.groups() if text is not None)


def of_template(path: Path) -> str:
    """What a template says to people: the map, the scripts' messages, the comments of files."""
    text = path.read_text(encoding="utf-8")
    match path.parent.name, path.name:
        case "map", name if name.endswith((".html.j2", ".svg.j2")):
            return "\n\n".join(_Page(text).shown)
        case "map", "page.js":
            values = "\n".join(re.findall(r"textContent = (.*);", text))
            return "\n\n".join(map(_inside, _LITERAL.finditer(values)))
        case "server", name if name.endswith(".sh"):
            # Lines for iptables begin with another character, or have no space.
            return "\n\n".join(re.findall(r'echo "([\w$][^"]* [^"]*)"', text))
        case (("agent" | "client"), _):
            return "\n\n".join(re.findall(r"^(?:# |Description=)(.*)$", text, re.MULTILINE))
        case _:
            return ""


def spoken() -> Iterator[tuple[str, str]]:
    """Everything for users: where it is, and its text."""
    for page in PAGES:
        yield page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8")
    for module, tree in MODULES.items():
        phrases = [text for text in whole(tree) if " " in text]
        if module.startswith("relay/"):
            phrases = [text for text in phrases if not _FOR_PROGRAMS.match(text)]
        phrases += help_of(tree) if module.startswith("cli/") else ()
        yield f"macnet/{module}", "\n\n".join(phrases)
    for path in sorted((ROOT / "templates").rglob("*.*")):
        if text := of_template(path):
            yield path.relative_to(ROOT).as_posix(), text


@pytest.mark.parametrize(
    ("where", "text"), [pytest.param(where, text, id=where) for where, text in spoken()]
)
def test_each_word_is_plain_or_explained(where: str, text: str) -> None:
    missing = unknown(text, plain() | explained())
    assert not missing, (
        f"{where} says {', '.join(sorted(missing))}. A word that means something of its own in "
        f"macnet: explain it in {GLOSSARY.relative_to(ROOT)}. One that every reader of technical "
        f"English knows: add it to {PLAIN.relative_to(ROOT)}."
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("map/main.html.j2", "pasta, which is slower"),
        ("map/main.html.j2", "a click copies an address"),
        ("map/page.html.j2", "Search containers"),
        ("map/page.js", "is selected"),
        ("map/picture.svg.j2", "no running container"),
        ("server/install.sh", "is too old: use a base image"),
        ("server/server.sh", "error: the list of subnets is not in effect"),
        ("client/profile.ovpn.j2", "This file holds a private key"),
        ("agent/macnet-watch.service.j2", "follows the Docker engine"),
    ],
)
def test_what_a_template_says_is_seen(name: str, text: str) -> None:
    assert text in of_template(ROOT / "templates" / name)


def test_a_new_term_is_seen() -> None:
    known = plain() | explained()
    assert unknown("The frobnicators of `x` aren't up.", known) == {"frobnicators"}
    # Terms of macnet are known by the glossary alone.
    assert unknown("Each lane has a joiner, a relay and remaps.", plain()) == {
        *("lane", "joiner", "relay", "remaps"),
    }
    single = {term for row in terms() for term in row.split(", ") if " " not in term}
    assert single & plain() == set()
