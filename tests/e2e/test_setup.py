"""`macnet setup` makes the tunnel, changes nothing where all is well, and mends the rest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.steps import Mac, wait_until
from tests.e2e.world import assert_traffic

CONTAINERS = ("macnet-server", "macnet-relay")


def test_a_second_setup_changes_nothing(purged: Mac) -> None:
    first = purged.macnet("setup")
    assert "The tunnel is up: " in first.stdout
    assert "Nothing had to change." not in first.stdout
    before = purged.containers(), (purged.root / "macnet.ovpn").read_bytes(), purged.client_pid()
    second = purged.macnet("setup")
    assert "Nothing had to change." in second.stdout
    after = purged.containers(), (purged.root / "macnet.ovpn").read_bytes(), purged.client_pid()
    assert after == before
    assert set(before[0]) == set(CONTAINERS)
    assert_traffic(purged)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("words", [("kill", "-s", "KILL"), ("rm", "-f")], ids=["kill", "rm"])
def test_setup_after_a_container_was_lost(up: Mac, words: tuple[str, ...], container: str) -> None:
    up.lab.docker(*words, container)
    # A kill is answered before the engine has noticed the end.
    wait_until(lambda: container not in up.containers(), 20, "the end")
    up.macnet("setup")
    assert set(up.containers()) == set(CONTAINERS)
    assert_traffic(up)
    assert "Nothing had to change." in up.macnet("setup").stdout


def scramble(path: Path) -> None:
    """Leave a file that can be read and makes no sense."""
    path.write_bytes(path.read_bytes()[:40] + b"\x00}garbage")


@pytest.mark.parametrize(
    ("name", "aside"),
    [
        ("tunnel.json", "tunnel.json.damaged-*"),
        ("pki/pki.json", "pki.damaged-*"),
        ("macnet.ovpn", None),
    ],
)
def test_setup_after_a_file_was_damaged(up: Mac, name: str, aside: str | None) -> None:
    for old in up.root.glob("*.damaged-*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    scramble(up.root / name)
    damaged = (up.root / name).read_bytes()
    up.macnet("setup")
    assert (up.root / name).read_bytes() != damaged
    assert_traffic(up)
    kept = list(up.root.glob("*.damaged-*"))
    assert [path.match(aside) for path in kept] == [True] if aside else kept == []
    if aside:
        found = kept[0] / "pki.json" if kept[0].is_dir() else kept[0]
        assert found.read_bytes() == damaged
    assert "Nothing had to change." in up.macnet("setup").stdout


def end_client(mac: Mac) -> None:
    mac.macnet("disconnect")


def leave_client(mac: Mac) -> None:
    """Wiping the files takes the socket of a running openvpn, too."""


@pytest.mark.parametrize("before", [end_client, leave_client], ids=["client-ended", "client-runs"])
def test_setup_after_the_files_were_wiped(up: Mac, before: Callable[[Mac], None]) -> None:
    before(up)
    shutil.rmtree(up.lab.paths.mac_home / "tunnels")
    up.macnet("setup")
    assert set(up.containers()) == set(CONTAINERS)
    assert_traffic(up)
    assert "Nothing had to change." in up.macnet("setup").stdout
