"""`macnet regenerate` follows Docker's networks and renews keys."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.steps import Mac, wait_until
from tests.e2e.world import (
    answers,
    assert_traffic,
    conversation,
    make_network,
    network,
    remove_network,
    running,
)


def test_nothing_changed(up: Mac) -> None:
    before = up.containers(), up.client_pid()
    done = up.macnet("regenerate")
    assert "No routes changed." in done.stdout
    assert up.json("regenerate")["regenerate"]["changed"] is False
    assert (up.containers(), up.client_pid()) == before


def test_before_any_setup(clean: Mac) -> None:
    said = clean.fails(8, "regenerate")
    assert "there is no tunnel yet" in said
    assert "macnet setup" in said
    assert clean.containers() == {}


def test_a_network_comes_and_goes_under_an_open_connection(up: Mac) -> None:
    lab = up.lab
    with conversation(up) as talk:
        assert answers(talk)
        try:
            address = make_network(lab, "coming", "--subnet", "172.83.7.0/24")
            assert not up.pings(address, wait_s=1)
            done = up.macnet("regenerate")
            assert "+ 172.83.7.0/24" in done.stdout.splitlines()
            assert up.pings("172.83.7.1")
            assert up.pings(address)
            assert up.tcp(address, 81) == "refused"
            assert answers(talk)
        finally:
            # Works while the tunnel is up: nothing of ours is on it.
            remove_network(lab, "coming")
        done = up.macnet("regenerate")
        assert "- 172.83.7.0/24" in done.stdout.splitlines()
        assert "172.83.7" not in lab.run(["ip", "route"]).stdout
        assert not up.pings(address, wait_s=1)
        assert answers(talk)
    assert "No routes changed." in up.macnet("regenerate").stdout


def test_a_network_moves_to_another_subnet(up: Mac) -> None:
    with network(up.lab, "moving", "--subnet", "172.83.8.0/24"):
        up.macnet("regenerate")
    with network(up.lab, "moving", "--subnet", "172.83.9.0/24") as address:
        done = up.macnet("regenerate")
        assert [line for line in done.stdout.splitlines() if line[0] in "+-"] == [
            "- 172.83.8.0/24",
            "+ 172.83.9.0/24",
        ]
        assert up.pings(address)
    up.macnet("regenerate")


def test_new_keys_work_and_the_old_ones_do_not(up: Mac, tmp_path: Path) -> None:
    old_profile = tmp_path / "old.ovpn"
    up.macnet("profile", "-o", str(old_profile))
    old = json.loads((up.root / "pki/pki.json").read_text())

    assert up.json("regenerate", "--keys")["regenerate"]["changed"] is True
    new = json.loads((up.root / "pki/pki.json").read_text())
    secrets = {key for key, value in old.items() if isinstance(value, str) and "--" in value}
    assert len(secrets) >= 5
    assert all(old[key] != new[key] for key in secrets)
    assert_traffic(up)
    assert "Nothing had to change." in up.macnet("setup").stdout

    up.macnet("disconnect")
    web = up.lab.sample.address("web")
    log = tmp_path / "old.log"
    argv = ["openvpn", "--config", str(old_profile), "--log", str(log), "--connect-retry", "1"]
    with running(up, argv):
        # The server does not even answer a client without its tls-crypt key.
        wait_until(lambda: log.exists() and "TCP connection est" in log.read_text(), 30, "a try")
        wait_until(lambda: log.read_text().count("SIGUSR1") > 0, 30, "a refusal")
        assert "Initialization Sequence Completed" not in log.read_text()
        assert not up.pings(web, wait_s=1)
    up.macnet("connect")
    assert_traffic(up)
