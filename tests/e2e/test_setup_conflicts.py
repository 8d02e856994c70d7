"""`macnet setup` beside others who use the same port or the same addresses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from macnet.values import DEFAULT_PORT, DEFAULT_TUNNEL_SUBNET
from tests.e2e.steps import PROGRAM, Mac
from tests.e2e.world import assert_traffic, listener, look, network
from tests.lab.process import run

#: A network of the Mac's own, out of the sample's network `extra`, and who else is on it.
LAN, LAN_NEIGHBOUR = "172.18.200.1/24", "172.18.200.2"


def test_the_default_port_is_taken(clean: Mac) -> None:
    with listener(clean, DEFAULT_PORT) as other:
        done = clean.macnet("setup")
        assert f"port {DEFAULT_PORT} is in use by python" in done.stderr
        assert f"(pid {other.pid}); the tunnel uses {DEFAULT_PORT + 1}" in done.stderr
        assert clean.json("status")["status"]["port"] == DEFAULT_PORT + 1
        assert_traffic(clean)
        assert "Nothing had to change." in clean.macnet("setup").stdout
    # The tunnel does not move back: its profile is in use.
    assert "Nothing had to change." in clean.macnet("setup").stdout


def test_the_port_that_was_asked_for_is_taken(clean: Mac) -> None:
    with listener(clean, 14000) as other:
        before = look(clean)
        said = clean.fails(5, "setup", "--port", "14000")
        assert "port 14000 on 127.0.0.1 is in use by python" in said
        assert f"(pid {other.pid})" in said
        assert look(clean) == before
    clean.macnet("setup", "--port", "14000")
    assert clean.json("status")["status"]["port"] == 14000
    assert_traffic(clean)


def test_a_taken_port_leaves_the_running_tunnel_alone(up: Mac) -> None:
    before = up.containers(), up.client_pid()
    with listener(up, 14000):
        up.fails(5, "setup", "--port", "14000")
    assert (up.containers(), up.client_pid()) == before
    assert_traffic(up)


@pytest.mark.parametrize("already_up", [False, True], ids=["before", "while-up"])
def test_a_network_takes_the_default_tunnel_subnet(clean: Mac, already_up: bool) -> None:
    if already_up:
        clean.macnet("setup")
        assert clean.json("status")["status"]["tunnel_subnet"] == str(DEFAULT_TUNNEL_SUBNET)
    with network(clean.lab, "greedy", "--subnet", str(DEFAULT_TUNNEL_SUBNET)) as address:
        clean.macnet("setup")
        moved = IPNetwork(clean.json("status")["status"]["tunnel_subnet"])
        assert moved not in DEFAULT_TUNNEL_SUBNET
        assert clean.pings(address)
        assert_traffic(clean)


def test_the_tunnel_subnet_that_was_asked_for_is_taken(clean: Mac) -> None:
    subnet = "10.210.0.0/24"
    with network(clean.lab, "greedy", "--subnet", subnet):
        before = look(clean)
        said = clean.fails(5, "setup", "--tunnel-subnet", subnet)
        assert f"{subnet} overlaps Docker's network greedy" in said
        assert look(clean) == before
    clean.macnet("setup", "--tunnel-subnet", subnet)
    assert clean.json("status")["status"]["tunnel_subnet"] == subnet
    assert_traffic(clean)


@pytest.fixture
def lan(clean: Mac) -> Iterator[Mac]:
    """A Mac whose own network overlaps Docker's network `extra`."""
    lab = clean.lab
    netns = f"{lab.name}-lan"
    run(["ip", "netns", "add", netns])
    try:
        link = ["ip", "link", "add", "lan0", "netns", lab.paths.mac_netns]
        run([*link, "type", "veth", "peer", "name", "lan1", "netns", netns])
        lab.run(["ip", "addr", "add", LAN, "dev", "lan0"])
        lab.run(["ip", "link", "set", "lan0", "up"])
        run(["ip", "-n", netns, "addr", "add", f"{LAN_NEIGHBOUR}/24", "dev", "lan1"])
        run(["ip", "-n", netns, "link", "set", "lan1", "up"])
        assert clean.pings(LAN_NEIGHBOUR)
        yield clean
    finally:
        lab.run(["ip", "link", "del", "lan0"], check=False)
        run(["ip", "netns", "del", netns])


def test_a_network_that_overlaps_the_lan_is_left_out_and_named(lan: Mac) -> None:
    done = lan.macnet("setup")
    assert "extra (172.18.0.0/16) is not routed: it overlaps the network of lan0" in done.stderr
    assert lan.pings(LAN_NEIGHBOUR)
    assert not lan.pings(lan.lab.sample.address("two-homes", "extra"), wait_s=1)
    assert_traffic(lan)


def test_strict_refuses_an_overlap(lan: Mac) -> None:
    before = look(lan)
    said = lan.fails(5, "setup", "--strict")
    assert "not routed: 172.18.0.0/16" in said
    assert "the network of lan0" in said
    assert look(lan) == before


def test_remap_reaches_both(lan: Mac) -> None:
    lan.macnet("setup", "--remap", "auto", "--strict")
    rows = lan.json("networks")["networks"]
    [row] = [row for row in rows if row["network"]["name"] == "extra"]
    [subnet] = row["subnets"]
    real = IPAddress(lan.lab.sample.address("two-homes", "extra"))
    seen = IPAddress(
        IPNetwork(subnet["seen"]).first + (int(real) - IPNetwork(subnet["cidr"]).first), 4
    )
    assert seen != real
    assert lan.pings(str(seen))
    assert lan.http(str(seen))
    assert lan.pings(LAN_NEIGHBOUR)
    assert_traffic(lan)
    assert lan.macnet("check").returncode == 0
    assert "Nothing had to change." in lan.macnet("setup").stdout


def test_a_remap_is_kept_with_the_tunnel(lan: Mac) -> None:
    """config.toml stays the user's; a `remap` in it counts, and so does what setup chose."""
    file = lan.config_file
    mine = "# mine\nclient = 'auto'  # as ever\n"
    file.write_text(mine)

    def kept() -> list[str]:
        found: list[str] = json.loads((lan.root / "tunnel.json").read_text())["remaps"]
        return found

    def pings(subnet: str) -> bool:
        place = int(IPAddress(lan.lab.sample.address("two-homes", "extra"))) & 0xFFFF
        return lan.pings(str(IPAddress(IPNetwork(subnet).first + place)))

    lan.macnet("setup", "--remap", "auto")
    assert kept() == ["172.18.0.0/16=10.192.0.0/16"]
    # It outlives the helper, and nothing has to be asked for again.
    lan.macnet("down")
    done = lan.macnet("setup")
    assert "remembered: --remap auto" in done.stderr
    assert pings("10.192.0.0/16")
    # What fails is not kept.
    lan.fails(5, "setup", "--remap", "172.18.0.0/16=172.17.0.0/16")
    assert kept() == ["172.18.0.0/16=10.192.0.0/16"]
    # The user chooses the range; the file counts from the next setup on.
    lan.macnet("setup", "--unset", "remap")
    assert kept() == []
    file.write_text('remap = ["172.18.0.0/16=10.201.0.0/16"]\n')
    lan.macnet("regenerate")
    assert not pings("10.201.0.0/16")
    lan.macnet("setup")
    assert pings("10.201.0.0/16")
    [told] = lan.json("status")["status"]["remaps"]
    assert told == {"subnet": "172.18.0.0/16", "seen": "10.201.0.0/16"}
    # An option takes it back.
    done = lan.macnet("setup", "--remap", "")
    assert "extra (172.18.0.0/16) is not routed" in done.stderr
    file.write_text(mine)
    lan.macnet("down", "--purge")
    assert file.read_text() == mine
    file.unlink()


def test_ranges_that_an_older_macnet_chose_are_taken_over_once(lan: Mac) -> None:
    text = '[tunnels.macnet]\nremap = ["auto"]\nremap_auto = ["172.18.0.0/16=10.205.0.0/16"]\n'
    lan.config_file.write_text(text)
    lan.macnet("setup")
    remaps = json.loads((lan.root / "tunnel.json").read_text())["remaps"]
    assert remaps == ["172.18.0.0/16=10.205.0.0/16"]
    lan.macnet("down", "--purge")
    assert lan.config_file.read_text() == text
    lan.config_file.unlink()


def test_no_tunnel_where_containers_answer_already(clean: Mac, tmp_path: Path) -> None:
    """In the engine's own namespace, as on Linux."""
    lab = clean.lab
    before = look(clean)
    variables = {
        **clean.environment(),
        "DOCKER_HOST": lab.engine.docker_host,
        "MACNET_HOME": str(tmp_path),
    }
    words = [f"{name}={value}" for name, value in variables.items()]
    done = lab.vm_run(["env", *words, PROGRAM, "setup"])
    assert "No tunnel is needed: " in done.stdout
    assert "Nothing was created" in done.stdout
    assert look(clean) == before
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_another_tunnel_subnet_while_the_tunnel_is_up(up: Mac) -> None:
    up.macnet("setup", "--tunnel-subnet", "10.211.0.0/24")
    assert up.json("status")["status"]["tunnel_subnet"] == "10.211.0.0/24"
    assert_traffic(up)
    assert "Nothing had to change." in up.macnet("setup").stdout
