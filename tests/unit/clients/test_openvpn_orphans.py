from __future__ import annotations

from pathlib import Path

import pytest

from macnet import host
from macnet.clients import openvpn
from macnet.clients.openvpn import OpenVpnClient
from macnet.errors import ClientFailed, PrivilegeError
from macnet.paths import TunnelPaths
from macnet.runner import CommandFailed, Completed

from .fakes import FakeRunner, Recorder

PATHS = TunnelPaths(Path("/Users/ann/Application Support/macnet/tunnels/macnet"))
SOCKET = PATHS.client_socket
OURS = f"/opt/homebrew/sbin/openvpn --config x --management {SOCKET} unix"
SUDO = "/usr/bin/sudo"


class Machine:
    """Processes by pid, and what ps tells of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, processes: dict[int, str]) -> None:
        self.alive = set(processes)
        self.progress = Recorder()
        self.runner = FakeRunner({"sudo": SUDO})
        lines = "".join(f"{pid:>6} {argv}\n" for pid, argv in processes.items())
        self.runner.answers = [
            ("ps", lambda argv: Completed(tuple(argv), 0, lines, "")),
            ("kill", self.kill),
        ]
        self.obeys = True
        monkeypatch.setattr(host, "is_process_alive", self.alive.__contains__)
        monkeypatch.setattr(openvpn, "_LEAVE_S", 0.1)

    def kill(self, argv: object) -> Completed:
        words = self.runner.calls[-1][0]
        if self.obeys:
            self.alive -= {int(word) for word in words if word.isdigit()}
        return Completed(words, 0, "", "")

    def end(self, *, root: bool = True) -> bool:
        client = OpenVpnClient(PATHS, self.runner, root=root, user="ann", terminal=False)
        return client.kill_orphans(self.progress)


def test_ends_ours_and_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    other = OURS.replace("tunnels/macnet/", "tunnels/colima/")
    machine = Machine(monkeypatch, {1: "/sbin/launchd", 77: OURS, 78: other, 79: "openvpn"})
    assert machine.end() is True
    assert machine.alive == {1, 78, 79}
    assert machine.runner.calls[-1][0] == ("kill", "77")
    assert "pid 77" in machine.progress.warnings[0]


def test_asks_sudo_where_this_is_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, {77: OURS})
    assert machine.end(root=False) is True
    assert machine.runner.calls[-1][0] == (SUDO, "-n", "kill", "77")


def test_one_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, {77: OURS})
    machine.obeys = False
    with pytest.raises(ClientFailed, match="does not end") as caught:
        machine.end()
    assert caught.value.hint == "end it: sudo kill -9 77"


def test_without_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, {77: OURS})
    machine.runner.programs.clear()
    with pytest.raises(PrivilegeError) as caught:
        machine.end(root=False)
    assert caught.value.hint == "run as root: kill 77"


def test_without_ps(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, {77: OURS})
    machine.runner.answers = [("ps", lambda argv: CommandFailed(argv, "is not installed"))]
    assert machine.end() is False
