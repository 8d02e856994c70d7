"""How checks run: order, skips, root causes, errors. With checks made up for the purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from macnet.checks import CHECKS, Check, Facts, Finding, Outcome, Result, run_checks
from macnet.checks.base import count, fail, ok, skip, warn
from macnet.checks.facts import ROUTES_CHECK, SUBNETS_CHECK
from macnet.checks.reach import GATEWAY_CHECK, PING_CHECK
from macnet.errors import HelperFailed

NO_FACTS = cast(Facts, None)
Gives = Finding | Sequence[Finding] | Exception | None


def check(name: str, *needs: str, gives: Gives = None) -> Check:
    """A check that gives a finding, several, or raises."""

    def run(facts: Facts) -> Finding | Sequence[Finding]:
        if isinstance(gives, Exception):
            raise gives
        return gives or (ok("fine") if gives is None else [])

    return Check(name, name.title(), "Looks.", needs, "`do it`", run)


def run(*checks: Check) -> dict[str, list[Result]]:
    """The results by id."""
    found: dict[str, list[Result]] = {}
    for result in run_checks(checks, NO_FACTS, lambda _: None).results:
        found.setdefault(result.id, []).append(result)
    return found


def outcomes(*checks: Check) -> dict[str, list[str]]:
    """The outcomes by id."""
    return {name: [str(r.outcome) for r in results] for name, results in run(*checks).items()}


def test_the_catalogue_has_each_id_once_and_needs_first() -> None:
    seen: set[str] = set()
    for one in CHECKS:
        assert one.id not in seen
        assert set(one.needs) <= seen
        seen.add(one.id)
    assert {SUBNETS_CHECK, ROUTES_CHECK, GATEWAY_CHECK, PING_CHECK} <= seen


def test_titles_claim_nothing() -> None:
    """They stand beside failures too: a title with a verb contradicts one."""
    verbs = {"is", "are", "runs", "answers", "answer", "can", "may", "has", "leave", "carries"}
    for one in CHECKS:
        assert not verbs & set(one.title.lower().split()), one.title


def test_skip_names_the_root_cause_through_a_chain() -> None:
    found = run(check("a", gives=fail("broken", "mend")), check("b", "a"), check("c", "b"))
    assert [found[name][0].cause for name in "abc"] == [None, "a", "a"]
    assert [found[name][0].outcome for name in "abc"] == ["fail", "skip", "skip"]


def test_warnings_do_not_block() -> None:
    assert outcomes(check("a", gives=warn("so so", "mend")), check("b", "a"))["b"] == ["ok"]


@pytest.mark.parametrize(
    ("findings", "blocks"),
    [
        ([ok("x"), fail("y", "mend", subject="y")], False),
        ([fail("x", "mend", subject="x"), fail("y", "mend", subject="y")], True),
        ([fail("x", "mend"), warn("y", "mend")], True),
        ([skip("nothing")], True),
        ([skip("nothing"), ok("x")], False),
        ([skip("nothing"), warn("x", "mend")], False),
    ],
)
def test_a_need_blocks_if_nothing_of_it_passed(findings: list[Finding], blocks: bool) -> None:
    assert outcomes(check("a", gives=findings), check("b", "a"))["b"] == (
        ["skip"] if blocks else ["ok"]
    )


def test_an_error_of_ours_is_a_failure_with_its_hint() -> None:
    (result,) = run(check("a", gives=HelperFailed("no answer", hint="`look`")))["a"]
    assert (result.outcome, result.evidence, result.fix) == (Outcome.FAIL, "no answer", "`look`")


def test_an_error_without_a_hint_gets_the_fix_of_its_check() -> None:
    (result,) = run(check("a", gives=HelperFailed("no answer")))["a"]
    assert result.fix == "`do it`"


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(check("a", gives=ZeroDivisionError()))


def test_a_check_that_finds_nothing_is_a_bug() -> None:
    with pytest.raises(ValueError, match="found nothing"):
        run(check("a", gives=[]))


def test_results_are_told_as_they_come() -> None:
    seen: list[str] = []

    def late(facts: Facts) -> Finding:
        assert seen == ["a"]
        return ok("fine")

    checks = (check("a"), Check("b", "B", "Looks.", ("a",), "`do it`", late))
    run_checks(checks, NO_FACTS, lambda result: seen.append(result.id))
    assert seen == ["a", "b"]


def test_counted_nouns() -> None:
    assert [count(n, "subnet") for n in (0, 1, 2)] == ["0 subnets", "1 subnet", "2 subnets"]
    assert count(2, "address", "addresses") == "2 addresses"


def test_report_counts() -> None:
    report = run_checks(
        [check("a"), check("b", gives=warn("x", "mend")), check("c", gives=skip("nothing"))],
        NO_FACTS,
        lambda _: None,
    )
    assert report.ok
    assert report.counts == {"ok": 1, "warn": 1, "fail": 0, "skip": 1}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[str, tuple[str, ...]]], int]:
    """Checks that need some of those before them, and the one that will fail."""
    size = draw(st.integers(1, 12))
    rows = []
    for number in range(size):
        before = [str(n) for n in range(number)]
        needs = draw(st.lists(st.sampled_from(before), unique=True)) if before else []
        rows.append((str(number), tuple(needs)))
    return rows, draw(st.integers(0, size - 1))


def _dependents(rows: list[tuple[str, tuple[str, ...]]], root: str) -> set[str]:
    found: set[str] = set()
    for name, needs in rows:
        if found.union({root}).intersection(needs):
            found.add(name)
    return found


@given(graphs())
def test_one_cause_gives_one_failure(graph: tuple[list[tuple[str, tuple[str, ...]]], int]) -> None:
    rows, number = graph
    root = str(number)
    found = run(
        *(
            check(name, *needs, gives=HelperFailed("x") if name == root else None)
            for name, needs in rows
        )
    )
    skipped = _dependents(rows, root)
    for name, (result,) in found.items():
        assert result.outcome == ("fail" if name == root else "skip" if name in skipped else "ok")
        assert result.cause == (root if name in skipped else None)


@pytest.mark.parametrize("root", [c.id for c in CHECKS])
def test_one_cause_gives_one_failure_among_the_real_checks(root: str) -> None:
    rows = [(c.id, c.needs) for c in CHECKS]
    found = run(
        *(
            check(name, *needs, gives=HelperFailed("x") if name == root else None)
            for name, needs in rows
        )
    )
    skipped = {name for name, (result,) in found.items() if result.outcome is Outcome.SKIP}
    assert skipped == _dependents(rows, root)
    assert {found[name][0].cause for name in skipped} <= {root}


def test_what_is_switched_off_has_no_result_and_blocks_nothing() -> None:
    off = replace(check("a", gives=fail("broken", "mend")), when=lambda facts: False)
    on = replace(check("b"), when=lambda facts: True)
    assert outcomes(off, on) == {"b": ["ok"]}
