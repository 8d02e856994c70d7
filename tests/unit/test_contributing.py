"""CONTRIBUTING says what the code does: the map of the tree, the walk, the style of messages."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "macnet"
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MODULES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}


def section(title: str) -> str:
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_map_names_every_part_and_nothing_else() -> None:
    cells = re.findall(r"^\| (`.*?) \|", section("Where things are"), re.MULTILINE)
    named = [re.findall(r"`([^`]+)`", cell) for cell in cells]
    # After the first name of a row the folder is left out.
    whole = {
        (name if row.index(name) == 0 or "/" in name.rstrip("/") else _beside(row[0], name))
        for row in named
        for name in row
    }
    assert [name for name in sorted(whole) if not (ROOT / name).exists()] == []
    parts = {
        f"macnet/{path.name}{'/' if path.is_dir() else ''}"
        for path in PACKAGE.iterdir()
        if not path.name.startswith("__") and (path.is_dir() or path.suffix == ".py")
    }
    assert sorted(parts - whole) == []


def _beside(first: str, name: str) -> str:
    return f"{first.partition('/')[0]}/{name}"


def test_each_step_of_the_walk_exists() -> None:
    steps = re.findall(r"^\d+\. (.*)$", section("Where things are"), re.MULTILINE)
    assert len(steps) == 10
    for step in steps:
        module, *names = re.findall(r"`([^`]+)`", step)
        tree = MODULES[module]
        defined = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        assert names[0].rpartition(".")[2] in defined, step
        for name in names[1:]:
            last = name.rpartition(".")[2]
            everywhere = (n for tree in MODULES.values() for n in ast.walk(tree))
            known = name in {Path(path).name for path in MODULES} or any(
                isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == last for n in everywhere
            )
            assert known, step


def test_no_two_classes_have_one_name() -> None:
    names = Counter(
        node.name
        for tree in MODULES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, times in names.items() if times > 1] == []


def texts(node: ast.expr | None) -> Iterator[str]:
    """The texts that an expression may give, with {} for what is filled in."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in parts)
        case ast.IfExp(body=one, orelse=other):
            yield from texts(one)
            yield from texts(other)


def hints(tree: ast.Module) -> Iterator[str]:
    """Each hint, the allowed forms of values, and the steps of checks."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="Unfit" | "fail" | "warn"), args=[_, hint, *_]):
                yield from texts(hint)
            case ast.Call(args=[ast.Constant(value="hint:"), hint]):
                yield from texts(hint)
            case ast.Assign(targets=[ast.Name(id=name)], value=hint) if name.lower().endswith(
                "hint"
            ):
                yield from texts(hint)
            case _:
                pass
        for keyword in node.keywords if isinstance(node, ast.Call) else ():
            if keyword.arg in {"hint", "fix"}:
                yield from texts(keyword.value)


@pytest.mark.parametrize("module", MODULES)
def test_hints_are_all_of_one_style(module: str) -> None:
    for hint in filter(None, hints(MODULES[module])):
        first = hint.split()[0]
        assert not first[0].isupper() or first.isupper(), hint  # MACNET_HOME may begin one
        assert not hint.endswith("."), hint
        assert ". " not in hint, hint


#: Words that German builds into English sentences; the reader of a message is no German.
ODD = re.compile(
    r"\b(is told|are told|that of|those of|as it was|as they were|mends?|mending|takes? up|"
    r"go(es)? by|stands?(?!-))\b"
)


def said(tree: ast.Module) -> Iterator[str]:
    """The texts of a module that are no docstrings."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_no_odd_words_are_said() -> None:
    spoken = [text for tree in MODULES.values() for text in said(tree)]
    # The docstrings of commands are their help.
    shown = [
        *spoken,
        (ROOT / "README.md").read_text(),
        *(
            page.read_text()
            for page in (ROOT / "docs").rglob("*.md")
            if page.parent.name != "benchmarks"
        ),
    ]
    shown += [path.read_text() for path in (ROOT / "templates/server").glob("*.sh")]
    lines = [line for text in shown for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if ODD.search(line)] == []
