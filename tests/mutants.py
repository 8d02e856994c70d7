"""Do the unit tests notice a change? Changes one token at a time, in copies of the project.

    python -m tests.mutants                              # the fixed sample of `make mutants`
    python -m tests.mutants --count 0 macnet/routes.py   # every place in a file or folder

cosmic-ray makes the changes and runs the tests; this module picks the places. A place is one
token, and it gets one change. What mypy checks and no test should repeat is no place: annotations,
``TYPE_CHECKING`` blocks and the arguments of ``@dataclass``. cosmic-ray has no change for strings,
so neither docstrings nor messages are touched.

Each change meets the tests of its module first, and the whole unit suite when those pass. It is
noticed when a test fails, when nothing can be imported, or when the tests hang.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shlex
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_and_test, mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.testing import run_tests
from cosmic_ray.work_item import MutationSpec, TestOutcome

ROOT = Path(__file__).parents[1]
UNIT_TESTS = "tests/unit"
SEED = 1
COUNT = 100
NEEDED_PERCENT = 85
PYTEST = (
    *(sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no"),
    *("-p", "no:cacheprovider", "--hypothesis-seed=0", "--timeout=60"),
)
NOT_COPIED = (".git", ".*_cache", ".hypothesis", ".venv", "__pycache__", "build", "dist")

#: What one token becomes. Left out are cosmic-ray's changes that mean the same for most values
#: (``==`` to ``is``), and those of more than one token (a decorator, the subject of a loop).
OPERATORS = (
    *(
        f"core/ReplaceComparisonOperator_{name}"
        for name in (
            *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is", "Lt_LtE", "Lt_GtE"),
            *("LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt"),
        )
    ),
    *(
        f"core/ReplaceBinaryOperator_{name}"
        for name in (
            *("Add_Sub", "Sub_Add", "Mul_FloorDiv", "Div_Mul", "FloorDiv_Mul", "Mod_Mul"),
            *("Pow_Mul", "LShift_RShift", "RShift_LShift", "BitOr_BitAnd", "BitAnd_BitOr"),
        )
    ),
    "core/ReplaceUnaryOperator_Delete_Not",
    "core/ReplaceUnaryOperator_Delete_USub",
    "core/ReplaceUnaryOperator_Delete_Invert",
    "core/AddNot",
    "core/ReplaceAndWithOr",
    "core/ReplaceOrWithAnd",
    "core/ReplaceTrueWithFalse",
    "core/ReplaceFalseWithTrue",
    "core/ReplaceBreakWithContinue",
    "core/ReplaceContinueWithBreak",
    "core/ExceptionReplacer",
    "core/NumberReplacer",
)

#: Line (from 1) and column, as parso and ast count them.
Position = tuple[int, int]


@dataclass(frozen=True)
class Place:
    """One token, with the changes possible there.

    ``text`` is its module, column and line, and how many such lines come before.
    """

    text: str
    changes: tuple[MutationSpec, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of one change. ``change`` is the line before and after it."""

    mutation: MutationSpec
    noticed: bool
    change: str

    def __str__(self) -> str:
        """One line, such as a compiler would write."""
        mutation = self.mutation
        verdict = "noticed " if self.noticed else "survived"
        return f"{verdict}  {mutation.module_path}:{mutation.start_pos[0]}  {self.change}"


def _declared(tree: ast.AST) -> Iterator[ast.AST]:
    """The parts that only declare, for a reader or for mypy."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
            yield node.returns
        elif isinstance(node, ast.ClassDef):
            yield from (one for one in node.decorator_list if "dataclass" in ast.unparse(one))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield node


def _spans(source: str) -> list[tuple[Position, Position]]:
    """Where the declaring parts begin and end."""
    return [
        ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset))  # type: ignore[attr-defined]
        for node in _declared(ast.parse(source))
    ]


def list_places(module: str) -> list[Place]:
    """Every place of one module (its path below ROOT)."""
    source = (ROOT / module).read_text()
    tree, spans, lines = get_ast(source), _spans(source), source.splitlines()
    found: dict[Position, list[MutationSpec]] = defaultdict(list)
    for name in OPERATORS:
        operator = get_operator(name)()
        positions = (at for node in ast_nodes(tree) for at in operator.mutation_positions(node))
        for occurrence, (start, end) in enumerate(positions):
            if not any(first <= start < last for first, last in spans):
                found[start].append(MutationSpec(module, name, occurrence, start, end))
    places, before = [], Counter[str]()
    for line, column in sorted(found):
        text = f"{module} {column} {lines[line - 1]}"
        places.append(Place(f"{text} {before[text]}", tuple(found[line, column])))
        before[text] += 1
    return places


def _compiles(mutation: MutationSpec) -> bool:
    """Whether the change leaves valid Python, for which the compiler has no warning."""
    source = (ROOT / mutation.module_path).read_text()
    mutated = mutate_code(source, get_operator(mutation.operator_name)(), mutation.occurrence)
    try:
        with warnings.catch_warnings(action="error"):
            compile(mutated, str(mutation.module_path), "exec")
    except (SyntaxError, SyntaxWarning):
        return False
    return True


def pick(modules: Iterable[str], *, count: int, seed: int) -> list[MutationSpec]:
    """One change at each of ``count`` places (0: all).

    Each place has a rank of its own, which only ``seed`` and its line decide: a sample differs
    from the one before a change of the code by little more than the code that was changed.
    """
    drawn = []
    for place in (place for module in modules for place in list_places(module)):
        chance = random.Random(f"{seed} {place.text}")  # noqa: S311
        drawn.append((chance.random(), chance.choice(place.changes)))
    drawn.sort(key=lambda one: one[0])
    picked = islice((change for _, change in drawn if _compiles(change)), count or None)
    return sorted(picked, key=lambda one: (one.module_path, one.start_pos))


def list_modules(parts: Iterable[str]) -> list[str]:
    """The modules below the files and folders named."""
    paths = [ROOT / part for part in parts]
    files = {file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])}
    return sorted(file.relative_to(ROOT).as_posix() for file in files)


def near_tests(module: str) -> list[str]:
    """The tests of a module's folder, or of its own name where it is in none; there may be none."""
    below = Path(module).relative_to("macnet")
    folder = ROOT / UNIT_TESTS / below.parent
    near = [folder] if below.parent != Path() else sorted(folder.glob(f"test_{below.stem}*.py"))
    return [path.relative_to(ROOT).as_posix() for path in near if path.exists()]


@cache
def _enter_copy(base: str) -> None:
    """Go into this process's own copy of the project: no change is ever made in the tree itself."""
    copy = Path(tempfile.mkdtemp(dir=base)) / ROOT.name
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
    os.chdir(copy)
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONHASHSEED": "0"}


def _command(*tests: str) -> str:
    return shlex.join([*PYTEST, *tests])


def time_suite(base: str) -> float:
    """Seconds that the unit tests need with nothing changed. Ends the program if they fail."""
    _enter_copy(base)
    start = time.monotonic()
    outcome, output = run_tests(_command(UNIT_TESTS), timeout=600)
    if outcome is not TestOutcome.SURVIVED:
        raise SystemExit(f"{output}\nerror: the unit tests fail with nothing changed\n")
    return time.monotonic() - start


def attempt(base: str, mutation: MutationSpec, timeout_s: float) -> Outcome:
    """Make one change in this process's copy and run the tests, the near ones first."""
    _enter_copy(base)
    near = near_tests(str(mutation.module_path))
    for tests in ([near] if near else []) + [[UNIT_TESTS]]:
        result = mutate_and_test([mutation], _command(*tests), timeout_s)
        if result.test_outcome is not TestOutcome.SURVIVED:
            break
    diff = (result.diff or "").splitlines()[3:]
    lines = [line[1:].strip() for line in diff if line.startswith(("-", "+"))]
    return Outcome(mutation, result.is_killed, "  ->  ".join(lines))


def main() -> int:
    """Run a sample; 0 when enough of it was noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("parts", nargs="*", default=["macnet"], help="files and folders to change")
    parser.add_argument("--count", type=int, default=COUNT, help="how many places; 0: all")
    parser.add_argument("--seed", type=int, default=SEED, help="another one picks other places")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="at the same time")
    options = parser.parse_args()
    start = time.monotonic()
    picked = pick(list_modules(options.parts), count=options.count, seed=options.seed)
    with (
        tempfile.TemporaryDirectory(prefix="macnet-mutants-") as base,
        ProcessPoolExecutor(options.workers) as pool,
    ):
        timeout_s = 30 + 3 * pool.submit(time_suite, base).result()
        outcomes = []
        for done in as_completed([pool.submit(attempt, base, one, timeout_s) for one in picked]):
            outcomes.append(done.result())
            print(f"[{len(outcomes)}/{len(picked)}] {outcomes[-1]}", flush=True)
    survivors = [outcome for outcome in outcomes if not outcome.noticed]
    print("\n".join(["", *sorted(map(str, survivors)), ""]))
    noticed = len(outcomes) - len(survivors)
    print(f"{noticed} of {len(outcomes)} noticed, in {time.monotonic() - start:.0f} s")
    return int(noticed * 100 < NEEDED_PERCENT * len(outcomes))


if __name__ == "__main__":
    sys.exit(main())
