"""Finds the broken hop between this machine and the containers. Changes nothing.

`base` says what checks are and runs them, `catalogue` lists them all, `facts` gathers what they
look at, `targets` finds what a user names; the other modules hold the checks, each one a subject.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from macnet.checks.base import Check, Finding, Outcome, Report, Result, run_checks
from macnet.checks.catalogue import CHECKS
from macnet.checks.facts import Facts
from macnet.checks.targets import parse_target
from macnet.errors import BadValue, MacnetError, UnknownTarget
from macnet.survey import Prober
from macnet.tunnel import Tunnel

__all__ = [
    "CHECKS",
    "Check",
    "Facts",
    "Finding",
    "Outcome",
    "Report",
    "Result",
    "check_ids",
    "parse_target",
    "run",
    "run_checks",
]


def check_ids() -> tuple[str, ...]:
    """The ids of all checks; they are stable."""
    return tuple(check.id for check in CHECKS)


def run(
    tunnel: Tunnel,
    targets: Sequence[str] = (),
    *,
    timeout_s: float = 1.0,
    on_result: Callable[[Result], None] = lambda result: None,
    prober: Prober | None = None,
) -> Report:
    """Check everything, or the way to the ``targets`` alone; results come as they are found.

    Raises `macnet.errors.BadValue` or `macnet.errors.UnknownTarget` for a target that cannot be
    read or found, before any check runs. While the engine is away names cannot be looked up,
    and the first check tells why.
    """
    requests = [parse_target(text) for text in targets]
    facts = Facts(tunnel, requests, timeout_s=timeout_s, prober=prober)
    try:
        for request in requests:
            facts.places.find(request)
    except (BadValue, UnknownTarget):
        raise
    except MacnetError:
        # The engine, its address or the routes: there are checks for each.
        pass
    return run_checks(CHECKS, facts, on_result)
