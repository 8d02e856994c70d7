"""A Tunnelblick that is missing, refuses, asks, hangs or does not connect."""

from __future__ import annotations

import pytest

from macnet.clients import ClientState
from macnet.clients.tunnelblick import TunnelblickClient
from macnet.clients.tunnelblick_script import CONSENT_HINT
from macnet.errors import (
    ClientBusy,
    ClientDenied,
    ClientError,
    ClientFailed,
    ClientMissing,
    ClientRefused,
    ClientTimeout,
)
from macnet.paths import TunnelPaths

from .fake_tunnelblick import PROFILE, FakeTunnelblick
from .fakes import Recorder


def connect(client: TunnelblickClient, timeout_s: float = 5) -> bool:
    return client.connect(Recorder(), timeout_s=timeout_s)


def test_another_vpn_and_a_question_that_nobody_answers(
    client: TunnelblickClient, app: FakeTunnelblick
) -> None:
    app.states = {"work": ["CONNECTED"]}
    app.fails["connect"] = -1712
    with pytest.raises(ClientBusy, match="connected to work") as caught:
        connect(client)
    assert "dialog" in (caught.value.hint or "")
    assert not app.commands("disconnect")


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
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def late(path: str) -> str:
        FakeTunnelblick.install(app, path)
        return "nonsense"

    monkeypatch.setattr(app, "install", late)
    assert connect(client) is True


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


def test_a_disconnect_that_does_not_end(
    client: TunnelblickClient, app: FakeTunnelblick, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(client)
    monkeypatch.setattr(app, "disconnect", lambda name: "true")
    with pytest.raises(ClientTimeout, match="does not end the connection macnet"):
        client.disconnect(Recorder())


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


def test_a_machine_without_a_network(client: TunnelblickClient, app: FakeTunnelblick) -> None:
    app.offline = True
    with pytest.raises(ClientTimeout, match="has no network") as caught:
        connect(client, timeout_s=0.05)
    assert caught.value.hint == "join any network, or use `macnet setup --client openvpn`"
    assert app.commands("disconnect") == [("disconnect", "macnet")]


def test_the_hint_for_consent_fits_a_terminal_that_macos_never_asks_for() -> None:
    assert "Terminal.app" in CONSENT_HINT
    assert "agent" not in CONSENT_HINT
