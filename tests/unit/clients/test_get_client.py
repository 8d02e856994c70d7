from __future__ import annotations

from pathlib import Path

import pytest

from macnet.clients import Client, ClientState, get_client
from macnet.clients.tunnelblick_bundle import TunnelblickPlaces
from macnet.errors import BadValue
from macnet.paths import TunnelPaths

from .fakes import FakeRunner, Recorder


def choose(choice: str, tmp_path: Path, system: str = "linux") -> tuple[Client, str]:
    return get_client(
        choice,
        paths=TunnelPaths(tmp_path),
        runner=FakeRunner(),
        system=system,
        root=False,
        user="ann",
        places=TunnelblickPlaces(tmp_path / "private", app=tmp_path / "Tunnelblick.app"),
    )


@pytest.mark.parametrize("system", ["linux", "macos"])
def test_auto_without_tunnelblick(system: str, tmp_path: Path) -> None:
    client, why = choose("auto", tmp_path, system)
    assert (client.name, why) == ("openvpn", "the default")


@pytest.mark.parametrize(("system", "name"), [("macos", "tunnelblick"), ("linux", "openvpn")])
def test_auto_with_tunnelblick(system: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "Tunnelblick.app").mkdir()
    assert choose("auto", tmp_path, system)[0].name == name


def test_named_choices(tmp_path: Path) -> None:
    assert choose("openvpn", tmp_path)[0].name == "openvpn"
    assert choose("none", tmp_path)[0].name == "none"
    assert choose("tunnelblick", tmp_path)[0].name == "tunnelblick"
    with pytest.raises(BadValue, match="viscosity"):
        choose("viscosity", tmp_path)


def test_manual_client_tells_and_changes_nothing(tmp_path: Path) -> None:
    client, _ = choose("none", tmp_path)
    progress = Recorder()
    profile = tmp_path / "macnet.ovpn"
    client.require()
    assert client.version() is None
    assert client.connect(progress, timeout_s=1) is False
    assert str(profile) in progress.warnings[0]
    assert client.disconnect(progress) is False
    assert client.kill_orphans(progress) is False
    assert client.leftovers(purge=True) == ()
    assert client.status().state is ClientState.UNKNOWN
    assert list(tmp_path.iterdir()) == []
