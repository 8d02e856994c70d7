"""One client at a time: choosing another ends the first, and `down` ends whichever runs."""

from __future__ import annotations

import os
import signal

from tests.e2e.steps import Mac, wait_until
from tests.e2e.world import assert_traffic, running


def served(mac: Mac) -> int:
    """How many clients the server serves."""
    [row] = [r for r in mac.json("check", check=False)["check"]["results"] if is_count(r)]
    return int(row["evidence"].partition("serves ")[2].split()[0])


def is_count(row: dict[str, object]) -> bool:
    return row["id"] == "helper.server.answers"


def test_openvpn_then_none_then_openvpn(clean: Mac) -> None:
    clean.macnet("setup")
    [first] = clean.clients()
    clean.macnet("setup", "--client", "none")
    assert clean.clients() == []
    clean.macnet("setup", "--client", "openvpn")
    [second] = clean.clients()
    assert second != first
    assert served(clean) == 1
    assert_traffic(clean)
    assert "Nothing had to change." in clean.macnet("setup").stdout
    assert clean.clients() == [second]


def test_down_ends_a_client_that_is_not_chosen_any_more(clean: Mac) -> None:
    clean.macnet("setup")
    clean.config_file.write_text('client = "none"\n')
    assert clean.json("down", "--purge")["down"]["disconnected"]
    assert clean.clients() == []
    clean.config_file.unlink()


def test_status_is_up_with_a_client_of_ones_own(clean: Mac) -> None:
    clean.macnet("setup", "--client", "none")
    profile = str(clean.root / "macnet.ovpn")
    assert clean.macnet("status", check=False).returncode == 8
    with running(clean, ["openvpn", "--config", profile]):
        address = clean.lab.sample.address("web")
        wait_until(lambda: clean.pings(address, wait_s=0.3), 20, "an answer")
        now = clean.json("status")["status"]
        assert now["up"]
        assert now["client"]["interface"].startswith("tun")
        assert now["missing_routes"] == []
    wait_until(lambda: not clean.clients(), 20, "the end of openvpn")
    assert clean.macnet("status", check=False).returncode == 8


def test_down_removes_the_helper_although_the_client_hangs(clean: Mac) -> None:
    clean.macnet("setup")
    [pid] = clean.clients()
    os.kill(pid, signal.SIGSTOP)
    try:
        said = clean.fails(7, "down", "--purge")
        assert "disconnecting openvpn" in said
        assert clean.macnet_names() == []
    finally:
        os.kill(pid, signal.SIGCONT)
    # Its files are there, so that it can be ended now.
    assert clean.json("down", "--purge")["down"]["disconnected"]
    assert clean.clients() == []
    assert not clean.root.exists()


def test_connect_says_at_once_that_the_server_is_gone(up: Mac) -> None:
    up.macnet("disconnect")
    up.lab.docker("rm", "-f", "macnet-server")
    said = up.fails(8, "connect")
    assert "macnet-server is missing" in said
    assert "`macnet setup`" in said
