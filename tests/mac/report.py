"""One line for each thing that was looked at, in a form that can be pasted into an issue."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from macnet.errors import MacnetError


class Outcome(StrEnum):
    """OPEN: it could not be looked at here."""

    VERIFIED = "verified"
    FAILED = "FAILED"
    OPEN = "not verified"


@dataclass(frozen=True)
class Seen:
    """One thing, how it came out, and what was seen."""

    what: str
    outcome: Outcome
    evidence: str = ""


Step = Callable[[], Iterable[Seen]]


def verified(what: str, evidence: str = "") -> Seen:
    """It is as macnet takes it to be."""
    return Seen(what, Outcome.VERIFIED, evidence)


def failed(what: str, evidence: str) -> Seen:
    """It is different."""
    return Seen(what, Outcome.FAILED, evidence)


def still_open(what: str, evidence: str) -> Seen:
    """It could not be looked at."""
    return Seen(what, Outcome.OPEN, evidence)


def judge(what: str, good: bool, evidence: str) -> Seen:
    """Verified if `good`, failed otherwise."""
    return Seen(what, Outcome.VERIFIED if good else Outcome.FAILED, evidence)


def run_steps(steps: Iterable[tuple[str, Step]], say: Callable[[str], None]) -> list[Seen]:
    """Run all steps; one that breaks is a failure and does not stop the others."""
    found: list[Seen] = []
    for name, step in steps:
        say(f"## {name}")
        try:
            for seen in step():
                say(line(seen))
                found.append(seen)
        except (MacnetError, OSError, ValueError, LookupError) as error:
            seen = failed(name, f"{type(error).__name__}: {error}")
            say(line(seen))
            found.append(seen)
    return found


def line(seen: Seen) -> str:
    """One thing as an item of a Markdown list."""
    evidence = f": {' '.join(seen.evidence.split())}" if seen.evidence else ""
    return f"- {seen.outcome.upper()} {seen.what}{evidence}"


def summary(found: Iterable[Seen]) -> str:
    """The counts."""
    outcomes = [seen.outcome for seen in found]
    return ", ".join(f"{outcomes.count(outcome)} {outcome.value}" for outcome in Outcome)
