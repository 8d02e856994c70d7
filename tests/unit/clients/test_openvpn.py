from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest
from netaddr import IPAddress

from macnet import host
from macnet.clients import openvpn
from macnet.clients.base import ClientState
from macnet.clients.management import Management
from macnet.clients.openvpn import OpenVpnClient
from macnet.errors import ClientFailed, ClientMissing, StateError
from macnet.paths import MAX_SOCKET_PATH, TunnelPaths
from macnet.runner import CommandFailed, Completed

from .fakes import FakeOpenVpn
from .stage import OPENVPN, Stage, leftovers


def test_connect_starts_and_waits(stage: Stage) -> None:
    client = stage.client()
    assert client.status().state is ClientState.DISCONNECTED
    assert client.connect(stage.progress, timeout_s=3) is True
    status = client.status()
    assert (status.state, status.detail) == (ClientState.CONNECTED, "CONNECTED")
    assert status.address == IPAddress("127.0.0.1")
    assert status.interface in {"lo", "lo0"}
    assert client.status().current


def test_connect_twice_changes_nothing(stage: Stage) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    assert client.connect(stage.progress, timeout_s=3) is False
    assert len(stage.starts()) == 1
    assert len(stage.process.read) == 1


def test_command_line(stage: Stage) -> None:
    stage.client().connect(stage.progress, timeout_s=3)
    [(argv, _)] = stage.starts()
    assert argv[0] == OPENVPN
    # An error in the profile must reach the log; the profile must not raise the script level.
    assert argv.index("--log-append") < argv.index("--config") < argv.index("--script-security")
    assert argv[argv.index("--management") + 1 :] == (str(stage.paths.client_socket), "unix")


def test_files_are_private(stage: Stage) -> None:
    stage.paths.client_log.write_text("old\n" * 100)
    stage.paths.client_log.chmod(0o644)
    stage.client().connect(stage.progress, timeout_s=3)
    assert "old" not in stage.paths.client_log.read_text()
    for path in (stage.paths.client_log, stage.paths.root / "openvpn.profile"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_connect_with_a_changed_profile_reads_it_again(stage: Stage) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    stage.paths.profile.write_text("client\nroute 172.17.0.0 255.255.0.0\n")
    assert not client.status().current
    assert client.connect(stage.progress, timeout_s=3) is True
    assert client.status().current
    inputs = [text for text in stage.runner.inputs if text is not None]
    assert inputs == ["client\n", stage.paths.profile.read_text()]
    assert all("stdin" in argv for argv, _ in stage.starts())
    assert stage.process.read[-1] == stage.paths.profile.read_text()


def test_a_broken_profile_in_place_of_a_good_one(stage: Stage) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    stage.paths.profile.write_text("broken\n")
    with pytest.raises(ClientFailed, match="openvpn ended: Options error"):
        client.connect(stage.progress, timeout_s=3)
    assert client.status().state is ClientState.DISCONNECTED
    assert not client.status().current


def test_a_record_of_another_process_is_not_current(stage: Stage) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    stage.process.pid += 1
    assert not client.status().current


def test_timeout_tells_the_reason_and_leaves_nothing(stage: Stage) -> None:
    stage.paths.profile.write_text("silent\n")
    with pytest.raises(ClientFailed) as caught:
        stage.client().connect(stage.progress, timeout_s=0.1)
    assert caught.value.message == (
        "openvpn did not connect within 0.1 s: TCP: connect to 127.0.0.1 failed: refused"
    )
    assert caught.value.hint == f"its log is {stage.paths.client_log}"
    assert not stage.process.alive
    assert leftovers(stage) == {"macnet.ovpn", "openvpn.log"}


def test_interruption_leaves_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(OpenVpnClient, "_wait_connected", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stage.client().connect(stage.progress, timeout_s=3)
    assert not stage.process.alive


def test_process_that_ends_at_once(stage: Stage) -> None:
    stage.paths.profile.write_text("broken\n")
    with pytest.raises(ClientFailed, match="openvpn ended: Options error"):
        stage.client().connect(stage.progress, timeout_s=3)


def test_program_that_does_not_start(stage: Stage) -> None:
    stage.runner.answers.insert(
        0, ("--management", lambda argv: Completed(tuple(argv), 1, "", "bad library\n"))
    )
    with pytest.raises(ClientFailed, match="did not start: bad library"):
        stage.client().connect(stage.progress, timeout_s=3)


def test_program_that_cannot_be_run(stage: Stage) -> None:
    stage.runner.answers.insert(
        0, ("--management", lambda argv: CommandFailed(argv, "may not be run by this user"))
    )
    with pytest.raises(ClientFailed, match="may not be run"):
        stage.client().connect(stage.progress, timeout_s=3)


def test_stale_socket_after_a_kill(stage: Stage) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    stage.process.stop(leave_file=True)
    assert stage.paths.client_socket.exists()
    assert client.status().state is ClientState.DISCONNECTED
    assert client.connect(stage.progress, timeout_s=3) is True


def test_disconnect(stage: Stage) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    assert client.disconnect(stage.progress) is True
    assert not stage.process.alive
    assert client.disconnect(stage.progress) is False
    assert leftovers(stage) == {"macnet.ovpn", "openvpn.log", "openvpn.profile"}


def test_process_that_does_not_leave(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    client = stage.client(root=False)
    client.connect(stage.progress, timeout_s=3)
    monkeypatch.setattr(host, "is_process_alive", lambda pid: True)
    with pytest.raises(ClientFailed, match="does not end") as caught:
        client.disconnect(stage.progress)
    assert caught.value.hint == "end it: sudo kill -9 4242"


def test_status_of_a_mute_process(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvpn, "Management", lambda path: Management(path, timeout_s=0.05))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(stage.paths.client_socket))
        listener.listen(1)
        status = stage.client().status()
    assert status.state is ClientState.UNKNOWN
    assert "no answer" in status.detail


def test_status_while_connecting(stage: Stage) -> None:
    stage.process.polls_to_connect = 99
    stage.process.start()
    status = stage.client().status()
    assert (status.state, status.detail) == (ClientState.CONNECTING, "TCP_CONNECT")


def test_missing_program(stage: Stage) -> None:
    stage.runner.programs = {}
    client = stage.client()
    with pytest.raises(ClientMissing) as caught:
        client.require()
    assert caught.value.hint and "brew install openvpn" in caught.value.hint
    assert client.version() is None


def test_missing_profile(stage: Stage) -> None:
    stage.paths.profile.unlink()
    with pytest.raises(ClientFailed, match="cannot read the profile"):
        stage.client().connect(stage.progress, timeout_s=3)
    assert stage.starts() == []


def test_version(stage: Stage) -> None:
    says = "OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)]\nlibrary versions: OpenSSL 3\n"
    stage.runner.answers.append(("--version", lambda argv: Completed(tuple(argv), 1, says, "")))
    assert stage.client().version() == "2.6.14"


def test_nothing_secret_on_the_command_line(stage: Stage) -> None:
    stage.paths.profile.write_text("<key>\nSECRET\n</key>\n")
    stage.client(root=False).connect(stage.progress, timeout_s=3)
    assert not any("SECRET" in word for argv, _ in stage.runner.calls for word in argv)
    assert "SECRET" not in (stage.paths.root / "openvpn.profile").read_text()


def test_a_current_process_that_reconnects_is_waited_for(stage: Stage) -> None:
    client = stage.client(root=False)
    client.connect(stage.progress, timeout_s=3)
    stage.process.drop()
    assert client.status().state is ClientState.CONNECTING
    assert client.status().current
    stage.runner.calls.clear()
    assert client.connect(stage.progress, timeout_s=3) is False
    assert client.status().state is ClientState.CONNECTED
    assert stage.runner.calls == []


def test_a_current_process_that_does_not_come_back_is_left_alone(stage: Stage) -> None:
    client = stage.client(root=False)
    client.connect(stage.progress, timeout_s=3)
    stage.process.drop(polls=10_000)
    stage.runner.calls.clear()
    stage.paths.client_log.write_text("the log of an earlier connection\n")
    with pytest.raises(ClientFailed, match="did not connect within"):
        client.connect(stage.progress, timeout_s=0.1)
    assert stage.process.alive
    assert stage.runner.calls == []
    # The reason is in what it writes from then on.
    assert stage.paths.client_log.read_text() == ""


def test_one_that_ends_while_it_is_waited_for_is_started_again(stage: Stage) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    stage.process.drop(polls=10_000)
    ending = threading.Timer(0.1, stage.process.stop)
    ending.start()
    assert client.connect(stage.progress, timeout_s=3) is True
    ending.join()
    assert len(stage.starts()) == 2


def test_the_log_holds_connects_and_not_the_attempts_after_them(stage: Stage) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    assert stage.process.verbosity == ["verb 0"]
    stage.paths.client_log.write_text("old\n")
    stage.process.drop()
    client.connect(stage.progress, timeout_s=3)
    assert stage.process.verbosity == ["verb 0", "verb 3", "verb 0"]
    assert "old" not in stage.paths.client_log.read_text()


def test_disconnect_leaves_the_files_of_a_process_that_starts_meanwhile(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    alive = host.is_process_alive
    pid = stage.process.pid

    def replaced(asked: int) -> bool:
        # The old one has just ended, and another command starts its successor.
        if asked == pid == stage.process.pid and not alive(asked):
            stage.process.pid += 1
            stage.process.start()
        return asked == stage.process.pid and stage.process.alive

    monkeypatch.setattr(host, "is_process_alive", replaced)
    monkeypatch.setattr(OpenVpnClient, "kill_orphans", lambda self, progress: False)
    assert client.disconnect(stage.progress) is True
    assert stage.process.alive
    assert stage.paths.client_socket.exists()
    assert stage.paths.client_pid.exists()
    assert client.status().detail == "TCP_CONNECT"


def test_a_process_that_lost_its_socket_is_ended_before_another_starts(stage: Stage) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    assert stage.process.server
    stage.process.server.stop()
    assert client.status().state is ClientState.DISCONNECTED
    assert client.connect(stage.progress, timeout_s=3) is True
    assert ("kill", "4242") in [argv for argv, _ in stage.runner.calls]
    assert "pid 4242" in stage.progress.warnings[0]


def test_disconnect_ends_one_that_lost_its_socket(stage: Stage) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    assert stage.process.server
    stage.process.server.stop()
    assert client.disconnect(stage.progress) is True
    assert not stage.process.alive
    assert client.disconnect(stage.progress) is False


def test_a_tunnel_with_a_long_path_has_its_socket_in_a_private_folder(stage: Stage) -> None:
    deep = TunnelPaths(stage.paths.root / ("x" * 120))
    deep.root.mkdir()
    deep.profile.write_text("client\n")
    process = FakeOpenVpn(deep.profile, deep.client_socket, deep.client_log, deep.client_pid)
    far = Stage(deep, stage.runner, process, stage.progress)
    stage.runner.answers = [("--management", far.start), ("ps", far.ps)]
    try:
        assert far.client().connect(stage.progress, timeout_s=3) is True
        folder = deep.client_socket.parent
        assert len(os.fsencode(deep.client_socket)) <= MAX_SOCKET_PATH
        assert (folder.stat().st_uid, stat.S_IMODE(folder.stat().st_mode)) == (os.geteuid(), 0o700)
        assert far.client().status().state is ClientState.CONNECTED
    finally:
        process.stop()


@pytest.mark.parametrize("damage", ["mode", "link", "file"])
def test_a_socket_folder_that_others_can_use_is_refused(
    stage: Stage, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stage.paths.root / "elsewhere"
    if damage == "mode":
        folder.mkdir(mode=0o755)
    elif damage == "link":
        (stage.paths.root / "mine").mkdir(mode=0o700)
        folder.symlink_to(stage.paths.root / "mine")
    else:
        folder.touch()
    monkeypatch.setattr(TunnelPaths, "client_socket", property(lambda self: folder / "0123.sock"))
    client = stage.client()
    assert client.status().state is ClientState.UNKNOWN
    with pytest.raises(ClientFailed, match="not a directory of yours alone"):
        client.connect(stage.progress, timeout_s=3)
    assert stage.starts() == []


def test_a_file_that_cannot_be_made_is_an_error_of_ours(stage: Stage) -> None:
    stage.paths.client_log.mkdir()
    with pytest.raises(StateError, match=r"openvpn\.log"):
        stage.client().connect(stage.progress, timeout_s=3)
    stage.paths.client_log.rmdir()
    stage.client().connect(stage.progress, timeout_s=3)
    (stage.paths.root / "openvpn.profile").unlink()
    (stage.paths.root / "openvpn.profile").mkdir()
    stage.paths.profile.write_text("client\nverb 4\n")
    with pytest.raises(StateError, match=r"openvpn\.profile"):
        stage.client().connect(stage.progress, timeout_s=3)


def test_a_log_that_is_a_link_is_not_followed(stage: Stage, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("keep")
    stage.paths.client_log.symlink_to(target)
    stage.client().connect(stage.progress, timeout_s=3)
    assert target.read_text() == "keep"
    assert not stage.paths.client_log.is_symlink()


def test_the_program_of_macports_is_found(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def find(program: str, *places: str) -> str | None:
        asked.extend(places)
        return OPENVPN

    monkeypatch.setattr(stage.runner, "find", find)
    stage.client().require()
    assert "/opt/local/sbin/openvpn" in asked


def test_one_that_is_too_busy_to_answer_is_ended_all_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it waits for a TCP connection, openvpn answers nobody for some seconds."""
    client = stage.client()
    stage.paths.profile.write_text("silent\n")
    ask = client._running_pid

    def busy() -> int | None:
        if stage.process.alive:
            raise ClientFailed("no answer within 4 s")
        return ask()

    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(openvpn, "_LEAVE_S", 0.2)
    monkeypatch.setattr(client, "_running_pid", busy)
    monkeypatch.setattr(client, "_wait_connected", interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.connect(stage.progress, timeout_s=1.0)
    assert stage.starts()
    assert not stage.process.alive
