"""openvpn needs root: how macnet asks for it, and what it tells."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from macnet.errors import PrivilegeError
from macnet.runner import Completed

from .stage import OPENVPN, SUDO, SUDO_REFUSES, Stage


def test_sudo_without_a_password(stage: Stage) -> None:
    stage.client(root=False).connect(stage.progress, timeout_s=3)
    [(argv, interactive)] = stage.starts()
    assert argv[:3] == (SUDO, "-n", OPENVPN)
    assert argv[-2:] == ("--management-client-user", "ann")
    assert not interactive
    assert stage.progress.details[0].startswith(
        f"openvpn needs administrator rights: sudo {OPENVPN} "
    )


def refuse_without_password(stage: Stage) -> None:
    stage.runner.answers.insert(0, ("-n", lambda argv: Completed(tuple(argv), 1, "", SUDO_REFUSES)))


def test_sudo_asks_on_a_terminal_after_saying_so(stage: Stage) -> None:
    refuse_without_password(stage)
    paused: list[bool] = []

    def start(argv: Sequence[str]) -> Completed:
        paused.append(stage.progress.paused)
        return stage.start(argv)

    stage.runner.answers.insert(1, ("--management", start))
    stage.client(root=False, terminal=True).connect(stage.progress, timeout_s=3)
    assert paused == [True]
    assert not stage.progress.paused
    argv, interactive = stage.starts()[-1]
    assert argv[:2] == (SUDO, OPENVPN)
    assert interactive
    assert stage.progress.warnings[0].startswith("openvpn needs administrator rights: sudo ")


def test_sudo_without_a_terminal(stage: Stage) -> None:
    refuse_without_password(stage)
    with pytest.raises(PrivilegeError) as caught:
        stage.client(root=False).connect(stage.progress, timeout_s=3)
    assert caught.value.hint and f"sudo {OPENVPN} --cd" in caught.value.hint
    assert not stage.process.alive


def test_wrong_password(stage: Stage) -> None:
    refuse_without_password(stage)
    stage.runner.answers.insert(1, ("--management", lambda argv: Completed(tuple(argv), 1, "", "")))
    with pytest.raises(PrivilegeError, match="sudo did not start openvpn"):
        stage.client(root=False, terminal=True).connect(stage.progress, timeout_s=3)


def test_no_sudo(stage: Stage) -> None:
    del stage.runner.programs["sudo"]
    with pytest.raises(PrivilegeError, match="no sudo") as caught:
        stage.client(root=False).connect(stage.progress, timeout_s=3)
    assert caught.value.hint and caught.value.hint.startswith(f"run as root: {OPENVPN}")
