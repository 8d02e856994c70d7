"""`macnet down` leaves nothing of macnet, and everything else as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.e2e.steps import Mac
from tests.e2e.world import assert_traffic, look, make_network, remove_network
from tests.lab.process import ProcessId


def has_nothing_of_ours(mac: Mac) -> bool:
    return not mac.lab.docker("ps", "-aq", "--filter", "label=io.macnet.role").split()


def test_down_keeps_files_and_image_for_the_next_setup(purged: Mac) -> None:
    before = look(purged)
    purged.macnet("setup")
    made = look(purged)
    assert made.images > before.images
    assert made.addresses > before.addresses
    assert made.routes > before.routes
    client = ProcessId.of(purged.client_pid())
    assert client is not None

    done = purged.macnet("down")
    for words in ("disconnected", "removed macnet-server", "removed macnet-relay", "--purge"):
        assert words in done.stdout
    after = look(purged)
    assert after.containers == before.containers
    assert after.networks == before.networks
    assert after.addresses == before.addresses
    assert after.routes == before.routes
    assert after.images == made.images
    assert not client.alive()
    assert after.files["tunnels/macnet/macnet.ovpn"] == made.files["tunnels/macnet/macnet.ovpn"]

    purged.macnet("setup")
    assert (purged.root / "macnet.ovpn").read_bytes() == made.files["tunnels/macnet/macnet.ovpn"]
    assert_traffic(purged)


def test_purge_leaves_nothing(purged: Mac, tmp_path: Path) -> None:
    before = look(purged)
    purged.macnet("setup")
    client = ProcessId.of(purged.client_pid())
    assert client is not None
    # An image of an older macnet goes as well.
    image = purged.lab.docker("inspect", "-f", "{{.Config.Image}}", "macnet-server").strip()
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nLABEL older=yes\n")
    purged.lab.docker("build", "-t", "macnet-helper:older", str(tmp_path))
    purged.macnet("down", "--purge")
    assert look(purged) == before
    assert not client.alive()
    assert not purged.root.exists()


def test_down_twice(up: Mac) -> None:
    up.macnet("down")
    assert "There was nothing to remove." in up.macnet("down").stdout
    up.macnet("down", "--purge")
    assert "There was nothing to remove." in up.macnet("down").stdout


def test_what_others_made_is_left_alone(clean: Mac) -> None:
    lab = clean.lab
    clean.macnet("setup")
    try:
        # Names like ours, and a network that came while the tunnel was up.
        make_network(lab, "macnet-other")
        lab.docker("network", "create", "macnet")
        lab.docker("tag", "macnet-lab/base:forky", "macnet-helper-not:1")
        others = look(clean)
        own = set(lab.docker("ps", "-aq", "--no-trunc", "--filter", "label=io.macnet.role").split())
        clean.macnet("down", "--purge")
        after = look(clean)
        assert after.containers == others.containers - own
        assert after.networks == others.networks
        assert "macnet-helper-not:1" in lab.docker("images", "--format", "{{.Repository}}:{{.Tag}}")
        assert lab.sample.running()
    finally:
        remove_network(lab, "macnet-other")
        lab.docker("network", "rm", "macnet")
        lab.docker("rmi", "macnet-helper-not:1")


def test_down_after_the_files_were_wiped(clean: Mac) -> None:
    before = look(clean)
    clean.macnet("setup")
    client = ProcessId.of(clean.client_pid())
    assert client is not None
    shutil.rmtree(clean.lab.paths.mac_home / "tunnels")
    done = clean.macnet("down", "--purge")
    assert "removed macnet-server" in done.stdout
    assert "disconnected" in done.stdout
    assert not client.alive()
    assert look(clean) == before


def test_down_while_the_engine_is_away(up: Mac) -> None:
    lab = up.lab
    client = ProcessId.of(up.client_pid())
    assert client is not None
    lab.engine.stop()
    try:
        said = up.fails(3, "down")
        assert str(lab.engine.socket) in said
        assert not client.alive()
    finally:
        lab.engine.start()
        lab.sample.wait_ready()
    assert not has_nothing_of_ours(up)
    done = up.macnet("down")
    assert "removed macnet-server" in done.stdout
    assert has_nothing_of_ours(up)
    up.macnet("setup")
    assert_traffic(up)
