"""What a check is, what it gives, and how checks run: one cause, one failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from macnet.errors import MacnetError

if TYPE_CHECKING:
    from macnet.checks.facts import Facts


class Outcome(StrEnum):
    """How a check ended. WARN works, but not as it should; SKIP says nothing about its subject."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, about one subject or (``subject`` None) about all it looks at.

    ``cause`` is the id of the check whose failure explains a skip. An ``offer`` is shown although
    all is well.
    """

    outcome: Outcome
    evidence: str
    fix: str | None = None
    subject: str | None = None
    cause: str | None = None
    offer: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """A check is data. ``run`` looks and changes nothing.

    ``about`` says in one sentence what it looks at; ``fix`` is the step for a failure that
    brings no fix of its own. A check runs only after all its ``needs``, and only ``when`` what
    it is about is switched on; otherwise it has no result, and blocks none that needs it.
    """

    id: str
    title: str
    about: str
    needs: tuple[str, ...]
    fix: str
    run: Callable[[Facts], Finding | Sequence[Finding]]
    when: Callable[[Facts], bool] = lambda facts: True


@dataclass(frozen=True, slots=True)
class Result:
    """One finding with the check that made it.

    ``elapsed_ms`` is the running time of the whole check, the same for all of its results.
    Every failure has a ``fix``; every skip by a failed need has its root ``cause``. An ``offer``
    tells, where all is well, what more there is.
    """

    id: str
    title: str
    outcome: Outcome
    evidence: str
    fix: str | None = None
    subject: str | None = None
    cause: str | None = None
    elapsed_ms: float = 0.0
    offer: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """All results, in the order in which they came."""

    results: tuple[Result, ...]

    @property
    def counts(self) -> Mapping[Outcome, int]:
        """How many results have each outcome; every outcome is there."""
        return {
            outcome: sum(result.outcome is outcome for result in self.results)
            for outcome in Outcome
        }

    @property
    def failures(self) -> tuple[Result, ...]:
        """The results that failed."""
        return tuple(result for result in self.results if result.outcome is Outcome.FAIL)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


def ok(evidence: str, *, subject: str | None = None) -> Finding:
    """It is as it should be."""
    return Finding(Outcome.OK, evidence, subject=subject)


def offer(evidence: str) -> Finding:
    """It is as it should be, and a person may want to know what more there is."""
    return Finding(Outcome.OK, evidence, offer=True)


def warn(evidence: str, fix: str, *, subject: str | None = None) -> Finding:
    """It works, but not as it should."""
    return Finding(Outcome.WARN, evidence, fix, subject)


def fail(evidence: str, fix: str, *, subject: str | None = None) -> Finding:
    """It does not work."""
    return Finding(Outcome.FAIL, evidence, fix, subject)


def skip(evidence: str, *, subject: str | None = None, cause: str | None = None) -> Finding:
    """It was not looked at, because of ``cause`` or because there is nothing to look at."""
    return Finding(Outcome.SKIP, evidence, subject=subject, cause=cause)


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun, in the singular or the plural."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def run_checks(
    checks: Iterable[Check], facts: Facts, on_result: Callable[[Result], None]
) -> Report:
    """Run the checks in their order, in which needs come first; give each result to ``on_result``.

    A need blocks if something of it failed and nothing is ok, or if all was skipped. Where only
    some subjects failed, the checks that follow tell apart what depends on those. A
    `MacnetError` is a failure of the check that met it; any other exception is a bug and leaves.
    """
    done: dict[str, tuple[Result, ...]] = {}
    for check in checks:
        if not check.when(facts):
            continue
        cause = _root_cause(check, done)
        results = _run(check, facts) if cause is None else (_blocked(check, cause),)
        done[check.id] = results
        for result in results:
            on_result(result)
    return Report(tuple(result for results in done.values() for result in results))


def _root_cause(check: Check, done: Mapping[str, tuple[Result, ...]]) -> Result | None:
    """The result because of which ``check`` cannot say anything, or None."""
    for need in check.needs:
        results = {result.outcome: result for result in reversed(done.get(need, ()))}
        if Outcome.OK not in results and Outcome.FAIL in results:
            return results[Outcome.FAIL]
        if set(results) == {Outcome.SKIP}:
            return results[Outcome.SKIP]
    return None


def _blocked(check: Check, by: Result) -> Result:
    cause = by.cause or by.id
    return Result(check.id, check.title, Outcome.SKIP, f"not looked at: {cause}", cause=cause)


def _run(check: Check, facts: Facts) -> tuple[Result, ...]:
    begin = time.monotonic()
    try:
        found = check.run(facts)
    except MacnetError as error:
        found = fail(str(error), error.hint or check.fix)
    findings = (found,) if isinstance(found, Finding) else tuple(found)
    if not findings:
        raise ValueError(f"the check {check.id} has found nothing, not even that there is nothing")
    elapsed_ms = (time.monotonic() - begin) * 1000
    return tuple(
        Result(
            id=check.id,
            title=check.title,
            outcome=finding.outcome,
            evidence=finding.evidence,
            fix=finding.fix or (check.fix if finding.outcome is Outcome.FAIL else None),
            subject=finding.subject,
            cause=finding.cause,
            elapsed_ms=elapsed_ms,
            offer=finding.offer,
        )
        for finding in findings
    )
