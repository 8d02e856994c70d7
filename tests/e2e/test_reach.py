"""Containers are reached by their IP, whatever kind of network they are on."""

from __future__ import annotations

import pytest

from tests.e2e.steps import Mac
from tests.lab import REDIS_ADDRESS, REDIS_PORT

#: A container on each kind of network: default bridge, user bridge, --internal, icc=false.
KINDS = ["web", "app-web", "sealed-web", "noicc-web"]


def test_without_a_tunnel_nothing_is_reached(clean: Mac) -> None:
    for name in KINDS:
        address = clean.lab.sample.address(name)
        assert not clean.pings(address, wait_s=1)
        assert clean.tcp(address, 80, wait_s=1) == "unreachable"


@pytest.mark.parametrize("name", KINDS)
def test_ping_tcp_and_udp_on_every_kind_of_network(up: Mac, name: str) -> None:
    address = up.lab.sample.address(name)
    assert up.pings(address)
    assert up.http(address)
    assert up.udp(address)


def test_the_address_pair_of_the_classic_recipe(up: Mac) -> None:
    assert up.pings(REDIS_ADDRESS)
    argv = ["redis-cli", "-h", REDIS_ADDRESS, "-p", str(REDIS_PORT), "ping"]
    assert up.lab.run(argv).stdout.strip() == "PONG"


def test_a_container_on_two_networks_has_two_addresses(up: Mac) -> None:
    addresses = {up.lab.sample.address("two-homes", network) for network in ("app", "extra")}
    assert len(addresses) == 2
    assert all(up.http(address) for address in addresses)


def test_ipv6(up: Mac) -> None:
    address = up.lab.sample.address6("six-web")
    assert up.pings(address)
    assert up.http(address)
    assert up.udp(address)
    assert up.tcp(address, 81) == "refused"


def test_a_closed_port_is_refused_at_once(up: Mac) -> None:
    for name in KINDS:
        assert up.tcp(up.lab.sample.address(name), 81, wait_s=1) == "refused"


def test_an_absent_address_is_not_there(up: Mac) -> None:
    assert not up.pings("172.82.0.250", wait_s=1)
    assert not up.udp("172.82.0.250")
    # The relay learns within 3 s that nobody has the address, and resets the connection.
    assert up.tcp("172.82.0.250", 80, wait_s=6) in {"refused", "unreachable"}


def test_a_stopped_container_is_not_there(up: Mac) -> None:
    """Its address may be free; only that macnet does not mind is asked here."""
    listed = up.json("networks")["networks"]
    names = {e["container"] for item in listed for e in item["network"]["endpoints"]}
    assert "web" in names
    assert "stopped" not in names


def test_a_large_transfer_arrives_whole(up: Mac) -> None:
    address = up.lab.sample.address("app-web")
    argv = ["curl", "-sS", "-m", "60", "-o", "/dev/null", "-w", "%{size_download}"]
    got = up.lab.run([*argv, "-r", "0-104857599", f"http://{address}/big"]).stdout
    assert int(got) >= 100 * 1024 * 1024
