"""What a check is, what it gives, and how checks run: one cause, one failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from macnet.errors import MacnetError

if TYPE_CHECKING:
    from macnet.checks.context import Context


class Outcome(StrEnum):
    """How a check ended. WARN works, but not as it should; SKIP says nothing about its subject."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


#: From good to bad; a skip is worse than ok, as something was not looked at.
_SEVERITY = (Outcome.OK, Outcome.SKIP, Outcome.WARN, Outcome.FAIL)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, about one subject or (``subject`` None) about all it looks at.

    ``cause`` is the id of the check whose failure explains a skip.
    """

    outcome: Outcome
    evidence: str
    fix: str | None = None
    subject: str | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A check is data. ``run`` looks and changes nothing.

    ``about`` says in one sentence what it looks at; ``fix`` is the step for a failure that
    brings no fix of its own. A check runs only after all its ``needs``.
    """

    id: str
    title: str
    about: str
    needs: tuple[str, ...]
    fix: str
    run: Callable[[Context], Finding | Sequence[Finding]]


@dataclass(frozen=True, slots=True)
class Result:
    """One finding with the check that made it.

    ``elapsed_ms`` is the running time of the whole check, the same for all of its results.
    Every failure has a ``fix``; every skip by a failed need has its root ``cause``.
    """

    id: str
    title: str
    outcome: Outcome
    evidence: str
    fix: str | None = None
    subject: str | None = None
    cause: str | None = None
    elapsed_ms: float = 0.0


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

    @property
    def worst(self) -> Outcome:
        """The worst outcome: fail, warn, skip, ok."""
        return max(
            (result.outcome for result in self.results), key=_SEVERITY.index, default=Outcome.OK
        )


def ok(evidence: str, *, subject: str | None = None) -> Finding:
    """It is as it should be."""
    return Finding(Outcome.OK, evidence, subject=subject)


def warn(evidence: str, fix: str, *, subject: str | None = None) -> Finding:
    """It works, but not as it should."""
    return Finding(Outcome.WARN, evidence, fix, subject)


def fail(evidence: str, fix: str, *, subject: str | None = None) -> Finding:
    """It does not work."""
    return Finding(Outcome.FAIL, evidence, fix, subject)


def skip(evidence: str, *, subject: str | None = None, cause: str | None = None) -> Finding:
    """It was not looked at, because of ``cause`` or because there is nothing to look at."""
    return Finding(Outcome.SKIP, evidence, subject=subject, cause=cause)


def run_checks(
    checks: Iterable[Check], context: Context, on_result: Callable[[Result], None]
) -> Report:
    """Run the checks, each after its needs, and give every result to ``on_result`` at once.

    A need blocks if something of it failed and nothing is ok, or if all was skipped. Where only
    some subjects failed, the checks that follow tell apart what depends on those. A
    `MacnetError` is a failure of the check that met it; any other exception is a bug and leaves.
    """
    done: dict[str, tuple[Result, ...]] = {}
    for check in in_order(checks):
        cause = _root_cause(check, done)
        results = _run(check, context) if cause is None else (_blocked(check, cause),)
        done[check.id] = results
        for result in results:
            on_result(result)
    return Report(tuple(result for results in done.values() for result in results))


def in_order(checks: Iterable[Check]) -> tuple[Check, ...]:
    """The checks with needs first, else in the order given.

    Raises ValueError on an unknown need, an id that occurs twice, and needs in a circle.
    """
    waiting = list(checks)
    if len({check.id for check in waiting}) != len(waiting):
        raise ValueError("two checks have the same id")
    placed: dict[str, Check] = {}
    while waiting:
        ready = next((c for c in waiting if all(need in placed for need in c.needs)), None)
        if ready is None:
            raise ValueError(f"needs that cannot be met: {', '.join(c.id for c in waiting)}")
        placed[ready.id] = ready
        waiting.remove(ready)
    return tuple(placed.values())


def _root_cause(check: Check, done: Mapping[str, tuple[Result, ...]]) -> Result | None:
    """The result because of which ``check`` cannot say anything, or None."""
    for need in check.needs:
        results = {result.outcome: result for result in reversed(done[need])}
        if Outcome.OK not in results and Outcome.FAIL in results:
            return results[Outcome.FAIL]
        if set(results) == {Outcome.SKIP}:
            return results[Outcome.SKIP]
    return None


def _blocked(check: Check, by: Result) -> Result:
    cause = by.cause or by.id
    return Result(check.id, check.title, Outcome.SKIP, f"not looked at: {cause}", cause=cause)


def _run(check: Check, context: Context) -> tuple[Result, ...]:
    begin = time.monotonic()
    try:
        found = check.run(context)
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
        )
        for finding in findings
    )
