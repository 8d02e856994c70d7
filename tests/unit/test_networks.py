"""What engines report about networks, and which of them are routed, with why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork, IPSet

from macnet.models import Further, Network, Port, ReachKind, Subnet
from macnet.networks import (
    PRIVATE_BLOCKS,
    Selected,
    by_number,
    find_free_subnet,
    gateway_of,
    merge_subnets,
    overlap,
    parse_networks,
    routed_subnets,
    seen_addresses,
    select_networks,
    with_further,
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
        Subnet(IPNetwork("172.82.6.0/24"), IPAddress("172.82.6.1")),
        Subnet(IPNetwork("fd00:82::/64"), IPAddress("fd00:82::1")),
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
        "ingress": "the swarm's routing mesh: what it carries are published ports",
        "none": "no network at all",
        "spread": "overlay: it spans engines and is not in this engine's own namespace; "
        "`macnet setup --also overlays` reaches it",
    }
    routed = [name for name, item in selected.items() if item.routed]
    assert routed == ["app", "bridge", "docker_gwbridge", "extra", "noicc", "sealed", "six"]


def test_the_routing_mesh_is_known_under_another_name() -> None:
    mesh = parse({"Subnet": "10.11.0.0/16"}, Driver="overlay", Scope="swarm", Ingress=True)
    assert mesh.ingress
    assert (select((mesh,))["one"].reason or "").startswith("the swarm's routing mesh")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_default_bridge_has_the_first_address(version: str) -> None:
    default = {n.name: n for n in recorded(version)}["bridge"]
    assert gateway_of(default.subnets[0]) == IPAddress("172.17.0.1")
    assert default.bridge == "docker0"


@pytest.mark.parametrize(
    ("ipam", "told", "bridge_address"),
    [
        ({"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.254/16"}, None, "172.18.0.254"),
        # What an endpoint tells counts, but not more than what IPAM says.
        ({"Subnet": "172.18.0.0/16"}, "172.18.5.0", "172.18.5.0"),
        ({"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.254"}, "172.18.5.0", "172.18.0.254"),
        ({"Subnet": "172.18.0.0/16"}, "10.0.0.1", "172.18.0.1"),
        ({"Subnet": "172.18.0.0/16", "IPRange": "172.18.5.0/24"}, None, None),
        ({"Subnet": "172.18.0.0/16", "IPRange": "172.18.5.0/24"}, "172.18.5.0", "172.18.5.0"),
        ({"Subnet": "10.200.1.0/31"}, None, None),
        ({"Subnet": "10.200.1.0/31"}, "10.200.1.0", "10.200.1.0"),
        ({"Subnet": "10.3.0.0/24", "AuxiliaryAddresses": {"router": "10.3.0.1"}}, None, None),
        # The containers' gateway is then somebody else than the bridge.
        (
            {
                "Subnet": "192.168.50.0/24",
                "AuxiliaryAddresses": {"DefaultGatewayIPv4": "192.168.50.1"},
            },
            "192.168.50.1",
            None,
        ),
        ({"Subnet": "fd00:82::/64"}, None, "fd00:82::1"),
    ],
)
def test_the_bridges_address_is_what_the_engine_tells_or_unknown(
    ipam: dict[str, object], told: str | None, bridge_address: str | None
) -> None:
    entry = {"Id": "1", "Name": "one", "Driver": "bridge", "IPAM": {"Config": [ipam]}}
    settings = {"NetworkID": "1", "IPAddress": "10.9.9.9", "Gateway": told or ""}
    container = {"Id": "c" * 64, "NetworkSettings": {"Networks": {"one": settings}}}
    (network,) = parse_networks([entry], [container])
    found = gateway_of(network.subnets[0])
    assert (found and str(found)) == bridge_address


def test_an_ipam_plugin_gives_addresses_of_its_own_choice() -> None:
    entry = {"Driver": "somebodys", "Config": [{"Subnet": "10.4.0.0/24"}]}
    assert gateway_of(parse(IPAM=entry).subnets[0]) is None


def podman(**endpoints: dict[str, str]) -> dict[str, list[str]]:
    """The containers by network, as Podman lists them: its networks by name, not by id."""
    networks = [
        {
            "Id": "2f259bab93aa",
            "Name": "bridge",
            "Driver": "bridge",
            "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.88.0.0/16"}]},
        },
        {
            "Id": "675bea81a6d4",
            "Name": "tmp_default",
            "Driver": "bridge",
            "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.89.0.0/24"}]},
        },
    ]
    containers = [
        {
            "Id": name * 64,
            "Names": [f"/{name}"],
            "NetworkSettings": {"Networks": {settings["NetworkID"]: settings}},
        }
        for name, settings in endpoints.items()
    ]
    found = parse_networks(networks, containers)
    assert all(e.network == n.name for n in found for e in n.endpoints)
    return {n.name: [e.container for e in n.endpoints] for n in found}


def test_an_endpoint_belongs_to_the_network_of_its_id_its_name_or_its_address() -> None:
    assert podman(
        a={"NetworkID": "675bea81a6d4", "IPAddress": "10.89.0.2"},
        b={"NetworkID": "tmp_default", "IPAddress": "10.89.0.3"},
        c={"NetworkID": "podman", "IPAddress": "10.88.0.5"},
        d={"NetworkID": "gone", "IPAddress": "172.30.0.2"},
    ) == {"bridge": ["c"], "tmp_default": ["a", "b"]}


def test_the_recorded_answers_of_podman() -> None:
    """Its default network is ``bridge`` in one list and ``podman`` in the other."""
    by_name = {network.name: network for network in recorded("podman-4.3.1")}
    assert {name: [e.container for e in n.endpoints] for name, n in by_name.items()} == {
        "bridge": ["plain"],
        "tmp_default": ["web"],
    }
    (web,) = by_name["tmp_default"].endpoints
    assert (web.network, web.addresses) == ("tmp_default", (IPAddress("10.89.0.3"),))
    assert gateway_of(by_name["tmp_default"].subnets[0]) == IPAddress("10.89.0.1")
    assert all(item.routed for item in select(tuple(by_name.values())).values())


def test_two_networks_of_one_subnet_are_not_guessed_at() -> None:
    networks = [
        {"Id": name, "Name": name, "IPAM": {"Config": [{"Subnet": "10.1.0.0/24"}]}}
        for name in ("one", "two")
    ]
    settings = {"NetworkID": "three", "IPAddress": "10.1.0.2"}
    container = {"Id": "c" * 64, "NetworkSettings": {"Networks": {"three": settings}}}
    assert [n.endpoints for n in parse_networks(networks, [container])] == [(), ()]


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
        # An IPAM driver that gives no addresses.
        {"IPAM": {"Driver": "null", "Config": [{"Subnet": "0.0.0.0/0"}]}},
        {"IPAM": {"Driver": "null", "Config": [{"Subnet": "::/0"}]}},
    ],
)
def test_no_usable_ipam_is_no_subnet(entry: dict[str, object]) -> None:
    network = parse(**entry)
    assert network.subnets == ()
    assert select((network,))["one"].reason == "it has no subnet"


def test_subnets_are_ranges_even_if_written_as_an_address() -> None:
    (subnet,) = parse({"Subnet": "10.1.2.3/24", "Gateway": "nonsense"}).subnets
    assert subnet.cidr == IPNetwork("10.1.2.0/24")
    for written, meant in (
        ("172.17.12.225/28", "172.17.12.224/28"),
        ("10.100.50.0/22", "10.100.48.0/22"),
        ("2001:DB8::1:1:0/112", "2001:db8::1:1:0/112"),
    ):
        (subnet,) = parse({"Subnet": written}).subnets
        assert str(subnet.cidr) == meant


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
        ({"com.docker.network.bridge.gateway_mode_ipv6": "isolated"}, False),
        ({"com.docker.network.bridge.inhibit_ipv4": "true"}, True),
        ({"com.docker.network.bridge.inhibit_ipv4": "false"}, False),
    ],
)
@pytest.mark.parametrize("subnet", ["10.1.0.0/24", "192.168.0.0/31"])
def test_a_bridge_without_an_address_is_not_routed(
    options: object, isolated: bool, subnet: str
) -> None:
    network = parse({"Subnet": subnet}, Options=options)
    assert network.isolated is isolated
    item = select((network,))["one"]
    assert item.routed is not isolated
    if isolated:
        assert item.reason == "isolated: its bridge has no address on the engine"


@pytest.mark.parametrize(("isolated", "routed"), [(4, "fd00:1::/64"), (6, "10.1.0.0/24")])
def test_one_isolated_family_leaves_the_other_routed(isolated: int, routed: str) -> None:
    options = {f"com.docker.network.bridge.gateway_mode_ipv{isolated}": "isolated"}
    network = parse({"Subnet": "10.1.0.0/24"}, {"Subnet": "fd00:1::/64"}, Options=options)
    item = select((network,))["one"]
    assert [str(subnet.cidr) for subnet in item.subnets] == [routed]
    assert (item.reason, item.left_out, network.isolated) == (None, (), False)


def test_a_network_that_only_holds_configuration_says_so() -> None:
    network = parse({"Subnet": "192.168.0.0/16"}, Driver="null", ConfigOnly=True)
    assert "configuration only" in str(select((network,))["one"].reason)


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


@given(names=st.lists(st.text(alphabet="ab-019٣²", max_size=6)))
def test_any_names_can_be_sorted(names: list[str]) -> None:
    """Digits of other scripts are text."""
    assert sorted(sorted(names, key=by_number)) == sorted(names)


def test_names_are_sorted_by_their_numbers() -> None:
    names = ["shop", "shop2", "shop10", "shop-1", "shop-2", "shop-2-web-10", "shop-10", "web"]
    assert sorted(sorted(names), key=by_number) == names


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
        ("0.0.0.0/16", "this host's own range"),
        ("240.1.0.0/16", "a reserved range"),
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


def test_the_next_free_subnet_stays_in_its_private_block_if_that_has_room() -> None:
    wanted = IPNetwork("192.168.255.0/24")
    assert find_free_subnet(wanted, [IPNetwork("192.168.255.128/25")]) == IPNetwork(
        "192.168.254.0/24"
    )
    home = IPNetwork("192.168.0.0/16")
    assert find_free_subnet(wanted, [home]) == IPNetwork("10.255.255.0/24")
    rfc1918 = [home, IPNetwork("10.0.0.0/8"), IPNetwork("172.16.0.0/12")]
    assert find_free_subnet(wanted, rfc1918) == IPNetwork("198.19.255.0/24")
    assert find_free_subnet(wanted, PRIVATE_BLOCKS) is None


def test_a_network_of_macnets_own_is_never_routed() -> None:
    entry = {
        "Id": "1",
        "Name": "macnet",
        "Driver": "bridge",
        "Labels": {"io.macnet.name": "macnet"},
        "IPAM": {"Config": [{"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]},
    }
    (item,) = select_networks(parse_networks([entry], []), include=["*"], exclude=[])
    assert item.reason == "macnet's own: only its server is on it"
    assert not item.routed


def further(
    name: str, *subnets: str, reason: str = "", kind: ReachKind = ReachKind.CIDR
) -> Further:
    return Further(name, kind, tuple(map(IPNetwork, subnets)), reason=reason)


def test_what_is_beyond_the_bridges_gives_way_to_them() -> None:
    known = (bridge("app", "172.82.0.0/24"), bridge("out", "10.50.0.0/24"))
    asked = (
        further("10.20.0.0/16", "10.20.0.0/16"),
        further("172.82.0.0/16", "172.82.0.0/16"),
        further("kind", "10.244.0.0/16", "10.96.0.0/16", kind=ReachKind.CLUSTER),
        further("second", "10.245.0.0/16", "10.96.0.0/12", kind=ReachKind.CLUSTER),
        further("10.50.0.0/16", "10.50.0.0/16"),
        further("10.60.0.0/16", "10.60.0.0/16", reason="no container x runs"),
        further("10.70.0.0/16", "10.70.0.0/16"),
    )
    found = select(with_further(known, asked), exclude=("out", "10.70*"), home="10.20.7.0/24")
    assert found["app"].routed
    assert [str(subnet.cidr) for subnet, _ in found["10.20.0.0/16"].left_out] == ["10.20.0.0/16"]
    assert found["172.82.0.0/16"].reason == (
        "172.82.0.0/16 overlaps Docker's network app (172.82.0.0/24), which goes first"
    )
    assert [str(subnet.cidr) for subnet in found["kubernetes=kind"].subnets] == [
        "10.244.0.0/16",
        "10.96.0.0/16",
    ]
    assert found["kubernetes=second"].reason == (
        "10.96.0.0/12 overlaps kubernetes=kind (10.96.0.0/16), which goes first"
    )
    assert not found["kubernetes=second"].left_out, "no other range as seen would help"
    # A network that is not routed has no claim.
    assert found["10.50.0.0/16"].routed
    assert found["10.60.0.0/16"].reason == "no container x runs"
    assert found["10.70.0.0/16"].reason == "left out by --exclude"


def test_it_is_asked_for_whatever_networks_are() -> None:
    asked = (further("10.20.0.0/16", "10.20.0.0/16"),)
    found = select(with_further((bridge("app", "172.82.0.0/24"),), asked), include=("none",))
    assert [name for name, item in found.items() if item.routed] == ["10.20.0.0/16"]


def test_an_overlay_stays_the_network_that_it_is() -> None:
    overlay = bridge("mesh", "10.0.1.0/24", driver="overlay", scope="swarm")
    asked = (further("mesh", "10.0.1.0/24", kind=ReachKind.OVERLAY),)
    [found] = with_further((overlay,), asked)
    assert (found.id, found.further) == (overlay.id, asked[0])
    assert select((found,))["mesh"].routed and not select((overlay,))["mesh"].routed
