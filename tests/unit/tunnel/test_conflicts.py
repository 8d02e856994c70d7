"""Who else uses addresses: what counts as a conflict, and what ours go beside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork, IPSet

from macnet.models import Interface, Network, Route, Subnet
from macnet.tunnel.conflicts import bridges_here, host_ranges, own_interface, pool_routes

TUNNEL = IPNetwork("192.168.255.0/24")


def interface(name: str, *addresses: str, up: bool = True) -> Interface:
    return Interface(name, tuple(map(IPNetwork, addresses)), up=up)


def ranges(
    interfaces: list[Interface] | None = None,
    routes: list[Route] | None = None,
    own: str | None = None,
    skip: tuple[str, ...] = (),
) -> dict[str, str]:
    found = host_ranges(interfaces or [], routes or [], own, skip)
    return {str(net): owner for net, owner in found}


def test_interfaces_use_their_networks() -> None:
    assert ranges([interface("en0", "192.168.1.20/24", "2001:db8::20/64")]) == {
        "192.168.1.0/24": "the network of en0",
        "2001:db8::/64": "the network of en0",
    }


@pytest.mark.parametrize("address", ["127.0.0.1/8", "::1/128", "169.254.3.4/16", "fe80::1/64"])
def test_loopback_and_link_local_are_no_conflict(address: str) -> None:
    assert ranges([interface("lo0", address)]) == {}
    assert ranges([], [Route(IPNetwork(address).cidr, "lo0")]) == {}


@pytest.mark.parametrize(
    "destination",
    ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "8000::/1", "224.0.0.0/4", "ff00::/8"],
)
def test_wide_and_multicast_routes_are_no_conflict(destination: str) -> None:
    assert ranges([], [Route(IPNetwork(destination), "utun3")]) == {}


def test_routes_are_named_by_their_interface() -> None:
    routes = [
        Route(IPNetwork("10.0.0.0/8"), "utun3"),
        Route(IPNetwork("10.0.0.0/8"), "en0"),
        Route(IPNetwork("172.16.0.0/12"), "utun2"),
        Route(IPNetwork("172.20.0.0/16"), "en0", scoped=True),
    ]
    assert ranges([], routes) == {"10.0.0.0/8": "a route through utun3"}


def test_an_interfaces_own_route_is_told_as_its_network() -> None:
    found = ranges([interface("en0", "10.1.0.5/16")], [Route(IPNetwork("10.1.0.0/16"), "en0")])
    assert found == {"10.1.0.0/16": "the network of en0"}


def test_our_own_tunnel_and_what_is_skipped_use_nothing() -> None:
    interfaces = [
        interface("utun4", "192.168.255.2/24"),
        interface("bridge100", "172.18.0.1/16"),
        interface("en5", "10.9.0.1/24", up=False),
    ]
    routes = [
        Route(IPNetwork("172.17.0.0/16"), "utun4"),
        Route(IPNetwork("172.18.0.0/16"), "bridge100"),
    ]
    assert ranges(interfaces, routes, "utun4", ("bridge100",)) == {}
    assert len(ranges(interfaces, routes)) == 3


def test_our_interface_is_the_one_that_holds_the_clients_address() -> None:
    interfaces = [interface("en0", "192.168.255.7/24"), interface("utun4", "192.168.255.2/24")]
    assert own_interface(interfaces, TUNNEL) == "utun4"
    assert own_interface(interfaces[:1], TUNNEL) is None
    assert own_interface(interfaces, None) is None


def test_the_engines_bridges_are_here_where_a_gateway_is() -> None:
    subnets = (
        Subnet(IPNetwork("172.18.0.0/16"), IPAddress("172.18.0.1")),
        Subnet(IPNetwork("172.19.0.0/16")),
    )
    network = Network("1", "app", "bridge", "local", internal=False, subnets=subnets)
    interfaces = [
        interface("docker0", "172.18.0.1/16"),
        interface("other", "172.18.0.9/16"),
        interface("guess", "172.19.0.1/16"),
    ]
    assert bridges_here([network], interfaces) == ("docker0",)


nets = st.builds(
    lambda value, bits: IPNetwork((0x0A000000 + value, bits), version=4).cidr,
    st.integers(0, 2**16),
    st.integers(16, 30),
)
lists = st.lists(nets, max_size=5)


@given(pools=lists, subnets=lists, reserved=lists)
def test_pools_keep_off_what_is_in_use(
    pools: list[IPNetwork], subnets: list[IPNetwork], reserved: list[IPNetwork]
) -> None:
    found = pool_routes(pools, subnets, [(net, "somebody") for net in reserved])
    assert IPSet(found) == (IPSet(pools) - IPSet(reserved)) | IPSet(subnets)
    assert sum(net.size for net in found) == IPSet(found).size
