"""Each word that macnet says is plain technical English, or explained in the glossary.

The vocabulary is closed: what is in neither list fails, so a new term of ours cannot slip in.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.unit.test_contributing import MODULES, ROOT, said

GLOSSARY = ROOT / "docs/reference/glossary.md"
PLAIN = ROOT / "tests/data/words.txt"
#: Pages for users; those for developers and the measurements have words of their own.
PAGES = [
    ROOT / "README.md",
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


def spoken() -> Iterator[tuple[str, str]]:
    """Everything for users: where it is, and its text."""
    for page in PAGES:
        yield page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8")
    for module, tree in MODULES.items():
        if module.startswith("relay/"):
            continue
        texts = [text for text in said(tree) if " " in text]
        texts += help_of(tree) if module.startswith("cli/") else ()
        yield f"macnet/{module}", "\n\n".join(texts)


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


def test_a_new_term_is_seen() -> None:
    known = plain() | explained()
    assert unknown("The frobnicators of `x` aren't up.", known) == {"frobnicators"}
    # Terms of macnet are known by the glossary alone.
    assert unknown("Each lane has a joiner, a relay and remaps.", plain()) == {
        *("lane", "joiner", "relay", "remaps"),
    }
    single = {term for row in terms() for term in row.split(", ") if " " not in term}
    assert single & plain() == set()
