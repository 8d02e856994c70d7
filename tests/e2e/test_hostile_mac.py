"""Other programs' VPNs, proxies and bridges on the Mac, before macnet and while it watches.

None of them stops it: what collides is left out and named, and all the rest is reached.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from tests.e2e.steps import PROGRAM, Mac, wait_until
from tests.e2e.world import assert_traffic, make_network, network, remove_network
from tests.lab import Lab, hostile

Other = Callable[[Lab], AbstractContextManager[str]]

OTHERS: dict[str, Other] = {
    "tailscale": hostile.tailscale,
    "company 10/8": lambda lab: hostile.company_vpn(lab, "10.0.0.0/8"),
    "company 172.16/12": lambda lab: hostile.company_vpn(lab, "172.16.0.0/12"),
    "company 192.168/16": lambda lab: hostile.company_vpn(lab, "192.168.0.0/16"),
    "company, all private ranges": hostile.company_vpn,
    "proxy with the default route in pieces": hostile.tun_proxy,
    "bridge100": hostile.vm_bridge,
    "foreign openvpn": hostile.foreign_openvpn,
}
#: A network outside of all that the others take, and one inside of most of it.
OUTSIDE, INSIDE = "172.83.40.0/24", "10.5.0.0/24"
#: The default bridge, and a range for it inside of what companies take.
BRIDGE, ASKED = "172.17.0.0/16", "10.201.0.0/16"
#: A route that the range cannot be beside.
PART = "10.201.128.0/17"


def routes_of(mac: Mac, interface: str) -> set[str]:
    """What the Mac sends to one interface."""
    return set(mac.lab.run(["ip", "-4", "route", "show", "dev", interface]).stdout.splitlines())


def reaches_app(mac: Mac) -> None:
    """The sample's own subnet collides with nobody's."""
    assert mac.pings(mac.lab.sample.address("app-web"))
    assert mac.http(mac.lab.sample.address("app-web"))


def own_interface(mac: Mac) -> str:
    """The interface that macnet takes for its tunnel's."""
    return str(mac.json("status")["status"]["client"]["interface"])


#: Each alone collides with other networks; what watch does is the same as for all together.
ALONE = ("company 10/8", "company 192.168/16")


@pytest.mark.parametrize("name", OTHERS)
def test_setup_beside_another(clean: Mac, name: str) -> None:
    with OTHERS[name](clean.lab) as other:
        before = routes_of(clean, other)
        done = clean.macnet("setup")
        assert "The tunnel is up: " in done.stdout
        reaches_app(clean)
        assert own_interface(clean) != other
        assert routes_of(clean, other) == before
        assert clean.macnet("check").returncode == 0
        assert "Nothing had to change." in clean.macnet("setup").stdout
        assert "docker-mac-network" not in done.stderr


@contextmanager
def watched(mac: Mac, file: Path) -> Iterator[Callable[[], str]]:
    """A watch that follows the engine while the block runs; gives what it has said."""
    with file.open("w") as out:
        process = mac.lab.popen([PROGRAM, "watch"], env=mac.environment(), stdout=out, stderr=out)
    try:
        wait_until(lambda: "following the engine" in file.read_text(), 30, "watch")
        yield file.read_text
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert "Traceback" not in file.read_text()
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("name", [name for name in OTHERS if name not in ALONE])
def test_another_arrives_and_leaves_under_watch(up: Mac, tmp_path: Path, name: str) -> None:
    def routed(said: Callable[[], str], sign: str) -> bool:
        return f"{sign} {OUTSIDE}" in said()

    with watched(up, tmp_path / "said") as said:
        try:
            with OTHERS[name](up.lab):
                address = make_network(up.lab, "hostile", "--subnet", OUTSIDE)
                wait_until(partial(routed, said, "+"), 30, f"a route in {said()!r}")
                wait_until(partial(up.pings, address, wait_s=0.3), 30, "the new network")
                for words in (["regenerate"], ["setup"]):
                    up.macnet(*words)
                reaches_app(up)
        finally:
            remove_network(up.lab, "hostile")
        wait_until(partial(routed, said, "-"), 30, f"no route in {said()!r}")
        web = up.lab.sample.address("web")
        wait_until(partial(up.pings, web, wait_s=0.3), 30, "the default bridge")
        assert_traffic(up)
    assert "error" not in said()


@pytest.mark.parametrize("name", ["company 10/8", "company, all private ranges"])
def test_another_arrives_and_leaves_beside_a_remap(up: Mac, tmp_path: Path, name: str) -> None:
    """Its route is wider than the range that was asked for, so that nothing changes."""
    real = up.lab.sample.address("web")
    seen = str(IPAddress(IPNetwork(ASKED).first + int(IPAddress(real)) % 2**16))
    up.macnet("setup", "--remap", f"{BRIDGE}={ASKED}")
    try:
        with watched(up, tmp_path / "said") as said:
            with OTHERS[name](up.lab):
                address = make_network(up.lab, "hostile", "--subnet", OUTSIDE)
                wait_until(partial(up.pings, address, wait_s=0.3), 30, "the new network")
                for words in (["regenerate"], ["setup"], ["check"]):
                    up.macnet(*words)
                assert up.pings(seen) and up.http(seen)
                reaches_app(up)
            remove_network(up.lab, "hostile")
            wait_until(lambda: f"- {OUTSIDE}" in said(), 30, f"no route in {said()!r}")
            wait_until(partial(up.pings, seen, wait_s=0.3), 30, "the remapped bridge")
            assert up.http(seen)
        assert "error" not in said()
    finally:
        remove_network(up.lab, "hostile")
        up.macnet("setup", "--unset", "remap")


def test_a_route_to_the_range_of_a_remap_leaves_that_out(up: Mac) -> None:
    """It was asked for earlier, so that it stops nothing else; later it is reached again."""
    up.macnet("setup", "--remap", f"{BRIDGE}={ASKED}")
    try:
        with hostile.company_vpn(up.lab, PART):
            for words in (["regenerate"], ["setup"]):
                assert f"by its remap {ASKED}" in up.macnet(*words).stderr
            reaches_app(up)
        up.macnet("regenerate")
        assert up.json("status")["status"]["remaps"] == [{"subnet": BRIDGE, "seen": ASKED}]
    finally:
        up.macnet("setup", "--unset", "remap")


def test_a_vpn_around_the_subnet_that_was_asked_for_stops_nothing(
    clean: Mac, tmp_path: Path
) -> None:
    """It came later, and is wider: macnet's own rows go before its."""
    lab = clean.lab
    clean.macnet("setup", "--tunnel-subnet", "10.99.0.0/24")
    with watched(clean, tmp_path / "said") as said:
        try:
            with hostile.company_vpn(lab, "10.0.0.0/8") as vpn:
                lab.run(["ip", "addr", "add", "10.99.3.7/16", "dev", vpn])
                address = make_network(lab, "hostile", "--subnet", OUTSIDE)
                wait_until(partial(clean.pings, address, wait_s=0.3), 30, "the new network")
                for words in (["regenerate"], ["setup"]):
                    clean.macnet(*words)
                assert clean.pings(address)
                reaches_app(clean)
                assert clean.json("status")["status"]["tunnel_subnet"] == "10.99.0.0/24"
        finally:
            remove_network(lab, "hostile")
    assert "error" not in said()


def seen_address(mac: Mac, network_name: str, address: str) -> str:
    """Where the Mac sees a container of a remapped network."""
    rows = mac.json("networks")["networks"]
    [row] = [row for row in rows if row["network"]["name"] == network_name]
    [subnet] = [one for one in row["subnets"] if ":" not in one["cidr"]]
    place = int(IPAddress(address)) - IPNetwork(subnet["cidr"]).first
    return str(IPAddress(IPNetwork(subnet["seen"]).first + place))


def told_command(said: str) -> list[str]:
    """The words of the command of ours that a warning gives; all of them give the same."""
    [command] = set(re.findall(r"`macnet ([^`]+)`", said))
    return str(command).split()


@pytest.mark.parametrize(
    "name", ["company 10/8", "company, all private ranges"], ids=["10/8", "all"]
)
def test_a_collision_is_left_out_with_a_way_out_that_works(clean: Mac, name: str) -> None:
    lab = clean.lab
    with OTHERS[name](lab) as vpn, network(lab, "dev", "--subnet", INSIDE) as address:
        done = clean.macnet("setup")
        reaches_app(clean)
        assert f"dev ({INSIDE}) is not routed" in done.stderr
        assert vpn in done.stderr
        assert "None" not in done.stderr
        clean.macnet(*told_command(done.stderr), "--strict")
        seen = seen_address(clean, "dev", address)
        assert seen != address
        assert clean.pings(seen)
        assert clean.macnet("check").returncode == 0


def test_a_company_in_172_is_not_docker_mac_network(clean: Mac) -> None:
    """Docker's 172.17 to 172.31 collide with it, as with any VPN's ranges."""
    lab = clean.lab
    with hostile.company_vpn(lab, "172.16.0.0/12") as vpn:
        done = clean.macnet("setup")
        assert "docker-mac-network" not in done.stdout + done.stderr
        assert vpn in done.stderr
        assert "172.17.0.0/16" in done.stderr
        report = clean.macnet("check")
        assert "docker-mac-network" not in report.stdout
        clean.macnet("setup", "--remap", "auto", "--strict")
        seen = seen_address(clean, "bridge", lab.sample.address("web"))
        assert IPAddress(seen) not in IPNetwork("172.16.0.0/12")
        assert clean.http(seen)


def test_the_default_route_in_pieces_collides_with_nothing(clean: Mac) -> None:
    lab = clean.lab
    with hostile.tun_proxy(lab), network(lab, "dev", "--subnet", INSIDE) as address:
        done = clean.macnet("setup", "--strict")
        assert "is not routed" not in done.stderr
        assert clean.pings(address)
        assert_traffic(clean)
        results = clean.json("check")["check"]["results"]
        [routes] = [one for one in results if one["id"] == "host.routes"]
        assert "another VPN takes all other traffic" in routes["evidence"]


def test_dockers_192_168_64_beside_a_vm_bridge(clean: Mac) -> None:
    """An equal address is a collision; the Mac never holds the engine's own bridges."""
    lab = clean.lab
    subnet = "192.168.64.0/20"
    with network(lab, "shop", "--subnet", subnet) as address, hostile.vm_bridge(lab) as bridge:
        done = clean.macnet("setup")
        assert "No tunnel is needed" not in done.stdout
        assert f"shop ({subnet}) is not routed" in done.stderr
        assert bridge in done.stderr
        assert_traffic(clean)
        clean.macnet("setup", "--remap", "auto", "--strict")
        assert clean.pings(seen_address(clean, "shop", address))


def test_a_foreign_openvpn_while_ours_is_disconnected(clean: Mac) -> None:
    lab = clean.lab
    clean.macnet("setup")
    assert clean.json("status")["status"]["tunnel_subnet"] == "192.168.255.0/24"
    clean.macnet("disconnect")
    with hostile.foreign_openvpn(lab) as other:
        status = clean.json("status", check=False)["status"]
        assert status["up"] is False
        assert status["client"]["interface"] != other
        clean.macnet("setup")
        assert own_interface(clean) != other
        moved = IPNetwork(clean.json("status")["status"]["tunnel_subnet"])
        assert moved != IPNetwork("192.168.255.0/24")
        assert_traffic(clean)


def test_a_stranger_at_a_containers_address_is_no_proof(clean: Mac) -> None:
    """It answers by the default route: the tunnel is made, and the stranger named."""
    address = clean.lab.sample.address("app-web")
    with hostile.office(clean.lab, address):
        assert clean.pings(address)
        done = clean.macnet("setup")
        assert "The tunnel is up: " in done.stdout
        assert "No tunnel is needed" not in done.stdout
        assert address in done.stderr
        assert clean.http(address)
        # The command of the warning reaches both.
        clean.macnet(*told_command(done.stderr))
        assert clean.http(seen_address(clean, "app", address))
        assert clean.pings(address)
        assert not clean.http(address, wait_s=3)
