"""Finds the broken hop between this machine and the containers. Changes nothing.

`base` says what checks are and runs them, `context` gathers what they look at, `targets` and
`lanes` decide what is tried; the other modules hold the checks, each one a subject.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from macnet.checks import client, engine, helper, host, reach, tunnel
from macnet.checks.base import Check, Finding, Outcome, Report, Result, in_order, run_checks
from macnet.checks.context import Context, Prober
from macnet.checks.targets import Target, parse_target
from macnet.errors import BadValue, MacnetError, UnknownTarget
from macnet.tunnel import Tunnel

__all__ = [
    "Check",
    "Context",
    "Finding",
    "Outcome",
    "Prober",
    "Report",
    "Result",
    "Target",
    "all_checks",
    "check_ids",
    "parse_target",
    "run",
    "run_checks",
]


def all_checks() -> tuple[Check, ...]:
    """Every check, in the order in which they run: from this machine towards the containers."""
    modules = (host, engine, tunnel, helper, client, reach)
    return in_order(check for module in modules for check in module.CHECKS)


def check_ids() -> tuple[str, ...]:
    """The ids of all checks; they are stable."""
    return tuple(check.id for check in all_checks())


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
    context = Context(
        tunnel, [parse_target(text) for text in targets], timeout_s=timeout_s, prober=prober
    )
    try:
        context.located  # noqa: B018  (resolves the targets)
    except (BadValue, UnknownTarget):
        raise
    except MacnetError:
        # The engine or its address: that is what `engine.reachable` is there for.
        pass
    return run_checks(all_checks(), context, on_result)
