"""Remaps: only where asked for or colliding, stable, one address to one address."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from macnet.errors import SubnetConflict
from macnet.models import Network, Subnet
from macnet.networks import Selected, overlap, routed_subnets, select_networks
from macnet.remaps import POOLS, free_range, remap_networks
from macnet.tunnel.conflicts import left_out
from macnet.values import PARSERS, RemapRequest

AUTO = RemapRequest(auto=True)


def net(text: str) -> IPNetwork:
    return IPNetwork(text)


def bridge(name: str, *subnets: str) -> Network:
    cidrs = tuple(Subnet(net(text)) for text in subnets)
    return Network(f"id-{name}", name, "bridge", "local", internal=False, subnets=cidrs)


def remap(
    networks: Sequence[Network],
    requested: RemapRequest = AUTO,
    *,
    home: Sequence[str] = (),
    known: Mapping[str, str] | None = None,
    include: str = "*",
    kept: bool = False,
    host: Sequence[str] = (),
) -> tuple[Selected, ...]:
    """What comes out where ``home`` ranges are used by this host; all pairs may be ``kept``."""
    reserved = [(net(text), "home") for text in home]
    selected = select_networks(networks, include=[include], exclude=[], reserved=reserved)
    chosen = tuple((net(real), net(seen)) for real, seen in (known or {}).items())
    return remap_networks(
        selected,
        requested,
        reserved,
        host=[(net(text), "home") for text in host],
        chosen=chosen,
        kept=requested.pairs if kept else (),
    )


def pairs(selected: Sequence[Selected]) -> dict[str, str | None]:
    """Real -> seen of everything that is routed."""
    return {
        str(subnet.cidr): subnet.seen and str(subnet.seen)
        for item in selected
        for subnet in item.subnets
    }


def explicit(*wanted: str) -> RemapRequest:
    sides = [text.split("=") for text in wanted]
    return RemapRequest(pairs=tuple((net(real), net(seen)) for real, seen in sides))


def test_nothing_is_remapped_unless_asked_for() -> None:
    networks = [bridge("app", "192.168.1.0/24", "10.1.0.0/24")]
    (item,) = remap(networks, RemapRequest(), home=["192.168.1.0/24"])
    assert pairs([item]) == {"10.1.0.0/24": None}
    assert [str(subnet.cidr) for subnet, _ in item.left_out] == ["192.168.1.0/24"]


def test_auto_remaps_only_what_collides() -> None:
    networks = [bridge("app", "10.1.0.0/24", "192.168.1.0/24"), bridge("free", "10.2.0.0/16")]
    app, free = remap(networks, home=["192.168.0.0/16"])
    assert pairs([app, free]) == {
        "10.1.0.0/24": None,
        "192.168.1.0/24": "10.192.0.0/24",
        "10.2.0.0/16": None,
    }
    assert app.left_out == ()
    assert app.reason is free.reason is None
    assert routed_subnets([app, free]) == (
        net("10.1.0.0/24"),
        net("10.2.0.0/16"),
        net("10.192.0.0/24"),
    )


def test_a_network_that_was_not_routed_at_all_is_routed_again() -> None:
    (item,) = remap([bridge("app", "192.168.1.0/24")], home=["192.168.1.0/24"])
    assert item.routed
    assert item.reason is None


def test_a_network_that_was_not_chosen_stays_out() -> None:
    (item,) = remap([bridge("app", "192.168.1.0/24")], home=["192.168.1.0/24"], include="other")
    assert pairs([item]) == {}
    assert item.reason == "not chosen by --network"


def test_a_remap_stays_while_it_is_free() -> None:
    networks = [bridge("app", "192.168.1.0/24")]
    known = {"192.168.1.0/24": "10.200.7.0/24"}
    home = ["192.168.1.0/24"]
    assert pairs(remap(networks, home=home, known=known)) == known
    # Not given up when the collision ends either: the client has the route.
    assert pairs(remap(networks, known=known)) == known
    # Without --remap auto it ends.
    assert pairs(remap(networks, RemapRequest(), known=known)) == {"192.168.1.0/24": None}
    taken = [*home, "10.200.0.0/16"]
    assert pairs(remap(networks, home=taken, known=known)) == {"192.168.1.0/24": "10.192.0.0/24"}


def test_a_new_network_does_not_take_the_range_of_another() -> None:
    networks = [bridge("a-new", "192.168.1.0/24"), bridge("b-old", "192.168.2.0/24")]
    known = {"192.168.2.0/24": "10.192.0.0/24"}
    assert pairs(remap(networks, home=["192.168.0.0/16"], known=known)) == {
        "192.168.1.0/24": "10.192.1.0/24",
        "192.168.2.0/24": "10.192.0.0/24",
    }


def test_equal_subnets_of_two_networks_get_two_ranges() -> None:
    networks = [bridge("a", "192.168.1.0/24"), bridge("b", "192.168.2.0/24")]
    selected = remap(networks, home=["192.168.0.0/16"])
    assert list(pairs(selected).values()) == ["10.192.0.0/24", "10.192.1.0/24"]


def test_docker_networks_that_are_not_routed_are_in_use_too() -> None:
    networks = [bridge("app", "192.168.1.0/24"), bridge("pool", "10.192.0.0/16")]
    selected = remap(networks, home=["192.168.1.0/24"], include="app")
    assert pairs(selected) == {"192.168.1.0/24": "10.193.0.0/24"}


def test_an_explicit_pair_comes_first() -> None:
    networks = [bridge("app", "10.1.0.0/24")]
    request = RemapRequest(auto=True, pairs=((net("10.1.0.0/24"), net("172.31.9.0/24")),))
    for known in ({}, {"10.1.0.0/24": "10.192.0.0/24"}):
        assert pairs(remap(networks, request, known=known)) == {"10.1.0.0/24": "172.31.9.0/24"}
    # A pair for a network that does not exist waits for it.
    assert pairs(remap([bridge("other", "10.2.0.0/24")], request)) == {"10.2.0.0/24": None}


def test_an_automatic_one_keeps_off_the_pairs_that_were_asked_for() -> None:
    networks = [bridge("a", "192.168.1.0/24"), bridge("b", "192.168.2.0/24")]
    request = RemapRequest(auto=True, pairs=((net("192.168.2.0/24"), net("10.192.0.0/24")),))
    for known in ({}, {"192.168.1.0/24": "10.192.0.0/24"}):
        assert pairs(remap(networks, request, home=["192.168.0.0/16"], known=known)) == {
            "192.168.1.0/24": "10.192.1.0/24",
            "192.168.2.0/24": "10.192.0.0/24",
        }


@pytest.mark.parametrize(
    ("seen", "owner"),
    [
        ("192.168.1.0/24", "home"),
        ("10.2.0.0/24", "Docker's network other"),
        ("10.1.0.0/24", "Docker's network app"),
    ],
)
def test_an_explicit_pair_that_cannot_be(seen: str, owner: str) -> None:
    networks = [bridge("app", "10.1.0.0/24"), bridge("other", "10.2.0.0/16")]
    with pytest.raises(SubnetConflict, match=f"{seen} overlaps {owner}") as caught:
        remap(networks, explicit(f"10.1.0.0/24={seen}"), home=["192.168.0.0/16"])
    # The command of the hint works.
    command = str(caught.value.hint).partition("`")[2].partition("`")[0]
    pair = command.removeprefix("macnet setup --remap ")
    selected = remap(networks, explicit(pair), home=["192.168.0.0/16"])
    assert pairs(selected)["10.1.0.0/24"] == pair.partition("=")[2]


def test_two_pairs_to_one_range() -> None:
    networks = [bridge("a", "10.1.0.0/24"), bridge("b", "10.2.0.0/24")]
    request = explicit("10.1.0.0/24=172.31.9.0/24", "10.2.0.0/24=172.31.9.0/24")
    with pytest.raises(SubnetConflict, match=r"the remap of 10\.1\.0\.0/24"):
        remap(networks, request)


PAIR = "172.20.0.0/16=10.201.0.0/16"


def test_a_network_that_comes_later_into_the_range_of_a_pair_is_left_out() -> None:
    """The pair is remembered, so that an error would end watch for all networks."""
    networks = [bridge("app", "172.20.0.0/16"), bridge("new", "10.201.5.0/24", "10.7.0.0/24")]
    with pytest.raises(SubnetConflict, match="overlaps Docker's network new"):
        remap(networks, explicit(PAIR))
    for order in (networks, networks[::-1]):
        selected = remap(order, explicit(PAIR), kept=True)
        assert pairs(selected) == {"172.20.0.0/16": "10.201.0.0/16", "10.7.0.0/24": None}
        [(subnet, why)] = [pair for item in selected for pair in item.left_out]
        assert (str(subnet.cidr), why) == ("10.201.5.0/24", "the remap of 172.20.0.0/16")
    [_, alone] = remap([networks[0], bridge("new", "10.201.0.0/16")], explicit(PAIR), kept=True)
    assert alone.reason == "10.201.0.0/16 overlaps the remap of 172.20.0.0/16"
    # The command that the warning gives keeps the pair and reaches it.
    [sentence] = left_out(remap(networks, explicit(PAIR), kept=True), [], explicit(PAIR))
    [command] = re.findall(r"`macnet setup (.*?)`", sentence)
    request = PARSERS["remap"](command.replace("--remap ", "").split())
    assert isinstance(request, RemapRequest)
    found = pairs(remap(networks, request, kept=True))
    assert found["172.20.0.0/16"] == "10.201.0.0/16"
    assert found["10.201.5.0/24"] == "10.192.0.0/24"


@pytest.mark.parametrize(
    ("first", "host"),
    [
        # Its network is away, or cannot be reached under the range now.
        (bridge("other", "172.21.0.0/16"), ()),
        (replace(bridge("app", "172.20.0.0/16"), driver="macvlan"), ()),
        (bridge("app", "172.20.0.0/16"), ("10.201.128.0/17",)),
    ],
)
def test_a_pair_that_is_not_in_use_leaves_nothing_out(first: Network, host: Sequence[str]) -> None:
    networks = [first, bridge("new", "10.201.5.0/24")]
    selected = remap(networks, explicit(PAIR), kept=True, host=host)
    assert pairs(selected)["10.201.5.0/24"] is None


def test_a_pair_in_the_range_of_what_came_later_leaves_out_its_own_network() -> None:
    """The tunnel itself may have moved there, or another pair's network has come."""
    networks = [bridge("a", "10.1.0.0/24"), bridge("b", "10.2.0.0/25"), bridge("c", "10.3.0.0/24")]
    request = explicit(
        "10.1.0.0/24=172.31.9.0/24", "10.2.0.0/25=172.31.9.0/25", "10.3.0.0/24=127.1.0.0/24"
    )
    selected = remap(networks, request, kept=True)
    assert pairs(selected) == {"10.1.0.0/24": "172.31.9.0/24"}
    assert [why for item in selected for _, why in item.left_out] == [
        "the remap of 10.1.0.0/24 by its remap 172.31.9.0/25",
        "loopback by its remap 127.1.0.0/24",
    ]
    (item, *_) = remap(networks, request, kept=True, home=["172.31.0.0/16"])
    assert item.reason == "10.1.0.0/24 overlaps home by its remap 172.31.9.0/24"


def beside(
    *host: str, passable: Sequence[str] = (), request: str = "172.17.0.0/16=10.201.0.0/16"
) -> Selected:
    """What comes of a pair where this host uses those ranges."""
    selected = select_networks(
        [bridge("bridge", "172.17.0.0/16")],
        include=["*"],
        exclude=[],
        reserved=[(net(text), "home") for text in host],
    )
    (item,) = remap_networks(
        selected,
        explicit(request),
        (),
        host=[(net(text), "home") for text in host],
        passable={net(text) for text in passable},
    )
    return item


def test_a_pair_goes_beside_a_wider_route() -> None:
    """The longer prefix wins: a company's VPN that comes later changes nothing."""
    item = beside("10.0.0.0/8", passable=["10.0.0.0/8"])
    assert pairs([item]) == {"172.17.0.0/16": "10.201.0.0/16"}
    assert item.left_out == ()
    assert item.reason is None


@pytest.mark.parametrize(
    ("host", "passable"),
    [
        # As wide, narrower, and the network around this machine, however wide it is.
        ("10.201.0.0/16", True),
        ("10.201.7.0/24", True),
        ("10.0.0.0/8", False),
    ],
)
def test_a_pair_that_this_host_stands_in_the_way_of_is_left_out(host: str, passable: bool) -> None:
    item = beside(host, passable=[host] if passable else [])
    assert not item.routed
    assert item.reason == "172.17.0.0/16 overlaps home by its remap 10.201.0.0/16"
    [(subnet, why)] = item.left_out
    assert why == "home by its remap 10.201.0.0/16"
    # As long as the tunnel carries it, the checks know it by the range that they see.
    assert subnet.route == net("10.201.0.0/16")


def test_what_is_left_out_by_its_own_range_and_its_pairs_is_told_by_the_pair() -> None:
    item = beside("10.201.0.0/16", "172.17.0.0/16")
    assert item.reason == "172.17.0.0/16 overlaps home by its remap 10.201.0.0/16"
    assert len(item.left_out) == 1


def test_the_range_of_a_hint_keeps_off_what_this_host_uses() -> None:
    with pytest.raises(SubnetConflict) as caught:
        beside("10.192.0.0/16", request="172.17.0.0/16=172.17.0.0/16")
    assert "172.17.0.0/16=10.193.0.0/16`" in str(caught.value.hint)


def test_version_6() -> None:
    networks = [bridge("six", "fd00:82::/64", "172.82.6.0/24")]
    selected = remap(networks, home=["fd00::/16", "172.82.6.0/24"])
    assert pairs(selected) == {
        "fd00:82::/64": "fd6d:6163:6e65::/64",
        "172.82.6.0/24": "10.192.0.0/24",
    }
    (six, _) = selected[0].subnets
    assert six.seen_at(IPAddress("fd00:82::a:1")) == IPAddress("fd6d:6163:6e65::a:1")


@pytest.mark.parametrize(
    "seen",
    ["127.1.0.0/16", "169.254.0.0/16", "224.1.0.0/16", "0.1.0.0/16", "240.1.0.0/16"],
)
def test_no_remap_targets_a_range_that_hosts_use_for_themselves(seen: str) -> None:
    networks = [bridge("app", "172.17.0.0/16")]
    with pytest.raises(SubnetConflict, match=f"{seen} overlaps"):
        remap(networks, explicit(f"172.17.0.0/16={seen}"))
    # Nor one that an earlier version has chosen.
    chosen = pairs(remap(networks, home=["172.17.0.0/16"], known={"172.17.0.0/16": seen}))
    assert chosen == {"172.17.0.0/16": "10.192.0.0/16"}


@pytest.mark.parametrize(
    ("home", "block"),
    [
        (["10.0.0.0/8"], "172.16.0.0/12"),
        (["10.0.0.0/8", "172.16.0.0/12"], "198.18.0.0/15"),
        (["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15"], "100.64.0.0/10"),
        (["10.5.0.0/16", "10.192.0.0/10", "172.16.0.0/12", "100.64.0.0/10"], "10.0.0.0/8"),
    ],
)
def test_auto_finds_a_range_wherever_one_is_free(home: list[str], block: str) -> None:
    [(_, seen)] = pairs(remap([bridge("dev", "10.5.0.0/24")], home=home)).items()
    assert seen is not None
    assert net(seen) in net(block)


def test_networks_that_are_never_routed_take_no_range() -> None:
    lan = replace(bridge("lan", "10.192.0.0/10"), driver="macvlan")
    assert pairs(remap([bridge("app", "192.168.1.0/24"), lan], home=["192.168.1.0/24"])) == {
        "192.168.1.0/24": "10.192.0.0/24"
    }


def test_a_subnet_larger_than_the_pool_stays_left_out() -> None:
    (item,) = remap(
        [
            bridge("huge", "10.0.0.0/8"),
        ],
        home=["10.0.0.0/24"],
    )
    assert not item.routed
    assert item.reason == "10.0.0.0/8 overlaps home"
    assert free_range(net("0.0.0.0/8"), [net("10.0.0.0/24")]) is None


# --- properties -------------------------------------------------------------------------------

pool_ranges = st.builds(
    lambda value, bits: IPNetwork((POOLS[4][0].first + value, bits), version=4).cidr,
    st.integers(0, POOLS[4][0].size - 1),
    st.integers(11, 24),
)
sizes = st.integers(11, 30)


@given(size=sizes, taken=st.lists(pool_ranges, max_size=8))
def test_a_free_range_is_free_in_the_pool_and_as_large(size: int, taken: list[IPNetwork]) -> None:
    found = free_range(IPNetwork(f"192.168.0.0/{size}").cidr, taken)
    if found is not None:
        assert found.prefixlen == size
        assert found == found.cidr
        assert any(found in pool for pool in POOLS[4])
        assert not any(overlap(found, other) for other in taken)


@given(numbers=st.lists(st.integers(0, 255), unique=True, min_size=1, max_size=8))
def test_a_second_look_changes_nothing(numbers: list[int]) -> None:
    networks = [bridge(f"n{number}", f"192.168.{number}.0/24") for number in numbers]
    home = ["192.168.0.0/16"]
    first = pairs(remap(networks, home=home))
    known = {real: seen for real, seen in first.items() if seen}
    assert len(known) == len(set(known.values())) == len(numbers)
    assert pairs(remap(networks, home=home, known=known)) == first
    # Nor does a network that is gone: the others keep theirs.
    rest = pairs(remap(networks[1:], home=home, known=known))
    assert rest == {real: seen for real, seen in first.items() if real in rest}


@given(
    bits=st.integers(16, 30),
    one=st.integers(0, 2**32 - 1),
    other=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_each_address_is_seen_at_its_own_place(
    bits: int, one: int, other: int, data: st.DataObject
) -> None:
    real = IPNetwork((one, bits), version=4).cidr
    seen = IPNetwork((other, bits), version=4).cidr
    subnet = Subnet(real, seen=seen)
    places = st.integers(0, real.size - 1)
    first, second = data.draw(places), data.draw(places)
    at = [subnet.seen_at(IPAddress(real.first + place)) for place in (first, second)]
    assert [int(address) - seen.first for address in at] == [first, second]
    assert all(address in seen for address in at)
    assert (at[0] == at[1]) == (first == second)
    assert Subnet(real).seen_at(IPAddress(real.first)) == IPAddress(real.first)
