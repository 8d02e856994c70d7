from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest
from netaddr import IPAddress

from macnet import host
from macnet.clients import openvpn
from macnet.clients.base import ClientState
from macnet.clients.management import Management
from macnet.clients.openvpn import OpenVpnClient
from macnet.errors import ClientFailed, ClientMissing
from macnet.paths import TunnelPaths
from macnet.runner import CommandFailed, Completed

from .stage import OPENVPN, Stage, leftovers


def test_connect_starts_and_waits(stage: Stage) -> None:
    client = stage.client()
    assert client.status().state is ClientState.DISCONNECTED
    assert client.connect(stage.progress, timeout_s=3) is True
    status = client.status()
    assert (status.state, status.detail) == (ClientState.CONNECTED, "CONNECTED")
    assert status.address == IPAddress("127.0.0.1")
    assert status.interface in {"lo", "lo0"}
    assert client.is_current(stage.paths.profile)


def test_connect_twice_changes_nothing(stage: Stage) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    assert client.connect(stage.progress, timeout_s=3) is False
    assert len(stage.runner.calls) == 1
    assert len(stage.process.read) == 1


def test_command_line(stage: Stage) -> None:
    stage.client().connect(stage.progress, timeout_s=3)
    [(argv, _)] = stage.runner.calls
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
    assert not client.is_current(stage.paths.profile)
    assert client.connect(stage.progress, timeout_s=3) is True
    assert client.is_current(stage.paths.profile)
    assert stage.runner.inputs == ["client\n", stage.paths.profile.read_text()]
    assert all("stdin" in argv for argv, _ in stage.runner.calls)
    assert stage.process.read[-1] == stage.paths.profile.read_text()


def test_reconnect_starts_what_does_not_run(stage: Stage) -> None:
    client = stage.client()
    client.reconnect(stage.progress, timeout_s=3)
    assert client.status().state is ClientState.CONNECTED


def test_reconnect_with_a_broken_profile(stage: Stage) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    stage.paths.profile.write_text("broken\n")
    with pytest.raises(ClientFailed, match="openvpn ended: Options error"):
        client.reconnect(stage.progress, timeout_s=3)
    assert client.status().state is ClientState.DISCONNECTED
    assert not client.is_current(stage.paths.profile)


def test_a_record_of_another_process_is_not_current(stage: Stage) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    stage.process.pid += 1
    assert not client.is_current(stage.paths.profile)


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


def test_a_process_that_cannot_be_asked_is_not_doubled(stage: Stage) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    assert stage.process.server
    stage.process.server.stop()
    with pytest.raises(ClientFailed, match="pid 4242") as caught:
        client.connect(stage.progress, timeout_s=3)
    assert caught.value.hint and "sudo kill 4242" in caught.value.hint
    assert stage.paths.client_pid.exists()


def test_disconnect_and_remove(stage: Stage) -> None:
    client = stage.client()
    client.connect(stage.progress, timeout_s=3)
    assert client.disconnect(stage.progress) is True
    assert not stage.process.alive
    assert client.disconnect(stage.progress) is False
    assert client.remove(stage.progress) is True
    assert leftovers(stage) == {"macnet.ovpn"}
    assert client.remove(stage.progress) is False


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


def test_too_long_socket_path(stage: Stage) -> None:
    deep = TunnelPaths(stage.paths.root / ("x" * 120))
    client = OpenVpnClient(deep, stage.runner, root=True, user="ann", terminal=False)
    with pytest.raises(ClientFailed, match="the system allows 103") as caught:
        client.connect(stage.progress, timeout_s=3)
    assert caught.value.hint == "set MACNET_HOME to a shorter path"


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
    assert stage.runner.calls == []


def test_version(stage: Stage) -> None:
    says = "OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)]\nlibrary versions: OpenSSL 3\n"
    stage.runner.answers.append(("--version", lambda argv: Completed(tuple(argv), 1, says, "")))
    assert stage.client().version() == "2.6.14"


def test_install_only_accepts_the_tunnels_profile(stage: Stage, tmp_path: Path) -> None:
    client = stage.client()
    assert client.install(stage.paths.profile, stage.progress) is False
    with pytest.raises(ClientFailed):
        client.install(tmp_path / "other.ovpn", stage.progress)


def test_nothing_secret_on_the_command_line(stage: Stage) -> None:
    stage.paths.profile.write_text("<key>\nSECRET\n</key>\n")
    stage.client(root=False).connect(stage.progress, timeout_s=3)
    assert not any("SECRET" in word for argv, _ in stage.runner.calls for word in argv)
    assert "SECRET" not in (stage.paths.root / "openvpn.profile").read_text()
