"""Tunnelblick, driven by the very scripts that its stand-in accepts."""

from __future__ import annotations

from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from macnet.clients import ClientState
from macnet.clients.tunnelblick import TunnelblickClient
from macnet.clients.tunnelblick_bundle import write_bundle
from macnet.clients.tunnelblick_script import INSTALL_S
from macnet.errors import ClientBusy, ClientRefused
from macnet.models import Interface
from macnet.paths import TunnelPaths
from tests.lab.standin.rules import read_bundle

from .fake_tunnelblick import PROFILE, FakeTunnelblick
from .fakes import Recorder


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
    assert client.status().current
    assert not (paths.root / "tunnelblick").exists()


def test_the_second_connect_changes_nothing(
    client: TunnelblickClient, app: FakeTunnelblick
) -> None:
    connect(client)
    app.calls.clear()
    assert connect(client) is False
    assert {call[0] for call in app.calls} == {"configurations"}


def test_a_changed_profile_is_imported_only_while_it_is_disconnected(
    client: TunnelblickClient, app: FakeTunnelblick, paths: TunnelPaths
) -> None:
    connect(client)
    app.states["work"] = ["CONNECTED"]
    paths.profile.write_text(PROFILE + "verb 3\n")
    assert not client.status().current
    app.calls.clear()
    assert connect(client) is True
    assert [call[0] for call in app.commands("disconnect", "install", "connect")] == [
        "disconnect",
        "install",
        "connect",
    ]
    assert app.states == {"macnet": ["CONNECTED"], "work": ["CONNECTED"]}
    assert connect(client) is False


@pytest.mark.parametrize("state", ["RECONNECTING", "SLEEP", "DISCONNECTING"])
def test_nor_is_one_replaced_that_is_on_its_way(
    client: TunnelblickClient, app: FakeTunnelblick, paths: TunnelPaths, state: str
) -> None:
    connect(client)
    paths.profile.write_text(PROFILE + "verb 3\n")
    app.states["macnet"] = [state, state, "EXITING"] if state == "DISCONNECTING" else [state]
    assert connect(client) is True
    assert app.running
    assert client.status().current


def test_a_refused_import_brings_the_old_profile_back(
    client: TunnelblickClient, app: FakeTunnelblick, paths: TunnelPaths, progress: Recorder
) -> None:
    connect(client)
    old = paths.profile.read_bytes()
    paths.profile.write_text(PROFILE + "verb 3\n")
    app.takes = False
    with pytest.raises(ClientRefused):
        client.connect(progress, timeout_s=5)
    assert app.commands("install", "connect")[-1] == ("connect", "macnet")
    assert "old one" in progress.warnings[-1]
    assert app.states["macnet"][-1] == "CONNECTED"
    assert not client.status().current
    installed = app.places.private / "macnet.tblk/Contents/Resources/config.ovpn"
    assert installed.read_bytes() == old


def test_an_import_that_hangs_does_not_keep_the_user_waiting_twice(
    client: TunnelblickClient, app: FakeTunnelblick, paths: TunnelPaths
) -> None:
    connect(client)
    paths.profile.write_text(PROFILE + "verb 3\n")
    app.hangs.add("install")
    with pytest.raises(ClientBusy):
        connect(client)
    assert app.calls[-1] == ("connect", "macnet")
    assert app.timeouts["connect"] < 30


def test_one_that_reconnects_with_the_present_profile_is_waited_for(
    client: TunnelblickClient, app: FakeTunnelblick
) -> None:
    connect(client)
    app.states["macnet"] = ["RECONNECTING", "RECONNECTING", "AUTH", "CONNECTED"]
    app.calls.clear()
    assert connect(client) is False
    assert {call[0] for call in app.calls} == {"configurations"}
    assert client.status().state is ClientState.CONNECTED


def test_a_path_that_tunnelblick_refuses_is_not_given_to_it(
    app: FakeTunnelblick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    paths = TunnelPaths(tmp_path / "R&D's [1]" / "macnet")
    paths.root.mkdir(parents=True)
    paths.profile.write_text(PROFILE)
    client = TunnelblickClient(paths, app, places=app.places, tunnel_subnet=lambda: None)
    assert connect(client) is True
    [(_, bundle)] = app.commands("install")
    assert Path(bundle).is_relative_to(tmp_path / "temporary")
    # It would have been refused there.
    refused = write_bundle(paths.root, "macnet", PROFILE.encode())
    assert app.install(str(refused)) == "false"
    assert list((tmp_path / "temporary").iterdir()) == []
    assert str(tmp_path / "temporary") in client.leftovers(purge=False)[0]


def client_of(
    tunnel: str, app: FakeTunnelblick, folder: Path, port: int = 13194
) -> TunnelblickClient:
    """The client of one of several tunnels, whose profiles differ in their ports."""
    paths = TunnelPaths(folder / "tunnels" / tunnel)
    paths.root.mkdir(parents=True, exist_ok=True)
    paths.profile.write_text(PROFILE.replace("13194", str(port)))
    return TunnelblickClient(paths, app, places=app.places, tunnel_subnet=lambda: None)


def ports(app: FakeTunnelblick) -> dict[str, str]:
    """The port in each installed configuration."""
    return {
        bundle.stem: (bundle / "Contents/Resources/config.ovpn").read_text().split()[-1]
        for bundle in app.places.private.glob("*.tblk")
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [("my-ctx", "my.ctx"), ("my.ctx", "my_ctx"), ("a-b", "a--b"), ("a", "a-"), ("a..b", "a.b")],
)
def test_tunnels_with_much_the_same_name_have_a_configuration_each(
    app: FakeTunnelblick, tmp_path: Path, one: str, other: str
) -> None:
    first = client_of(one, app, tmp_path, 13194)
    second = client_of(other, app, tmp_path, 13195)
    assert connect(first) and connect(second)
    assert sorted(ports(app).values()) == ["13194", "13195"]
    assert [client.status().state for client in (first, second)] == [ClientState.CONNECTED] * 2
    app.calls.clear()
    assert not connect(first) and not connect(second)
    assert app.commands("install") == []
    first.disconnect(Recorder())
    assert second.status().state is ClientState.CONNECTED


@pytest.mark.parametrize("tunnel", ["a..b", "a...b.", "a."])
def test_a_name_that_would_make_two_dots_in_a_path_is_avoided(
    app: FakeTunnelblick, tmp_path: Path, tunnel: str
) -> None:
    client = client_of(tunnel, app, tmp_path)
    assert connect(client) is True
    [(_, bundle)] = app.commands("install")
    assert ".." not in bundle
    assert ".." not in client.leftovers(purge=False)[0]


def install_former(app: FakeTunnelblick, name: str) -> None:
    """A configuration as an earlier macnet has installed it: `my.ctx` shares its identifier."""
    app.states[name] = ["EXITING"]
    write_bundle(app.places.private, name, PROFILE.encode(), "io.github.macnet.my-ctx")


def test_the_configuration_of_an_earlier_macnet_is_found_and_replaced(
    app: FakeTunnelblick, tmp_path: Path
) -> None:
    install_former(app, "my.ctx")
    client = client_of("my.ctx", app, tmp_path)
    assert connect(client) is True
    assert app.commands("install") == []
    connect(client_of("my.ctx", app, tmp_path, 13199))
    assert len(app.commands("install")) == 1
    assert ports(app) == {"my.ctx": "13199"}
    # What uninstalls it has the identifier by which Tunnelblick knows it.
    bundle = Path(client.leftovers(purge=False)[0].partition("open '")[2].rstrip("'"))
    assert read_bundle(bundle).identifier == "io.github.macnet.my-ctx"


def test_that_of_another_tunnel_is_not_taken_for_ours(app: FakeTunnelblick, tmp_path: Path) -> None:
    install_former(app, "my-ctx")
    assert client_of("my.ctx", app, tmp_path).leftovers(purge=False) == ()
    connect(client_of("my.ctx", app, tmp_path, 13195))
    assert ports(app) == {"my-ctx": "13194", "my.ctx": "13195"}


def test_only_our_configuration_is_touched(
    client: TunnelblickClient, app: FakeTunnelblick, progress: Recorder
) -> None:
    app.states = {"work": ["CONNECTED"], "a, b": ["EXITING"]}
    client.connect(progress, timeout_s=5)
    assert "work" in progress.warnings[-1]
    assert "a, b" not in progress.warnings[-1]
    client.disconnect(progress)
    assert {call[1] for call in app.commands("connect", "disconnect")} == {"macnet"}
    assert app.states["work"] == ["CONNECTED"]


def test_a_stopped_tunnelblick_is_started_and_may_take_its_time(
    client: TunnelblickClient, app: FakeTunnelblick
) -> None:
    connect(client)
    app.running, app.slow_start, app.states["macnet"] = False, 3, ["EXITING"]
    assert client.status().detail == "Tunnelblick does not run"
    assert connect(client) is True
    assert len(app.commands("launch")) == 1


def test_disconnect(client: TunnelblickClient, app: FakeTunnelblick, progress: Recorder) -> None:
    connect(client)
    assert client.disconnect(progress) is True
    assert client.disconnect(progress) is False
    assert client.kill_orphans(progress) is False


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
def test_leftovers_offer_the_bundle_that_uninstalls(
    client: TunnelblickClient,
    paths: TunnelPaths,
    purge: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert client.leftovers(purge=purge) == ()
    connect(client)
    lines = client.leftovers(purge=purge)
    bundle = Path(lines[0].partition("open '")[2].rstrip("'"))
    assert read_bundle(bundle).identifier == "io.github.macnet.macnet"
    assert bundle.is_relative_to(paths.root) is not purge
