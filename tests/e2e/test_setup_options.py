"""The options of `macnet setup`, each by what it does to traffic."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from macnet.clients.management import Management
from tests.e2e.steps import PROGRAM, Mac, wait_until
from tests.e2e.world import assert_traffic, downloaded, look, network, running
from tests.lab.process import PIPE


def test_dry_run_before_and_after(purged: Mac) -> None:
    before = look(purged)
    done = purged.macnet("setup", "--dry-run")
    assert look(purged) == before
    assert not purged.root.exists()
    for words in ("server", "create", "127.0.0.1:13194", "172.82.0.0/24", "Nothing was changed."):
        assert words in done.stdout
    purged.macnet("setup")
    before = look(purged)
    assert "There is nothing to do." in purged.macnet("setup", "--dry-run").stdout
    # Nor is an option remembered by it.
    other = purged.macnet("setup", "--dry-run", "--network", "app")
    assert "There is nothing to do." not in other.stdout
    assert look(purged) == before
    assert "Nothing had to change." in purged.macnet("setup").stdout


def reached(mac: Mac) -> set[str]:
    names = ("web", "app-web", "sealed-web", "noicc-web")
    return {name for name in names if mac.pings(mac.lab.sample.address(name), wait_s=1)}


def test_globs_choose_networks_and_are_remembered(clean: Mac) -> None:
    clean.macnet("setup", "--network", "b*", "--network", "app")
    assert reached(clean) == {"web", "app-web"}
    assert "Nothing had to change." in clean.macnet("setup").stdout
    clean.macnet("regenerate")
    assert reached(clean) == {"web", "app-web"}
    settings = {row["name"]: row for row in clean.json("status")["status"]["settings"]}
    assert settings["networks"] == {"name": "networks", "value": "b* app", "source": "last setup"}

    clean.macnet("setup", "--network", "*", "--exclude", "no*", "--exclude", "app")
    assert reached(clean) == {"web", "sealed-web"}
    rows = {row["network"]["name"]: row for row in clean.json("networks")["networks"]}
    assert rows["noicc"]["reason"]
    assert rows["sealed"]["subnets"]


def test_what_is_remembered_is_said_and_taken_back(clean: Mac) -> None:
    clean.macnet("setup", "--exclude", "noicc", "--exclude", "sealed", "--port", "14001")
    done = clean.macnet("setup", "--port", "14002")
    assert "remembered: --exclude noicc sealed\n" in done.stderr
    assert "the tunnel moves from port 14001 to 14002" in done.stderr
    done = clean.macnet("setup", "--unset", "exclude")
    assert "remembered: --port 14002\n" in done.stderr
    assert reached(clean) == {"web", "app-web", "sealed-web", "noicc-web"}
    done = clean.macnet("setup", "--reset")
    assert "remembered" not in done.stderr
    assert clean.json("status")["status"]["port"] == 13194
    assert "no setting 'prot'" in clean.fails(4, "setup", "--unset", "prot")


def test_a_filter_that_matches_nothing_changes_nothing(up: Mac) -> None:
    before = look(up)
    said = up.fails(4, "setup", "--network", "nosuch")
    assert "no network has such a name" in said
    assert "--network '*'" in said
    assert look(up) == before
    assert up.macnet("status").returncode == 0


def test_a_variable_at_setup_holds_for_regenerate_and_watch(clean: Mac) -> None:
    clean.macnet("setup", env={"MACNET_EXCLUDE": "noicc", "MACNET_TUN_MTU": "1500"})
    assert "noicc-web" not in reached(clean)
    assert not clean.json("regenerate")["regenerate"]["changed"]
    assert clean.macnet("watch", "--once").stdout == ""
    assert "noicc-web" not in reached(clean)
    rows = clean.json("status")["status"]["settings"]
    assert {"name": "tun_mtu", "value": "1500", "source": "MACNET_TUN_MTU"} in rows
    clean.macnet("setup")
    assert "noicc-web" in reached(clean)


def test_port_mtu_and_compression_are_remembered(clean: Mac) -> None:
    clean.macnet("setup", "--port", "14001", "--tun-mtu", "1500", "--comp-lzo", "off")
    clean.macnet("setup")
    clean.lab.docker("rm", "-f", "macnet-server")
    clean.macnet("setup")
    profile = (clean.root / "macnet.ovpn").read_text()
    assert "remote 127.0.0.1 14001" in profile
    assert "tun-mtu 1500\n" in profile
    assert "comp-lzo" not in profile
    assert clean.json("status")["status"]["port"] == 14001
    assert_traffic(clean)


@pytest.mark.parametrize("value", ["no", "yes", "adaptive", "off"])
def test_every_comp_lzo_carries_traffic(clean: Mac, value: str) -> None:
    clean.macnet("setup", "--comp-lzo", value)
    lines = (clean.root / "macnet.ovpn").read_text().splitlines()
    wanted = [] if value == "off" else [f"comp-lzo {value}"]
    assert [line for line in lines if line.startswith("comp-lzo")] == wanted
    assert_traffic(clean)
    assert downloaded(clean, 50)


def test_client_none_leaves_the_profile_to_the_user(clean: Mac, tmp_path: Path) -> None:
    profile = tmp_path / "mine.ovpn"
    done = clean.macnet("setup", "--client", "none")
    assert f"Give your VPN client this profile: {clean.root / 'macnet.ovpn'}" in done.stdout
    assert not (clean.root / "openvpn.pid").exists()
    address = clean.lab.sample.address("web")
    assert not clean.pings(address, wait_s=1)

    assert "written" in clean.macnet("profile", "--output", str(profile)).stdout
    assert stat.S_IMODE(profile.stat().st_mode) == 0o600
    assert profile.read_bytes() == (clean.root / "macnet.ovpn").read_bytes()
    assert "unchanged" in clean.macnet("profile", "--output", str(profile)).stdout
    with running(clean, ["openvpn", "--config", str(profile)]):
        wait_until(lambda: clean.pings(address, wait_s=0.3), 20, "an answer")
        assert_traffic(clean)
        # What the user's client holds is the tunnel, not somebody else's network.
        assert clean.macnet("status").returncode == 0
        assert "Nothing had to change." in clean.macnet("setup").stdout
        with network(clean.lab, "later") as later:
            clean.macnet("regenerate")
            wait_until(lambda: clean.pings(later, wait_s=0.3), 20, "the new network")


def test_two_setups_at_once(clean: Mac) -> None:
    both = [
        clean.lab.popen([PROGRAM, "setup"], env=clean.environment(), stdout=PIPE, stderr=PIPE)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in both]
    codes = [process.returncode for process in both]
    assert 0 in codes
    assert set(codes) <= {0, 8}, said
    for code, (_, errors) in zip(codes, said, strict=True):
        if code == 8:
            assert "another macnet (pid " in errors
            assert "is changing this tunnel" in errors
            assert "hint: " in errors
    assert_traffic(clean)
    assert "Nothing had to change." in clean.macnet("setup").stdout


def connection(mac: Mac) -> str:
    """OpenVPN's line about its connection, which differs after each connect (time, port)."""
    with Management(mac.root / "openvpn.sock") as management:
        return management.state().line


def test_routes_pools_reach_a_new_network_without_a_new_connection(clean: Mac) -> None:
    clean.macnet("setup", "--routes", "pools")
    assert_traffic(clean)
    pid, before = clean.client_pid(), connection(clean)
    with network(clean.lab, "pooled") as address:
        # It is routed already, and the server does not let it through yet.
        assert "dev tun" in clean.lab.run(["ip", "route", "get", address]).stdout
        assert not clean.pings(address, wait_s=1)
        done = clean.macnet("watch", "--once")
        assert "pooled" in done.stdout
        assert clean.pings(address)
        assert clean.client_pid() == pid
        assert connection(clean) == before


def test_json_of_each_command(clean: Mac, tmp_path: Path) -> None:
    for words, kind in (
        (["setup", "--dry-run"], "plan"),
        (["setup"], "setup"),
        (["status"], "status"),
        (["networks"], "networks"),
        (["check"], "check"),
        (["regenerate"], "regenerate"),
        (["disconnect"], "disconnect"),
        (["connect"], "connect"),
        (["profile"], "profile"),
        (["profile", "--output", str(tmp_path / "profile")], "profile"),
        (["down"], "down"),
    ):
        value = clean.json(*words)
        assert value["kind"] == kind, words
        assert set(value) == {"version", "kind", kind}, words
    assert clean.json("down")["down"] == {
        "names": False,
        "disconnected": False,
        "containers": [],
        "images": 0,
        "files": [],
        "notes": [],
    }
