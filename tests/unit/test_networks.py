"""What engines report about networks, and which of them are routed, with why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork, IPSet

from macnet.models import Network, Port, Subnet
from macnet.networks import (
    Selected,
    find_free_subnet,
    gateway_of,
    merge_subnets,
    overlap,
    parse_networks,
    routed_subnets,
    seen_addresses,
    select_networks,
)

DATA = Path(__file__).parents[1] / "data" / "engine"
VERSIONS = ("28.5.2", "20.10.24")


def recorded(version: str) -> tuple[Network, ...]:
    networks, containers = (
        json.loads((DATA / f"{kind}-{version}.json").read_text())
        for kind in ("networks", "containers")
    )
    return parse_networks(networks, containers)


def select(
    networks: tuple[Network, ...],
    include: tuple[str, ...] = ("*",),
    exclude: tuple[str, ...] = (),
    **reserved: str,
) -> dict[str, Selected]:
    """`select_networks` by name; ``reserved`` maps owners to ranges."""
    ranges = [(IPNetwork(text), owner) for owner, text in reserved.items()]
    found = select_networks(networks, include=include, exclude=exclude, reserved=ranges)
    return {item.network.name: item for item in found}


def bridge(name: str, *subnets: str, driver: str = "bridge", scope: str = "local") -> Network:
    cidrs = tuple(Subnet(IPNetwork(text)) for text in subnets)
    return Network(f"id-{name}", name, driver, scope, internal=False, subnets=cidrs)


def parse(*ipam: object, **entry: object) -> Network:
    """One network with these entries of IPAM."""
    raw = {"Id": "1", "Name": "one", "Driver": "bridge", "IPAM": {"Config": [*ipam]}} | entry
    (network,) = parse_networks([raw], [])
    return network


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_answers(version: str) -> None:
    networks = recorded(version)
    by_name = {network.name: network for network in networks}
    assert list(by_name) == sorted(by_name)
    assert by_name["six"].subnets == (
        Subnet(IPNetwork("172.82.6.0/24")),
        Subnet(IPNetwork("fd00:82::/64")),
    )
    (endpoint,) = by_name["six"].endpoints
    assert endpoint.addresses == (IPAddress("172.82.6.2"), IPAddress("fd00:82::2"))
    assert endpoint.ports == (Port(80), Port(9000, "udp"), Port(9001))
    app = {point.container: point for point in by_name["app"].endpoints}
    assert list(app) == ["app-web", "redis", "two-homes"]
    assert app["redis"].addresses == (IPAddress("172.82.0.100"),)
    assert app["redis"].network == "app"
    assert [point.container for point in by_name["extra"].endpoints] == ["two-homes"]
    assert by_name["sealed"].internal
    assert by_name["alone"].isolated
    # The relay has no address of its own: it is no endpoint.
    assert by_name["host"].endpoints == ()
    assert by_name["host"].subnets == by_name["none"].subnets == ()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_routed_of_the_recorded_ones(version: str) -> None:
    selected = select(recorded(version))
    assert {name: item.reason for name, item in selected.items() if item.reason} == {
        "alone": "isolated: its bridge has no address on the engine",
        "host": "host network: its containers use the engine's own addresses",
        "ingress": "overlay: it spans engines and is not in this engine's own namespace",
        "none": "no network at all",
        "spread": "overlay: it spans engines and is not in this engine's own namespace",
    }
    routed = [name for name, item in selected.items() if item.routed]
    assert routed == ["app", "bridge", "docker_gwbridge", "extra", "noicc", "sealed", "six"]


def test_gateways() -> None:
    default = {n.name: n for n in recorded("20.10.24")}["bridge"]
    assert default.subnets[0].gateway is None
    assert gateway_of(default.subnets[0]) == IPAddress("172.17.0.1")
    new = {n.name: n for n in recorded("28.5.2")}["bridge"]
    assert gateway_of(new.subnets[0]) == IPAddress("172.17.0.1")
    (prefixed,) = parse({"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.254/16"}).subnets
    assert prefixed.gateway == IPAddress("172.18.0.254")
    assert gateway_of(Subnet(IPNetwork("fd00:82::/64"))) == IPAddress("fd00:82::1")


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"IPAM": None},
        {"IPAM": {}},
        {"IPAM": {"Config": None}},
        {"IPAM": {"Config": []}},
        {"IPAM": {"Config": [{}]}},
        {"IPAM": {"Config": [{"Subnet": ""}]}},
        {"IPAM": {"Config": [{"Subnet": "pool-of-a-plugin"}]}},
        {"IPAM": {"Config": [{"Subnet": "10.0.0.0/99"}]}},
    ],
)
def test_no_usable_ipam_is_no_subnet(entry: dict[str, object]) -> None:
    network = parse(**entry)
    assert network.subnets == ()
    assert select((network,))["one"].reason == "it has no subnet"


def test_subnets_are_ranges_even_if_written_as_an_address() -> None:
    assert parse({"Subnet": "10.1.2.3/24", "Gateway": "nonsense"}).subnets == (
        Subnet(IPNetwork("10.1.2.0/24")),
    )


def test_sparse_entries() -> None:
    (network,) = parse_networks(
        [{"Id": "1", "Name": "one", "Driver": "", "Scope": ""}],
        [
            {"Id": "a" * 64, "NetworkSettings": None},
            {"Id": "b" * 64, "NetworkSettings": {"Networks": None}},
            {
                "Id": "c" * 64,
                "Names": None,
                "Ports": None,
                "NetworkSettings": {
                    "Networks": {"one": {"NetworkID": "1", "IPAddress": "10.0.0.2"}}
                },
            },
        ],
    )
    assert (network.driver, network.scope) == ("null", "local")
    assert [(point.container, point.ports) for point in network.endpoints] == [("c" * 12, ())]


@pytest.mark.parametrize(
    ("options", "isolated"),
    [
        (None, False),
        ({}, False),
        ({"com.docker.network.bridge.gateway_mode_ipv4": "nat"}, False),
        ({"com.docker.network.bridge.gateway_mode_ipv4": "routed"}, False),
        ({"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}, True),
        ({"com.docker.network.bridge.gateway_mode_ipv6": "isolated"}, True),
    ],
)
def test_isolated(options: object, isolated: bool) -> None:
    assert parse(Options=options).isolated is isolated


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"driver": "macvlan"}, "macvlan"),
        ({"driver": "ipvlan"}, "ipvlan"),
        ({"driver": "weave:2.8"}, "driver 'weave:2.8' is a plugin's"),
        ({"scope": "swarm"}, "swarm-scoped"),
        ({"scope": "global"}, "global-scoped"),
        ({"driver": "overlay", "scope": "swarm"}, "overlay: it spans engines"),
    ],
)
def test_kinds_of_networks_that_are_not_routed(more: dict[str, str], reason: str) -> None:
    item = select((bridge("one", "10.1.0.0/16", **more),))["one"]
    assert reason in str(item.reason)
    assert (item.routed, item.subnets, item.left_out) == (False, (), ())


def test_globs_choose_by_name_and_case() -> None:
    networks = tuple(bridge(name, "10.1.0.0/16") for name in ("app_db", "app_web", "App", "bridge"))
    selected = select(networks, ("app*", "bridge"), ("*_db",))
    assert {name: item.reason for name, item in selected.items()} == {
        "app_db": "left out by --exclude",
        "app_web": None,
        "App": "not chosen by --network",
        "bridge": None,
    }


@pytest.mark.parametrize(
    ("subnet", "owner"),
    [
        ("127.0.0.0/16", "loopback"),
        ("169.254.0.0/24", "link-local"),
        ("224.0.1.0/24", "multicast"),
        ("::/0", "loopback"),
        ("fe80::/64", "link-local"),
        ("ff05::/16", "multicast"),
        ("0.0.0.0/0", "loopback"),
        ("192.168.1.128/25", "home"),
        ("192.168.0.0/16", "home"),
    ],
)
def test_reserved_ranges_are_never_routed(subnet: str, owner: str) -> None:
    item = select((bridge("one", subnet, "10.9.0.0/24"),), home="192.168.1.0/24")["one"]
    assert item.left_out == ((Subnet(IPNetwork(subnet)), owner),)
    assert [str(sub.cidr) for sub in item.subnets] == ["10.9.0.0/24"]
    assert item.reason is None
    alone = select((bridge("one", subnet),), home="192.168.1.0/24")["one"]
    assert alone.reason == f"{IPNetwork(subnet)} overlaps {owner}"
    assert not alone.routed


def test_several_reasons_are_all_told() -> None:
    network = bridge("one", "10.1.0.0/24", "10.2.0.0/24")
    item = select((network,), lan="10.1.0.0/16", vpn="10.2.0.0/16")["one"]
    assert item.reason == "10.1.0.0/24 overlaps lan; 10.2.0.0/24 overlaps vpn"


def test_addresses_as_this_host_sees_them() -> None:
    subnets = (Subnet(IPNetwork("172.82.6.0/24"), seen=IPNetwork("10.192.0.0/24")),)
    network = {n.name: n for n in recorded("28.5.2")}["six"]
    item = Selected(network, subnets)
    assert seen_addresses(item, network.endpoints[0]) == (IPAddress("10.192.0.2"),)
    assert routed_subnets([item]) == (IPNetwork("10.192.0.0/24"),)


# --- ranges -----------------------------------------------------------------------------------

ranges4 = st.builds(
    lambda value, bits: IPNetwork((value, bits), version=4).cidr,
    st.integers(0, 2**32 - 1),
    st.integers(1, 32),
)
#: Close together, so that they often touch.
near = st.builds(
    lambda value, bits: IPNetwork((0x0A000000 + value, bits), version=4).cidr,
    st.integers(0, 2**10),
    st.integers(22, 32),
)
ranges6 = st.builds(
    lambda value, bits: IPNetwork(((0xFD << 120) + value, bits), version=6).cidr,
    st.integers(0, 2**8),
    st.integers(118, 128),
)
lists = st.lists(near | ranges4 | ranges6, max_size=12)


@given(one=near | ranges6, other=near | ranges6)
def test_overlap_is_what_sets_say(one: IPNetwork, other: IPNetwork) -> None:
    assert (
        overlap(one, other) == overlap(other, one) == (not IPSet([one]).isdisjoint(IPSet([other])))
    )


@given(nets=lists)
def test_merging_covers_all_and_nothing_else_without_overlaps(nets: list[IPNetwork]) -> None:
    merged = merge_subnets(nets)
    assert set(merged) <= set(nets)
    assert IPSet(merged) == IPSet(nets)
    assert not any(overlap(a, b) for i, a in enumerate(merged) for b in merged[:i])
    assert list(merged) == sorted(merged, key=lambda net: (net.version, net.first))
    assert merge_subnets(reversed(nets)) == merged


@given(wanted=near | ranges4, taken=lists)
def test_a_free_subnet_is_free_and_as_large(wanted: IPNetwork, taken: list[IPNetwork]) -> None:
    found = find_free_subnet(wanted, taken)
    if found is None:
        assert any(overlap(wanted, net) for net in taken)
        return
    assert found.prefixlen == wanted.prefixlen
    assert found == found.cidr
    assert not any(overlap(found, net) for net in taken)
    if not any(overlap(wanted, net) for net in taken):
        assert found == wanted


def test_the_next_free_subnet_stays_in_its_private_block() -> None:
    wanted = IPNetwork("192.168.255.0/24")
    assert find_free_subnet(wanted, [IPNetwork("192.168.255.128/25")]) == IPNetwork(
        "192.168.254.0/24"
    )
    assert find_free_subnet(wanted, [IPNetwork("192.168.0.0/16")]) is None
    assert find_free_subnet(IPNetwork("8.8.8.0/24"), [IPNetwork("8.8.8.8/32")]) is None
