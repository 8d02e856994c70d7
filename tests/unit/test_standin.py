"""The stand-in Tunnelblick does what Tunnelblick's source does, pleasant or not."""

from __future__ import annotations

import json
import plistlib
import subprocess  # noqa: TID251 - a process that stands for openvpn
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from macnet.clients.tunnelblick_bundle import info_plist, uninstall_plist
from tests.lab.process import ProcessId
from tests.lab.standin import Behaviour
from tests.lab.standin.application import AppleError, Application
from tests.lab.standin.behaviour import Places

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the lab is for Linux")

PROFILE = "client\ndev tun\nremote 127.0.0.1 13194\n"


@pytest.fixture
def app(tmp_path: Path) -> Application:
    """Tunnelblick runs, with the configuration macnet in it."""
    places = Places(tmp_path / "standin")
    places.root.mkdir()
    places.write_behaviour(Behaviour())
    app = Application(places, tmp_path / "home")
    assert app.install(str(bundle(tmp_path / "first"))) == "true"
    return app


def bundle(folder: Path, profile: str | None = PROFILE, *, uninstalls: bool = False) -> Path:
    """A bundle that is imported, or one that uninstalls."""
    contents = folder / "macnet.tblk/Contents"
    (contents / "Resources").mkdir(parents=True)
    plist = uninstall_plist("macnet") if uninstalls else info_plist("macnet")
    (contents / "Info.plist").write_bytes(plistlib.dumps(plist))
    if profile is not None:
        (contents / "Resources/config.ovpn").write_text(profile)
    return contents.parent


@pytest.fixture
def connected(app: Application) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the place of the openvpn of a connected configuration."""
    with subprocess.Popen(["sleep", "60"]) as child:
        known = ProcessId.of(child.pid)
        assert known is not None
        management = str(app.places.root / "none.sock")
        app.state["connections"]["macnet"] = {
            "pid": known.pid,
            "start": known.start,
            "management": management,
        }
        yield child
        child.kill()


def copied(app: Application) -> str:
    return (app.private / "macnet.tblk/Contents/Resources/config.ovpn").read_text()


@linux_only
def test_replacing_what_is_connected_ends_the_application_and_every_vpn(
    app: Application, connected: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    app.behaviour = Behaviour(others={"work": "CONNECTED"})
    assert "CONNECTED\twork" in app.configurations()
    with pytest.raises(AppleError) as caught:
        app.install(str(bundle(tmp_path / "new", PROFILE + "verb 3\n")))
    assert caught.value.number == -609
    assert connected.wait(5) != 0
    assert app.configurations() == "not running"
    assert copied(app) == PROFILE
    app.launch()
    assert app.configurations().splitlines()[1:] == ["EXITING\tmacnet", "EXITING\twork"]
    assert json.loads(app.places.state.read_text())["running"] is True


@linux_only
def test_a_disconnected_one_is_replaced(
    app: Application, connected: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert app.disconnect("macnet") == "true"
    connected.wait(5)
    app._wait_gone("macnet")
    assert app.install(str(bundle(tmp_path / "new", PROFILE + "verb 3\n"))) == "true"
    assert copied(app) == PROFILE + "verb 3\n"
    assert app.configurations() == "running\nEXITING\tmacnet"


def test_a_bundle_that_uninstalls_needs_a_configuration(app: Application, tmp_path: Path) -> None:
    app.open(str(bundle(tmp_path / "without", None, uninstalls=True)))
    assert "no OpenVPN configurations to install" in app.places.log.read_text()
    assert copied(app) == PROFILE
    app.open(str(bundle(tmp_path / "with", PROFILE, uninstalls=True)))
    assert list(app.private.iterdir()) == []
    assert list(app.places.shadow.iterdir()) == []


def test_what_uninstalls_finds_a_renamed_configuration(app: Application, tmp_path: Path) -> None:
    for folder in (app.private, app.places.shadow):
        (folder / "macnet.tblk").rename(folder / "docker.tblk")
    app.open(str(bundle(tmp_path / "with", PROFILE, uninstalls=True)))
    assert list(app.private.iterdir()) == []


def test_without_a_network_a_connection_waits_for_ever(app: Application) -> None:
    app.behaviour = Behaviour(online=False)
    assert app.connect("macnet") == "true"
    assert app.state_of("macnet") == "NETWORK_ACCESS"
    assert app.state_of("macnet") == "NETWORK_ACCESS"
    assert app.disconnect("macnet") == "true"
    assert app.state_of("macnet") == "EXITING"
