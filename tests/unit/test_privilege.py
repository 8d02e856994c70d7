"""A command for root is told once, before it runs."""

from __future__ import annotations

import pytest

from macnet.privilege import run_as_root
from macnet.runner import Completed
from tests.unit.clients.fakes import FakeRunner, Recorder
from tests.unit.clients.stage import SUDO, SUDO_REFUSES

TOLD = "the test needs administrator rights: sudo /bin/true"


@pytest.mark.parametrize("password", [False, True])
@pytest.mark.parametrize("announce", [False, True])
def test_the_command_is_told_once(password: bool, announce: bool) -> None:
    runner, progress = FakeRunner({"sudo": SUDO}), Recorder()
    if password:
        runner.answers.append(("-n", lambda argv: Completed(tuple(argv), 1, "", SUDO_REFUSES)))
    done = run_as_root(
        ["/bin/true"],
        runner=runner,
        progress=progress,
        root=False,
        terminal=True,
        who="the test",
        announce=announce,
    )
    assert done.ok
    assert progress.warnings == ([TOLD] if password or announce else [])
    assert runner.calls[-1] == (
        ((SUDO, "/bin/true"), True) if password else ((SUDO, "-n", "/bin/true"), False)
    )


def test_root_needs_no_sudo() -> None:
    runner, progress = FakeRunner(), Recorder()
    run_as_root(
        ["/bin/true"],
        runner=runner,
        progress=progress,
        root=True,
        terminal=True,
        who="the test",
        announce=True,
    )
    assert runner.calls == [(("/bin/true",), False)]
    assert progress.warnings == []
