"""What holds for every test: one that is skipped has failed, and no lab is left behind."""

from __future__ import annotations

import signal
from collections.abc import Generator
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("macnet", deadline=None)
hypothesis.settings.load_profile("macnet")

# A shell that starts something in the background has it ignore Ctrl-C, and all that it starts too.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: The processes that run tests side by side, of which this one is none.
_WORKERS = pytest.StashKey[list[tuple[str, str]]]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """xdist is about to start a process, perhaps in place of one that crashed."""
    worker = node.workerinput
    known = node.config.stash.setdefault(_WORKERS, [])
    known.append((worker["workerid"], worker["testrunuid"]))


def pytest_unconfigure(config: pytest.Config) -> None:
    """A process takes its lab down itself, unless it crashed or Ctrl-C gave it too little time."""
    workers = config.stash.get(_WORKERS, [])
    if workers:
        from tests.side_by_side import take_down

        for worker, run in workers:
            take_down(worker, run)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What cannot run here must not look as if it had passed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {call.excinfo and call.excinfo.value}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module (``importorskip``)."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped: {report.longrepr}"
    return report
