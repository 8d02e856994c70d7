"""Tunnelblick, driven by the very scripts that its stand-in accepts."""

from __future__ import annotations

from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from macnet.clients import ClientState, tunnelblick
from macnet.clients.tunnelblick import TunnelblickClient
from macnet.clients.tunnelblick_script import INSTALL_S
from macnet.errors import (
    ClientBusy,
    ClientDenied,
    ClientError,
    ClientFailed,
    ClientMissing,
    ClientRefused,
    ClientTimeout,
)
from macnet.models import Interface
from macnet.paths import TunnelPaths

from .fake_tunnelblick import FakeTunnelblick
from .fakes import Recorder

PROFILE = "client\ndev tun\nremote 127.0.0.1 13194\n"
SUBNET = IPNetwork("192.168.255.0/24")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "POLL": 0,
        "LAUNCH": 0.05,
        "SETTLE": 0.2,
        "BEGIN": 0.05,
        "LEAVE": 0.05,
    }.items():
        monkeypatch.setattr(tunnelblick, f"_{name}_S", value)


@pytest.fixture
def app(tmp_path: Path) -> FakeTunnelblick:
    return FakeTunnelblick(tmp_path / "mac")


@pytest.fixture
def paths(tmp_path: Path) -> TunnelPaths:
    paths = TunnelPaths(tmp_path / "tunnels" / "macnet")
    paths.root.mkdir(parents=True)
    paths.profile.write_text(PROFILE)
    return paths


@pytest.fixture
def client(app: FakeTunnelblick, paths: TunnelPaths) -> TunnelblickClient:
    return TunnelblickClient(paths, app, places=app.places, tunnel_subnet=lambda: SUBNET)


@pytest.fixture
def progress() -> Recorder:
    return Recorder()


def connect(client: TunnelblickClient, timeout_s: float = 5) -> bool:
    return client.connect(Recorder(), timeout_s=timeout_s)


def test_the_first_connect_imports_and_says_that_a_password_is_asked(
    client: TunnelblickClient, app: FakeTunnelblick, paths: TunnelPaths, progress: Recorder
) -> None:
    assert client.connect(progress, timeout_s=5) is True
    assert app.commands("install", "connect", "launch") == [
        ("install", str(paths.root / "tunnelblick/macnet.tblk")),
        ("connect", "macnet"),
    ]
    assert "administrator's password" in progress.warnings[0]
    assert app.timeouts["install"] > INSTALL_S
    assert client.is_current(paths.profile)
    assert not (paths.root / "tunnelblick").exists()


def test_the_second_connect_changes_nothing(
    client: TunnelblickClient, app: FakeTunnelblick
) -> None:
    connect(client)
    app.calls.clear()
    assert connect(client) is False
    assert {call[0] for call in app.calls} == {"configurations"}


def test_a_changed_profile_is_imported_once_and_tunnelblick_connects_again(
    client: TunnelblickClient, app: FakeTunnelblick, paths: TunnelPaths
) -> None:
    connect(client)
    paths.profile.write_text(PROFILE + "verb 3\n")
    assert not client.is_current(paths.profile)
    app.calls.clear()
    assert connect(client) is True
    assert len(app.commands("install")) == 1
    assert app.states["macnet"] == ["CONNECTED"]
    assert connect(client) is False


def test_only_our_configuration_is_touched(
    client: TunnelblickClient, app: FakeTunnelblick, progress: Recorder
) -> None:
    app.states = {"work": ["CONNECTED"], "a, b": ["EXITING"]}
    client.connect(progress, timeout_s=5)
    assert "work" in progress.warnings[-1]
    assert "a, b" not in progress.warnings[-1]
    client.reconnect(progress, timeout_s=5)
    client.disconnect(progress)
    assert {call[1] for call in app.commands("connect", "disconnect")} == {"macnet"}
    assert app.states["work"] == ["CONNECTED"]


def test_another_vpn_and_a_question_that_nobody_answers(
    client: TunnelblickClient, app: FakeTunnelblick
) -> None:
    app.states = {"work": ["CONNECTED"]}
    app.fails["connect"] = -1712
    with pytest.raises(ClientBusy, match="connected to work") as caught:
        connect(client)
    assert "dialog" in (caught.value.hint or "")
    assert not app.commands("disconnect")


def test_a_stopped_tunnelblick_is_started_and_may_take_its_time(
    client: TunnelblickClient, app: FakeTunnelblick
) -> None:
    connect(client)
    app.running, app.slow_start, app.states["macnet"] = False, 3, ["EXITING"]
    assert client.status().detail == "Tunnelblick does not run"
    assert connect(client) is True
    assert len(app.commands("launch")) == 1


def test_one_that_does_not_start(client: TunnelblickClient, app: FakeTunnelblick) -> None:
    app.running = app.starts = False
    with pytest.raises(ClientFailed, match="did not start") as caught:
        connect(client)
    assert "start it yourself" in (caught.value.hint or "")
    assert not app.commands("install", "connect")


def test_a_missing_one(client: TunnelblickClient, app: FakeTunnelblick, progress: Recorder) -> None:
    (app.places.app / "Contents/Info.plist").unlink()
    (app.places.app / "Contents").rmdir()
    app.places.app.rmdir()
    with pytest.raises(ClientMissing, match="not installed") as caught:
        connect(client)
    assert caught.value.hint == "install it: brew install --cask tunnelblick"
    assert client.version() is None
    assert client.status().state is ClientState.DISCONNECTED
    assert client.disconnect(progress) is False
    assert app.calls == []


def test_an_old_one(client: TunnelblickClient, app: FakeTunnelblick) -> None:
    app.set_app("3.8.8g")
    with pytest.raises(ClientMissing, match=r"3\.8\.8g is too old"):
        client.require()
    assert client.version() == "3.8.8g"


@pytest.mark.parametrize(
    ("command", "number", "kind", "hint"),
    [
        ("configurations", -1743, ClientDenied, "Automation"),
        ("configurations", -1744, ClientDenied, "Automation"),
        ("install", -1743, ClientDenied, "Automation"),
        ("install", -128, ClientRefused, "confirm"),
        ("install", -1712, ClientBusy, "dialog"),
        ("connect", -1712, ClientBusy, "dialog"),
        ("connect", -609, ClientFailed, "start Tunnelblick"),
        ("configurations", -600, ClientFailed, "start Tunnelblick"),
        ("configurations", -1728, ClientFailed, "try again"),
        ("configurations", -10814, ClientMissing, "brew"),
    ],
)
def test_errors_are_told_by_their_number(
    client: TunnelblickClient,
    app: FakeTunnelblick,
    paths: TunnelPaths,
    command: str,
    number: int,
    kind: type[ClientError],
    hint: str,
) -> None:
    app.fails[command] = number
    with pytest.raises(kind) as caught:
        connect(client)
    assert type(caught.value) is kind
    assert caught.value.exit_code == 7
    assert hint in (caught.value.hint or "")
    assert not (paths.root / "tunnelblick").exists()


def test_an_osascript_that_hangs(client: TunnelblickClient, app: FakeTunnelblick) -> None:
    app.hangs.add("install")
    with pytest.raises(ClientBusy, match="install") as caught:
        connect(client)
    assert "tell application" not in caught.value.message


def test_a_late_answer_does_not_matter_if_the_profile_was_taken(
    client: TunnelblickClient,
    app: FakeTunnelblick,
    paths: TunnelPaths,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def late(path: str) -> str:
        FakeTunnelblick.install(app, path)
        return "nonsense"

    monkeypatch.setattr(app, "install", late)
    assert client.install(paths.profile, Recorder()) is True


def test_refusals(client: TunnelblickClient, app: FakeTunnelblick, paths: TunnelPaths) -> None:
    app.takes = False
    with pytest.raises(ClientRefused, match="did not take") as caught:
        connect(client)
    assert "unsafe" in (caught.value.hint or "")
    app.takes, app.keeps = True, False
    with pytest.raises(ClientRefused, match="does not have it"):
        connect(client)
    app.keeps = True
    paths.profile.write_text(PROFILE + "up /tmp/script\n")
    with pytest.raises(ClientRefused):
        connect(client)
    (app.places.shared / "macnet.tblk").mkdir(parents=True)
    with pytest.raises(ClientRefused, match="all users"):
        connect(client)
    assert not (paths.root / "tunnelblick").exists()
    assert not app.commands("connect")


def test_a_connection_that_ends_at_once(client: TunnelblickClient, app: FakeTunnelblick) -> None:
    app.path = ["SLEEP", "TCP_CONNECT", "EXITING"]
    with pytest.raises(ClientFailed, match="did not connect macnet") as caught:
        connect(client)
    assert "Log" in (caught.value.hint or "")


def test_one_that_never_begins(client: TunnelblickClient, app: FakeTunnelblick) -> None:
    app.path = ["EXITING"]
    with pytest.raises(ClientFailed, match="did not connect"):
        connect(client)


@pytest.mark.parametrize(("state", "word"), [("AUTH", "AUTH"), ("WARP", "macnet does not know")])
def test_one_that_does_not_end_is_taken_back(
    client: TunnelblickClient, app: FakeTunnelblick, state: str, word: str
) -> None:
    app.path = [state]
    with pytest.raises(ClientTimeout, match=word):
        connect(client, timeout_s=0.05)
    assert app.commands("disconnect") == [("disconnect", "macnet")]
    assert client.status().detail == "DISCONNECTING"


def test_a_connection_of_before_is_not_taken_back(
    client: TunnelblickClient, app: FakeTunnelblick
) -> None:
    connect(client)
    app.states["macnet"] = ["RECONNECTING"]
    app.path = ["RECONNECTING"]
    with pytest.raises(ClientTimeout, match="RECONNECTING"):
        connect(client, timeout_s=0.05)
    assert not app.commands("disconnect")


def test_a_file_that_tunnelblick_does_not_show(
    client: TunnelblickClient, app: FakeTunnelblick
) -> None:
    connect(client)
    app.states.clear()
    with pytest.raises(ClientFailed, match="has no configuration macnet"):
        connect(client)


def test_disconnect(client: TunnelblickClient, app: FakeTunnelblick, progress: Recorder) -> None:
    connect(client)
    assert client.disconnect(progress) is True
    assert client.disconnect(progress) is False
    assert client.remove(progress) is False


def test_a_disconnect_that_does_not_end(
    client: TunnelblickClient, app: FakeTunnelblick, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(client)
    monkeypatch.setattr(app, "disconnect", lambda name: "true")
    with pytest.raises(ClientTimeout, match="does not end the connection macnet"):
        client.disconnect(Recorder())


def test_reconnect_without_a_change_disconnects_first(
    client: TunnelblickClient, app: FakeTunnelblick, progress: Recorder
) -> None:
    connect(client)
    app.calls.clear()
    client.reconnect(progress, timeout_s=5)
    assert app.commands("install", "disconnect", "connect") == [
        ("disconnect", "macnet"),
        ("connect", "macnet"),
    ]


def test_status_tells_address_and_interface(
    client: TunnelblickClient, app: FakeTunnelblick, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = (
        Interface("en0", (IPNetwork("192.168.1.5/24"),)),
        Interface("utun7", (IPNetwork("fe80::1/64"), IPNetwork("192.168.255.2/24"))),
    )
    monkeypatch.setattr("macnet.host.list_interfaces", lambda: found)
    assert client.status().detail == "not imported"
    connect(client)
    now = client.status()
    assert now.state is ClientState.CONNECTED
    assert (now.address, now.interface) == (IPAddress("192.168.255.2"), "utun7")
    app.fails["configurations"] = -1743
    assert client.status().state is ClientState.UNKNOWN


def test_a_renamed_configuration_is_still_ours(
    client: TunnelblickClient, app: FakeTunnelblick, paths: TunnelPaths
) -> None:
    connect(client)
    (app.places.private / "macnet.tblk").rename(app.places.private / "docker.tblk")
    app.states["docker"] = app.states.pop("macnet")
    assert connect(client) is False
    paths.profile.write_text(PROFILE + "verb 3\n")
    assert connect(client) is True
    assert app.states == {"docker": ["CONNECTED"]}


@pytest.mark.parametrize("purge", [False, True])
def test_leftover_offers_the_bundle_that_uninstalls(
    client: TunnelblickClient,
    paths: TunnelPaths,
    purge: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert client.leftover(purge=purge) == ()
    connect(client)
    lines = client.leftover(purge=purge)
    bundle = Path(lines[0].partition("open '")[2].rstrip("'"))
    assert (bundle / "Contents/Info.plist").exists()
    assert bundle.is_relative_to(paths.root) is not purge


def test_no_osascript(
    client: TunnelblickClient, app: FakeTunnelblick, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "find", lambda program, *places: None)
    with pytest.raises(ClientMissing, match="needs macOS"):
        connect(client)


def test_an_answer_that_is_none(
    client: TunnelblickClient, app: FakeTunnelblick, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "configurations", lambda: "missing value")
    with pytest.raises(ClientFailed, match="missing value"):
        connect(client)
    monkeypatch.setattr(app, "configurations", lambda: "running\nmacnet")
    with pytest.raises(ClientFailed, match="the line"):
        connect(client)
