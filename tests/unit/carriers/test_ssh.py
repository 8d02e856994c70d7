"""One ssh for each tunnel: started, found again, changed, ended."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from macnet.carriers.ssh import Ssh, stop_ssh
from macnet.contexts import EngineAddress, SshTarget
from macnet.errors import (
    CarrierDenied,
    CarrierDown,
    CarrierForbidden,
    CarrierHostKey,
    EnginePermission,
    EngineUnreachable,
    MacnetError,
    PortTaken,
)
from macnet.files import lock
from macnet.progress import Silent
from tests.unit.carriers.fake_ssh import FakeSsh

TARGET = SshTarget("box", "me", 2222)
FORBIDDEN = "channel 2: open failed: administratively prohibited: open failed"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="macnet-", dir="/tmp") as made:
        yield Path(made) / "ssh"


def carrier(
    folder: Path, ssh: FakeSsh, target: SshTarget = TARGET, *, terminal: bool = False
) -> Ssh:
    address = EngineAddress("ssh://me@box", "DOCKER_HOST", machine=target.host, ssh=target)
    return Ssh(address, target, folder=folder, runner=ssh, terminal=terminal)


def start(folder: Path, ssh: FakeSsh, *, ask: bool = False, terminal: bool = False) -> bool:
    return carrier(folder, ssh, terminal=terminal).start(Silent(), ask=ask)


def test_it_is_started_once_and_found_again(folder: Path) -> None:
    ssh = FakeSsh()
    with pytest.raises(CarrierDown, match="no ssh of macnet's to box runs"):
        carrier(folder, ssh).engine_address()
    assert start(folder, ssh)
    assert not start(folder, ssh)
    assert ssh.logins == 1
    assert carrier(folder, ssh).engine_address().via == f"unix://{folder / 'e'}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert stop_ssh(folder, ssh)
    assert not folder.exists()
    assert not stop_ssh(folder, ssh)


def test_the_user_cannot_be_asked_and_nothing_leads_back(folder: Path) -> None:
    ssh = FakeSsh()
    start(folder, ssh)
    [login] = [argv for argv in ssh.argvs if "-M" in argv]
    assert "BatchMode=yes" in login
    assert login[-2:] == ["--", "me@box"]
    options = {word.removeprefix("-o") for word in login if word.startswith("-o")}
    assert {"ForwardAgent=no", "PermitLocalCommand=no", "RemoteCommand=none"} <= options
    assert "Tunnel=no" in options
    assert not any("StrictHostKeyChecking" in word for argv in ssh.argvs for word in argv)


@pytest.mark.parametrize("held", [False, True])
def test_the_users_own_forwardings_stay_theirs(folder: Path, held: bool) -> None:
    ssh = FakeSsh()
    ssh.configured = {22899}
    ssh.taken_ports = ssh.configured if held else set()
    start(folder, ssh)
    carrier(folder, ssh).carry(13194)
    carrier(folder, ssh).carry(13195)
    assert ssh.ports == [13195]


def test_what_asks_the_ssh_that_runs_reads_no_configuration(folder: Path) -> None:
    """It may be broken or run something, and with ControlMaster there a request logs in itself."""
    ssh = FakeSsh()
    start(folder, ssh)
    here = carrier(folder, ssh)
    here.carry(13194)
    here.carry(13195)
    here.drop_if_dead()
    ssh.engine_answers = False
    assert here.engine_error() is not None
    stop_ssh(folder, ssh)
    asked = [argv for argv in ssh.argvs if "-M" not in argv]
    kinds = {argv[argv.index("-O") + 1] if "-O" in argv else argv[-1] for argv in asked}
    assert {"check", "forward", "cancel", "exit", "macnet"} < kinds
    for argv in asked:
        assert argv[1:3] == ["-F", "none"]
        assert argv[argv.index("-S") + 1] == str(folder / "s")
        assert "ProxyCommand=false" in argv


def test_a_session_begins_once_for_each_login(folder: Path) -> None:
    ssh = FakeSsh()
    start(folder, ssh)
    start(folder, ssh)
    assert len([argv for argv in ssh.argvs if argv[-3:] == ["--", "macnet", "exit"]]) == 1


def test_one_that_was_killed_is_started_with_its_port(folder: Path) -> None:
    ssh = FakeSsh()
    start(folder, ssh)
    assert carrier(folder, ssh).carry(13194)
    assert not carrier(folder, ssh).carry(13194)
    assert carrier(folder, ssh).holds(13194)
    ssh.dies()
    assert not carrier(folder, ssh).holds(13194)
    assert start(folder, ssh)
    assert ssh.ports == [13194]


def test_another_port_replaces_the_one_before(folder: Path) -> None:
    ssh = FakeSsh()
    start(folder, ssh)
    carrier(folder, ssh).carry(13194)
    carrier(folder, ssh).carry(13195)
    assert ssh.ports == [13195]
    ssh.taken_ports.add(13196)
    with pytest.raises(PortTaken, match="port 13196"):
        carrier(folder, ssh).carry(13196)


def test_another_machine_gets_another_ssh(folder: Path) -> None:
    ssh = FakeSsh()
    start(folder, ssh)
    other = carrier(folder, ssh, SshTarget("other"))
    with pytest.raises(CarrierDown):
        other.engine_address()
    assert other.start(Silent(), ask=False)
    assert ssh.logins == 2


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        ("me@box: Permission denied (publickey).", CarrierDenied),
        ("Host key verification failed.", CarrierHostKey),
    ],
)
def test_the_user_is_asked_on_a_terminal_only(
    folder: Path, refusal: str, kind: type[MacnetError]
) -> None:
    for ask, terminal in ((False, True), (True, False)):
        ssh = FakeSsh()
        ssh.refuses = refusal
        with pytest.raises(kind):
            start(folder, ssh, ask=ask, terminal=terminal)
        assert ssh.asked_user == 0
    ssh.refuses = refusal
    assert isinstance(carrier(folder, ssh).login_error(), kind)
    assert start(folder, ssh, ask=True, terminal=True)
    assert ssh.asked_user == 1
    assert carrier(folder, ssh).login_error() is None


def test_an_unreachable_machine_asks_nobody(folder: Path) -> None:
    ssh = FakeSsh()
    ssh.refuses = "ssh: connect to host box port 2222: Connection timed out"
    with pytest.raises(EngineUnreachable.__bases__[0], match="does not answer ssh"):
        start(folder, ssh, ask=True, terminal=True)
    assert ssh.asked_user == 0


@pytest.mark.parametrize(
    ("log", "shell", "kind"),
    [
        (FORBIDDEN, "there\nusable\nmacnet-end\n", CarrierForbidden),
        ("", "macnet-end\n", EngineUnreachable),
        ("", "there\nmacnet-end\n", EnginePermission),
    ],
)
def test_an_engine_that_does_not_answer_leaves_no_ssh(
    folder: Path, log: str, shell: str, kind: type[MacnetError]
) -> None:
    ssh = FakeSsh()
    ssh.engine_answers, ssh.logs, ssh.shell_says = False, log, shell
    with pytest.raises(kind):
        start(folder, ssh)
    assert not carrier(folder, ssh).running()


def test_an_engine_that_restarts_costs_no_login(folder: Path) -> None:
    ssh = FakeSsh()
    start(folder, ssh)
    ssh.engine_answers = False
    with pytest.raises(EngineUnreachable, match="does not answer at"):
        start(folder, ssh)
    ssh.engine_answers = True
    assert not start(folder, ssh)
    assert ssh.logins == 1


def test_a_dead_line_costs_one(folder: Path) -> None:
    """Neither the engine nor a shell answers: the ssh is ended, and another one tried."""
    ssh = FakeSsh()
    start(folder, ssh)
    ssh.engine_answers, ssh.shell_says = False, ""
    with pytest.raises(MacnetError):
        start(folder, ssh)
    assert ssh.logins == 2


def test_after_a_sleep_a_dead_line_is_not_waited_for(folder: Path) -> None:
    ssh = FakeSsh()
    assert not carrier(folder, ssh).drop_if_dead()
    assert not folder.exists()
    start(folder, ssh)
    carrier(folder, ssh).carry(13194)
    # Nobody listens at the port that is asked for: an answer all the same.
    ssh.closed_ports.add(1)
    assert not carrier(folder, ssh).drop_if_dead()
    assert carrier(folder, ssh).running()
    ssh.line_dead = True
    assert carrier(folder, ssh).drop_if_dead()
    assert not carrier(folder, ssh).running()
    assert ssh.logins == 1
    ssh.line_dead = False
    assert start(folder, ssh)
    assert ssh.ports == [13194]


def test_what_another_macnet_changes_is_not_dropped(folder: Path) -> None:
    ssh = FakeSsh()
    start(folder, ssh)
    ssh.line_dead = True
    with lock(folder / "lock"):
        assert not carrier(folder, ssh).drop_if_dead()
    assert carrier(folder, ssh).running()


def test_a_port_that_may_not_be_forwarded(folder: Path) -> None:
    ssh = FakeSsh()
    ssh.logs = FORBIDDEN
    start(folder, ssh)
    ssh.closed_ports.add(13194)
    with pytest.raises(CarrierForbidden):
        carrier(folder, ssh).carry(13194)


def test_a_folder_of_somebody_else_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("macnet.carriers.ssh.os.geteuid", lambda: 4242)
    with pytest.raises(MacnetError, match="belongs to somebody else"):
        start(folder, FakeSsh())


def test_what_failed_leaves_nothing_but_the_port_that_is_wanted(folder: Path) -> None:
    ssh = FakeSsh()
    ssh.refuses = "ssh: connect to host box port 2222: No route to host"
    with pytest.raises(MacnetError):
        start(folder, ssh)
    assert not folder.exists()
    ssh.refuses = None
    start(folder, ssh)
    carrier(folder, ssh).carry(13194)
    ssh.dies()
    ssh.refuses = "ssh: connect to host box port 2222: No route to host"
    for _ in range(2):
        with pytest.raises(MacnetError):
            start(folder, ssh)
    ssh.refuses = None
    assert start(folder, ssh)
    assert ssh.ports == [13194]
