"""Routes: Linux, `route get`, which one wins, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork, IPSet

from macnet.models import Route
from macnet.routes import (
    RouteDiff,
    UnreadableRoutes,
    compare_routes,
    default_pieces,
    is_full_tunnel,
    list_routes,
    parse_ip_route_json,
)
from macnet.runner import DEFAULT_TIMEOUT_S, CommandFailed, Completed
from tests.mac.reach import interface_of
from tests.unit.route_samples import DATA, linux, macos, networks, route


def test_linux() -> None:
    assert linux("ip-route.json") == (
        route("0.0.0.0/0", "eth0", "192.0.2.1"),
        route("10.68.0.0/16", "eth0", "192.0.2.2"),
        route("10.69.0.0/16", "eth0", "fd00:c::2"),
        route("10.99.7.0/24", "tun0"),
        route("172.17.0.0/16", "docker0"),
        route("172.31.9.0/24", "tun0", "10.99.7.1"),
        route("192.0.2.0/24", "eth0"),
        route("198.51.100.0/24", "eth1"),
        route("203.0.113.7/32", "eth0", "192.0.2.1"),
    )


def test_linux_inet6() -> None:
    routes = linux("ip-route-6.json")
    assert routes[:2] == (route("fd00:c::/64", "eth0"), route("fd00:17::/64", "docker0"))
    assert routes[-1] == route("::/0", "eth0", "fd00:c::1")
    assert "fd00:66::/64" not in {str(found.destination) for found in routes}


def test_linux_default_alone_takes_the_family_from_the_caller() -> None:
    text = '[{"dst":"default","dev":"wg0","flags":[]}]'
    assert parse_ip_route_json(text, is_v6=True) == (route("::/0", "wg0"),)
    assert parse_ip_route_json(text) == (route("0.0.0.0/0", "wg0"),)


def test_linux_without_routes() -> None:
    assert parse_ip_route_json("") == ()
    assert parse_ip_route_json("[ ]\n") == ()
    dead = '[{"dst":"10.0.0.0/8","dev":"eth0","flags":["dead","linkdown"]},{"dst":"x","dev":"e"}]'
    assert parse_ip_route_json(dead) == ()


@pytest.mark.parametrize("text", ["default via 10.0.0.1 dev eth0", "{}", "[1]"])
def test_linux_other_output(text: str) -> None:
    with pytest.raises(UnreadableRoutes):
        parse_ip_route_json(text)


def test_route_get() -> None:
    text = (DATA / "macos" / "route-get-full-tunnel.txt").read_text()
    assert interface_of(text) == "utun3"
    assert interface_of("route: writing to routing socket: not in table\n") is None


class Programs:
    """Answers by the last words of the command line."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        stdin: str | None = None,
        interactive: bool = False,
    ) -> Completed:
        command = " ".join(argv)
        if command not in self.answers:
            raise CommandFailed(argv, "is not installed")
        return Completed(tuple(argv), 0, self.answers[command], "")

    def find(self, program: str, *places: str) -> str | None:
        return None


def test_list_routes() -> None:
    mac = Programs(
        {
            "netstat -rn -f inet": (DATA / "macos/netstat-docker.txt").read_text(),
            "netstat -rn -f inet6": (DATA / "macos/netstat-inet6.txt").read_text(),
        }
    )
    assert list_routes(mac, "macos") == macos("netstat-docker.txt") + macos("netstat-inet6.txt")
    tux = Programs(
        {
            "ip -json -4 route show": (DATA / "linux/ip-route.json").read_text(),
            "ip -json -6 route show": (DATA / "linux/ip-route-6.json").read_text(),
        }
    )
    assert list_routes(tux, "linux") == linux("ip-route.json") + linux("ip-route-6.json")
    with pytest.raises(UnreadableRoutes, match="not installed"):
        list_routes(Programs({}), "linux")
    with pytest.raises(UnreadableRoutes, match="windows"):
        list_routes(Programs({}), "windows")


@pytest.mark.parametrize(
    ("address", "interface"),
    [
        ("10.1.2.3", "utun6"),
        ("172.31.1.127", "utun6"),
        ("172.31.1.128", "utun6"),
        ("192.168.194.2", "bridge101"),
    ],
)
def test_the_longest_prefix_wins(address: str, interface: str) -> None:
    net = IPNetwork(address)
    assert compare_routes([net], macos("netstat-wide.txt"), interface).present == (net,)


def test_of_equal_routes_the_first_wins_and_scoped_ones_count_never() -> None:
    scoped = route("172.17.0.0/24", "en1", scoped=True)
    first, second = route("172.17.0.0/16", "utun4"), route("172.17.0.0/16", "utun5")
    net = IPNetwork("172.17.0.2")
    for table, interface in (([scoped, first, second], "utun4"), ([second, first], "utun5")):
        assert compare_routes([net], table, interface).present == (net,)
    assert compare_routes([net], [scoped], "en1").missing == (net,)


WANTED = IPNetwork("172.17.0.0/16")
DEFAULT = route("0.0.0.0/0", "en0", "192.168.1.1")


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ([DEFAULT], RouteDiff(missing=(WANTED,))),
        ([], RouteDiff(missing=(WANTED,))),
        # As OpenVPN adds it: a gateway inside the tunnel.
        ([DEFAULT, route("172.17.0.0/16", "utun4", "10.8.0.1")], RouteDiff(present=(WANTED,))),
        ([DEFAULT, route("172.16.0.0/12", "utun4")], RouteDiff(present=(WANTED,))),
        (
            [DEFAULT, route("172.17.0.0/16", "bridge100")],
            RouteDiff(foreign=((WANTED, route("172.17.0.0/16", "bridge100")),)),
        ),
        # The first of two equal routes wins.
        (
            [route("172.17.0.0/16", "utun4"), route("172.17.0.0/16", "bridge100")],
            RouteDiff(present=(WANTED,)),
        ),
        (
            [route("172.17.0.0/16", "bridge100"), route("172.17.0.0/16", "utun4")],
            RouteDiff(foreign=((WANTED, route("172.17.0.0/16", "bridge100")),)),
        ),
        (
            [route("172.17.0.0/16", "utun4"), route("172.17.4.0/24", "en0")],
            RouteDiff(foreign=((WANTED, route("172.17.4.0/24", "en0")),)),
        ),
        (
            [route("172.17.0.0/16", "utun4"), route("172.17.0.9/32", "en0", scoped=True)],
            RouteDiff(present=(WANTED,)),
        ),
        ([DEFAULT, route("172.0.0.0/8", "utun9")], RouteDiff(missing=(WANTED,))),
        ([route("172.17.0.0/16", "utun4", scoped=True)], RouteDiff(missing=(WANTED,))),
        (list(macos("netstat-new.txt")), RouteDiff(missing=(WANTED,))),
    ],
)
def test_compare_routes(routes: list[Route], expected: RouteDiff) -> None:
    assert compare_routes([WANTED], routes, "utun4") == expected


def test_compare_keeps_families_apart() -> None:
    wanted = [IPNetwork("172.31.9.0/24"), IPNetwork("fd00:17::/64"), IPNetwork("fd00:18::/64")]
    diff = compare_routes(wanted, linux("ip-route.json") + linux("ip-route-6.json"), "tun0")
    assert diff == RouteDiff(
        present=(wanted[0],),
        foreign=((wanted[1], route("fd00:17::/64", "docker0")),),
        missing=(wanted[2],),
    )


@given(st.lists(networks, unique=True), st.lists(networks))
def test_every_wanted_subnet_is_told_once(wanted: list[IPNetwork], there: list[IPNetwork]) -> None:
    routes = [Route(net, f"if{number % 3}") for number, net in enumerate(there)]
    diff = compare_routes(wanted, routes, "if0")
    told = [*diff.missing, *diff.present, *(net for net, _ in diff.foreign)]
    assert sorted(told) == sorted(wanted)
    assert all(taker.interface != "if0" for _, taker in diff.foreign)


def test_full_tunnel() -> None:
    routes = macos("netstat-new.txt")
    assert is_full_tunnel(routes)
    first = next(item for item in routes if item.destination.prefixlen == 1)
    assert not is_full_tunnel(item for item in routes if item != first)


def test_no_full_tunnel() -> None:
    assert not is_full_tunnel(macos("netstat-wide.txt"))
    assert not is_full_tunnel([route("0.0.0.0/1", "utun1"), route("128.0.0.0/1", "utun2")])
    assert is_full_tunnel([route("::/1", "utun1"), route("8000::/1", "utun1")])


V4_PIECES = (
    "1.0.0.0/8",
    "2.0.0.0/7",
    "4.0.0.0/6",
    "8.0.0.0/5",
    "16.0.0.0/4",
    "32.0.0.0/3",
    "64.0.0.0/2",
    "128.0.0.0/1",
)
V6_PIECES = ("100::/8", "200::/7", "400::/6", "800::/5", "1000::/4", "2000::/3", "4000::/2")


@pytest.mark.parametrize("pieces", [V4_PIECES, V6_PIECES, ("2000::/3",)])
def test_a_default_route_in_pieces(pieces: tuple[str, ...]) -> None:
    routes = [route(piece, "utun2", "198.18.0.1") for piece in pieces]
    assert default_pieces([DEFAULT, *routes]) == frozenset(routes)
    assert is_full_tunnel(routes)
    elsewhere = [replace(routes[-1], interface="utun3")]
    assert len(pieces) == 1 or not default_pieces([*routes[:3], *elsewhere])
    assert not default_pieces([replace(item, scoped=True) for item in routes])


def test_pieces_may_leave_out_private_ranges_and_more_specific_routes_are_none() -> None:
    pieces = [
        route(str(net), "utun2")
        for net in (IPSet(map(IPNetwork, V4_PIECES)) - IPSet(["192.168.0.0/16"])).iter_cidrs()
    ]
    company = route("10.0.0.0/8", "utun2")
    assert default_pieces([*pieces, company]) == frozenset(pieces)
