"""Who else uses addresses: what counts as a conflict, and what ours go beside."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork, IPSet

from macnet.errors import SubnetConflict
from macnet.helper.spec import client_address6
from macnet.models import Endpoint, Interface, Network, Route, Subnet
from macnet.networks import PRIVATE_BLOCKS
from macnet.settings import Settings
from macnet.state import TunnelState
from macnet.tunnel.conflicts import (
    bridges_here,
    choose_subnets,
    classic_route,
    fix_of,
    host_ranges,
    left_out,
    own_interface,
    pool_routes,
    present_interface,
    select,
)
from macnet.tunnel.observe import Observed
from macnet.values import RemapRequest

TUNNEL = IPNetwork("192.168.255.0/24")


def interface(name: str, *addresses: str, up: bool = True) -> Interface:
    return Interface(name, tuple(map(IPNetwork, addresses)), up=up)


def route(destination: str, name: str, gateway: str | None = None) -> Route:
    return Route(IPNetwork(destination), name, IPAddress(gateway) if gateway else None)


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
        "192.168.1.0/24": "the network of en0 (192.168.1.0/24)",
        "2001:db8::/64": "the network of en0 (2001:db8::/64)",
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
        Route(IPNetwork("172.16.0.0/12"), "utun2", IPAddress("192.168.255.5")),
        Route(IPNetwork("172.20.0.0/16"), "en0", scoped=True),
    ]
    assert ranges([], routes) == {"10.0.0.0/8": "another VPN's route 10.0.0.0/8 (utun3)"}


def test_an_interfaces_own_route_is_told_as_its_network() -> None:
    found = ranges([interface("en0", "10.1.0.5/16")], [Route(IPNetwork("10.1.0.0/16"), "en0")])
    assert found == {"10.1.0.0/16": "the network of en0 (10.1.0.0/16)"}


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


def docker(name: str, *subnets: str, driver: str = "bridge", bridge: str | None = None) -> Network:
    """A Docker network whose bridge has the first address of each subnet."""
    ranges = tuple(Subnet(net, IPAddress(net.first + 1)) for net in map(IPNetwork, subnets))
    bridge = bridge or f"br-{name}" if driver == "bridge" else None
    return Network(name, name, driver, "local", internal=False, subnets=ranges, bridge=bridge)


#: The first bridge of a Mac's VMs, as UTM's.
VM_BRIDGE = interface("bridge100", "192.168.64.1/24")


def gateway_at(subnet: str, gateway: str | None) -> Network:
    """A Docker network whose bridge has another address than the first, or one not known."""
    place = Subnet(IPNetwork(subnet), IPAddress(gateway) if gateway else None)
    return replace(docker("shop", subnet), subnets=(place,))


def test_the_engines_bridges_are_here_by_name_and_gateway() -> None:
    network = docker("app", "172.18.0.0/16", bridge="docker0")
    interfaces = [
        interface("docker0", "172.18.0.1/16"),
        interface("br-other", "172.18.0.1/16"),
        interface("docker0", "172.18.0.9/16"),
        interface("podman1", "172.18.0.1/16"),
    ]
    assert bridges_here([network], interfaces) == ("docker0", "podman1")


@pytest.mark.parametrize(
    ("network", "host"),
    [
        (docker("shop", "192.168.64.0/20"), VM_BRIDGE),
        (docker("shop", "192.168.64.0/24"), VM_BRIDGE),
        (
            docker("lan", "192.168.106.0/24", driver="macvlan"),
            interface("bridge100", "192.168.106.1/24"),
        ),
        (docker("box", "192.168.56.0/21"), interface("vboxnet0", "192.168.56.1/24")),
        # Not the gateway's address: `--gateway 192.168.64.254`, or one that no row tells.
        (gateway_at("192.168.64.0/24", "192.168.64.254"), VM_BRIDGE),
        (gateway_at("192.168.64.0/24", None), VM_BRIDGE),
    ],
)
def test_an_equal_address_does_not_make_an_interface_the_engines_bridge(
    network: Network, host: Interface
) -> None:
    assert bridges_here([network], [host]) == ()
    (item,) = select(Settings(), (network,), (host,), (), TUNNEL, IPNetwork("100.64.0.0/30"))
    assert not item.routed
    if network.driver == "bridge":
        assert f"overlaps the network of {host.name} (" in str(item.reason)
        auto = Settings(remap=RemapRequest(auto=True))
        (item,) = select(auto, (network,), (host,), (), TUNNEL, IPNetwork("100.64.0.0/30"))
        assert str(item.subnets[0].seen).startswith("10.192.0.0/")


def test_bridges_that_reach_docker_networks_from_the_mac_are_known() -> None:
    """As OrbStack makes them: the same subnet, another address than the gateway's."""
    networks = [docker("app", "10.8.10.0/24"), docker("db", "192.168.97.0/24")]
    interfaces = [
        interface("bridge101", "10.8.10.0/24"),
        interface("bridge102", "192.168.97.3/24"),
        interface("bridge103", "192.168.64.1/24"),
        interface("en0", "10.8.10.7/24"),
    ]
    assert bridges_here(networks, interfaces) == ("bridge101", "bridge102")
    # A single one proves nothing, unless the engine is known to be OrbStack's.
    assert bridges_here(networks[1:], interfaces) == ()
    assert bridges_here(networks[1:], interfaces, orbstack=True) == ("bridge102",)
    assert bridges_here([gateway_at("192.168.64.0/24", None)], interfaces, orbstack=True) == (
        "bridge103",
    )
    # Nor do several beside a network that has containers and no bridge.
    web = Endpoint("web", "web", "more", (IPAddress("172.18.0.2"),))
    more = [*networks, replace(docker("more", "172.18.0.0/16"), endpoints=(web,))]
    assert bridges_here(more, interfaces) == ()
    assert bridges_here(more, interfaces, orbstack=True) == ("bridge101", "bridge102")
    empty = [*networks, docker("more", "172.18.0.0/16")]
    assert bridges_here(empty, interfaces) == ("bridge101", "bridge102")
    only6 = replace(web, addresses=(IPAddress("fd00:82::2"),))
    assert bridges_here([*networks, replace(more[2], endpoints=(only6,))], interfaces) != ()


def test_bridges_of_orbstack_are_no_collision() -> None:
    shop = docker("shop", "192.168.97.0/24")
    its = interface("bridge101", "192.168.97.3/24")
    relay = IPNetwork("100.64.0.0/30")
    for orbstack in (False, True):
        (item,) = select(Settings(), (shop,), (its,), (), TUNNEL, relay, orbstack=orbstack)
        assert item.routed is orbstack


# --- what else is up on a Mac -------------------------------------------------------------------

TAILSCALE = (route("100.64.0.0/10", "utun8"), route("100.100.100.100/32", "utun8"))
COMPANY = tuple(
    route(net, "utun4", "10.8.1.1") for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
TUN_PROXY = tuple(
    route(net, "utun2", "198.18.0.1")
    for net in (
        "1.0.0.0/8",
        "2.0.0.0/7",
        "4.0.0.0/6",
        "8.0.0.0/5",
        "16.0.0.0/4",
        "32.0.0.0/3",
        "64.0.0.0/2",
        "128.0.0.0/1",
    )
)


@dataclass
class Seen:
    """What the functions read of facts."""

    networks: tuple[Network, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    state: TunnelState = field(default_factory=TunnelState)
    allowed: tuple[IPNetwork, ...] = ()
    profile_routes: tuple[IPNetwork, ...] = ()


def choose(seen: Seen, settings: Settings | None = None) -> tuple[str, str]:
    tunnel, relay = choose_subnets(settings or Settings(), cast("Observed", seen))
    return str(tunnel), str(relay)


def chosen(seen: Seen, settings: Settings | None = None) -> dict[str, str | None]:
    """By network: why it is not routed, None where it is."""
    settings = settings or Settings()
    tunnel, relay = choose_subnets(settings, cast("Observed", seen))
    items = select(settings, seen.networks, seen.interfaces, seen.routes, tunnel, relay)
    return {item.network.name: item.reason for item in items}


@pytest.mark.parametrize("routes", [(), TAILSCALE, TUN_PROXY, (*TAILSCALE, *TUN_PROXY)])
def test_tailscale_and_tun_proxies_move_nothing(routes: tuple[Route, ...]) -> None:
    dev = docker("dev", "10.5.0.0/24")
    before = ("192.168.255.0/24", "100.64.0.0/30")
    assert choose(Seen((dev,), routes=routes)) == before
    assert chosen(Seen((dev,), routes=routes)) == {"dev": None}
    later = Seen((dev,), routes=routes, state=TunnelState(tunnel_subnet=TUNNEL))
    assert choose(later) == before
    asked = Settings(tunnel_subnet=IPNetwork("10.99.0.0/24"))
    assert choose(Seen((dev,), routes=routes), asked) == ("10.99.0.0/24", "100.64.0.0/30")


@pytest.mark.parametrize("where", ["1.0.0.0/8", "64.0.0.0/2"])
def test_a_default_route_with_a_hole_is_no_default_route(where: str) -> None:
    rest = [item for item in TUN_PROXY if item.destination != IPNetwork(where)]
    assert len(ranges(routes=rest)) == 6  # 128.0.0.0/1 never is in use


@pytest.mark.parametrize(
    ("routes", "tunnel"),
    [
        (COMPANY[2:], "10.255.255.0/24"),
        (COMPANY, "198.19.255.0/24"),
        ((*COMPANY, *TAILSCALE), "198.19.255.0/24"),
        # All that is private is routed elsewhere: inside, as the longer prefix wins.
        ((*COMPANY, *TAILSCALE, route("198.18.0.0/15", "utun2")), "192.168.255.0/24"),
    ],
)
def test_a_company_vpn_leaves_room_for_the_tunnel(routes: tuple[Route, ...], tunnel: str) -> None:
    assert choose(Seen(routes=routes)) == (tunnel, "100.64.0.0/30")
    # One that comes later moves nothing; nor does it stop what was asked for.
    assert choose(Seen(routes=routes, state=TunnelState(tunnel_subnet=TUNNEL)))[0] == str(TUNNEL)
    assert choose(Seen(routes=routes), Settings(tunnel_subnet=TUNNEL))[0] == str(TUNNEL)


def test_a_network_that_this_mac_is_on_moves_the_tunnel_however_wide_it_is() -> None:
    lan = Seen(
        interfaces=(interface("en0", "192.168.3.7/16"),),
        routes=(route("192.168.0.0/16", "en0"),),
        state=TunnelState(tunnel_subnet=TUNNEL),
    )
    assert choose(lan)[0] == "10.255.255.0/24"
    with pytest.raises(SubnetConflict, match="overlaps the network of en0") as caught:
        choose(replace(lan, state=TunnelState()), Settings(tunnel_subnet=TUNNEL))
    assert str(caught.value.hint).startswith("`macnet setup --tunnel-subnet 10.255.255.0/24` ")


ASKED = IPNetwork("10.99.0.0/24")


def vpn_beside(address: str, *networks: Network, in_use: IPNetwork | None = ASKED) -> Seen:
    """A tunnel, and a VPN that came after it."""
    there = interface("utun4", address)
    return Seen(networks, (there,), (), TunnelState(tunnel_subnet=in_use))


def test_a_wider_network_that_comes_later_does_not_end_a_tunnel_that_was_asked_for() -> None:
    """An error would end watch, regenerate and setup as long as that VPN is up."""
    asked = Settings(tunnel_subnet=ASKED)
    app = docker("app", "172.18.0.0/16")
    assert choose(vpn_beside("10.99.3.7/16", app), asked)[0] == str(ASKED)
    assert chosen(vpn_beside("10.99.3.7/16", app), asked) == {"app": None}
    for first in (None, TUNNEL):
        with pytest.raises(SubnetConflict, match="overlaps the network of utun4"):
            choose(vpn_beside("10.99.3.7/16", app, in_use=first), asked)


@pytest.mark.parametrize(
    "seen",
    [
        vpn_beside("10.99.0.7/24"),
        vpn_beside("10.99.0.129/25"),
        vpn_beside("10.8.0.7/24", docker("large", "10.99.0.0/16")),
    ],
)
def test_what_has_the_tunnels_addresses_is_told_also_later(seen: Seen) -> None:
    with pytest.raises(SubnetConflict, match=r"the tunnel subnet 10\.99\.0\.0/24 overlaps"):
        choose(seen, Settings(tunnel_subnet=ASKED))


@pytest.mark.parametrize(
    "network",
    [
        docker("lan", "192.168.0.0/16", driver="macvlan"),
        docker("lan", "192.168.0.0/16", driver="net-dhcp:golang"),
        replace(docker("lan", "192.168.0.0/16", driver="null"), config_only=True),
        replace(docker("lan", "192.168.0.0/16"), isolated=True),
    ],
)
def test_a_network_that_is_never_routed_takes_no_addresses(network: Network) -> None:
    assert choose(Seen((network,))) == ("192.168.255.0/24", "100.64.0.0/30")
    assert choose(Seen((network,)), Settings(tunnel_subnet=TUNNEL))[0] == str(TUNNEL)


def test_a_large_docker_network_is_routed_and_the_tunnel_goes_elsewhere() -> None:
    seen = Seen((docker("large", "192.168.0.0/16"),))
    assert choose(seen)[0] == "10.255.255.0/24"
    assert chosen(seen) == {"large": None}


def test_the_relays_link_avoids_docker_and_the_tunnel_alone() -> None:
    seen = Seen((docker("all", "100.64.0.0/10"),), routes=COMPANY)
    assert choose(seen)[1] == "192.168.255.252/30"
    asked = Settings(tunnel_subnet=IPNetwork("100.64.0.0/24"))
    assert choose(Seen(routes=TAILSCALE), asked)[1] == "100.127.255.252/30"


def test_no_room_at_all_is_said_with_what_helps() -> None:
    nets = [docker(f"n{i}", str(net)) for i, net in enumerate(PRIVATE_BLOCKS)]
    with pytest.raises(SubnetConflict, match="is left for the tunnel") as caught:
        choose(Seen(tuple(nets)))
    hint = str(caught.value.hint)
    assert "--tunnel-subnet" not in hint
    assert "`docker network rm n1`" in hint
    # What it says to do makes room.
    smaller = hint.rpartition("--subnet ")[2].split()[0]
    nets[1] = docker("n1", smaller)
    choose(Seen(tuple(nets)))


# --- a foreign 172.16/12, 10/8 ------------------------------------------------------------------


def test_a_companys_172_16_is_no_docker_mac_network() -> None:
    app = docker("app", "172.20.0.0/16")
    routes = (route("172.16.0.0/12", "utun4", "10.8.1.1"),)
    interfaces = (interface("utun4", "10.8.1.7/24"),)
    assert classic_route(routes, interfaces, None) is None
    assert chosen(Seen((app,), interfaces, routes)) == {
        "app": "172.20.0.0/16 overlaps another VPN's route 172.16.0.0/12 (utun4)"
    }
    (item,) = select(
        Settings(remap=RemapRequest(auto=True)),
        (app,),
        interfaces,
        routes,
        TUNNEL,
        IPNetwork("100.64.0.0/30"),
    )
    assert str(item.subnets[0].seen) == "10.192.0.0/16"


def test_a_lans_route_beside_an_exit_node_is_named() -> None:
    """ "Allow local network access" of an exit node leaves such rows."""
    dev = docker("dev", "172.30.30.0/24")
    routes = (route("172.30.30.0/23", "en0", "192.168.68.1"), route("0.0.0.0/0", "utun8"))
    assert chosen(Seen((dev,), (), routes)) == {
        "dev": "172.30.30.0/24 overlaps the route 172.30.30.0/23 through en0"
    }


@pytest.mark.parametrize(
    ("gateway", "address"),
    [("192.168.255.5", None), (None, "192.168.255.6/32"), ("192.168.255.1", "192.168.255.2/24")],
)
def test_docker_mac_network_is_known_by_its_servers_subnet(
    gateway: str | None, address: str | None
) -> None:
    found = route("172.16.0.0/12", "utun1", gateway)
    interfaces = [interface("utun1", *([address] if address else []))]
    assert classic_route([found], interfaces, None) is found
    assert classic_route([found], interfaces, "utun1") is None
    assert "172.16.0.0/12" not in ranges(interfaces, [found])


@pytest.mark.parametrize(
    ("subnet", "taken", "command"),
    [
        ("10.5.0.0/24", ["10.0.0.0/8"], "macnet setup --remap auto"),
        ("10.0.0.0/8", ["10.1.2.0/24"], "docker network create --subnet 10.192.0.0/24 NAME"),
        ("10.5.0.0/24", list(map(str, PRIVATE_BLOCKS)), "macnet setup"),
    ],
)
def test_ways_out_are_commands_that_can_be_run(subnet: str, taken: list[str], command: str) -> None:
    text = fix_of(IPNetwork(subnet), "somebody", map(IPNetwork, taken))
    assert f"`{command}`" in text
    assert "None" not in text
    # Not advised where it finds nothing.
    assert ("--remap auto" in text) is (command == "macnet setup --remap auto")


def test_a_collision_is_one_sentence_with_its_cause_and_the_next_command() -> None:
    """As many networks as there are: what overlaps the same thing is told at once."""
    networks = [docker("app", "172.18.0.0/16"), docker("db", "172.19.0.0/16")]
    networks += [docker("dev", "10.5.0.0/24"), docker("free", "192.168.9.0/24")]
    routes = (
        route("172.16.0.0/12", "utun4", "10.8.1.1"),
        route("10.5.0.0/16", "en0", "192.168.1.1"),
    )
    relay = IPNetwork("100.64.0.0/30")
    selected = select(Settings(), tuple(networks), (), routes, TUNNEL, relay)
    assert list(left_out(selected, [r.destination for r in routes])) == [
        "app (172.18.0.0/16), db (172.19.0.0/16) are not routed: they overlap another VPN's route "
        "172.16.0.0/12 (utun4); `macnet setup --remap auto` reaches them under other addresses",
        "dev (10.5.0.0/24) is not routed: it overlaps the route 10.5.0.0/16 through en0; "
        "`macnet setup --remap auto` reaches it under other addresses",
    ]


def test_a_collision_with_the_tunnel_itself_is_ended_by_regenerate() -> None:
    clash = docker("clash", str(TUNNEL))
    selected = select(Settings(), (clash,), (), (), TUNNEL, IPNetwork("100.64.0.0/30"))
    [text] = left_out(selected, ())
    assert text == (
        f"clash ({TUNNEL}) is not routed: it overlaps the tunnel's own subnet; "
        "`macnet regenerate` moves the tunnel to other addresses"
    )


# --- our own interface --------------------------------------------------------------------------

OURS6 = f"{client_address6(TUNNEL)}/64"


@pytest.mark.parametrize(
    ("interfaces", "routes", "routed"),
    [
        ([], [route("10.0.0.0/8", "utun3")], True),
        ([], [route("10.201.0.0/16", "utun3")], False),
        ([], [route("10.201.4.0/24", "utun3")], False),
        # On a network, a narrower route would take hosts away from it.
        ([interface("en0", "10.1.2.3/8")], [route("10.0.0.0/8", "en0")], False),
    ],
)
def test_what_comes_later_never_raises_for_a_remap(
    interfaces: list[Interface], routes: list[Route], routed: bool
) -> None:
    """The pair is remembered, so that an error would end watch, regenerate and setup."""
    pair = (IPNetwork("172.17.0.0/16"), IPNetwork("10.201.0.0/16"))
    settings = replace(Settings(), remap=RemapRequest(pairs=(pair,)))
    network = Network("id", "bridge", "bridge", "local", internal=False, subnets=(Subnet(pair[0]),))
    (item,) = select(
        settings,
        (network,),
        tuple(interfaces),
        tuple(routes),
        TUNNEL,
        IPNetwork("100.64.0.0/30"),
    )
    assert [subnet.seen for subnet in item.subnets] == [pair[1]] * routed
    [*told] = left_out([item], [])
    assert [" by its remap 10.201.0.0/16; `macnet setup --remap auto`" in x for x in told] == (
        [] if routed else [True]
    )


def test_another_vpn_with_the_clients_address_is_not_ours() -> None:
    app = docker("app", "172.18.0.0/16")
    theirs = interface("utun4", "192.168.255.2/24")
    up = TunnelState(tunnel_subnet=TUNNEL)
    seen = Seen((app,), (theirs,), (route("10.0.0.0/8", "utun4"),), up)
    assert present_interface(cast("Observed", seen)) is None
    assert choose(seen)[0] != str(TUNNEL)
    both = replace(seen, interfaces=(theirs, interface("utun5", "192.168.255.2/24", OURS6)))
    assert present_interface(cast("Observed", both)) == "utun5"
    assert own_interface(both.interfaces, TUNNEL) == "utun5"


def test_our_interface_without_ipv6_is_known_by_its_routes() -> None:
    app = docker("app", "172.18.0.0/16")
    ours = interface("utun4", "192.168.255.2/24")
    seen = Seen((app,), (ours,), (route("172.18.0.0/16", "utun4"),))
    up, moved = TunnelState(tunnel_subnet=TUNNEL), TunnelState(moved_from=TUNNEL)
    for state in (up, moved):
        assert present_interface(cast("Observed", replace(seen, state=state))) == "utun4"
    assert present_interface(cast("Observed", seen)) is None


def test_our_interface_without_ipv6_is_known_where_nothing_or_a_pool_is_routed() -> None:
    """Else each look would move the tunnel away from its own interface."""
    app = docker("app", "172.18.0.0/16")
    ours = interface("utun4", "192.168.255.2/24")
    own = route("192.168.255.0/24", "utun4")
    up = TunnelState(tunnel_subnet=TUNNEL)
    # macOS may have these for any interface.
    scoped = replace(route("10.0.0.0/8", "utun4"), scoped=True)
    everybody = (route("224.0.0.0/4", "utun4"), route("255.255.255.255/32", "utun4"), scoped)
    nothing = Seen((app,), (ours,), (own, *everybody), up)
    pools = Seen(
        (app,),
        (ours,),
        (own, route("10.50.0.0/16", "utun4")),
        up,
        profile_routes=(IPNetwork("10.50.0.0/16"),),
    )
    for seen in (nothing, pools):
        assert present_interface(cast("Observed", seen)) == "utun4"
        assert choose(seen)[0] == str(TUNNEL)


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
