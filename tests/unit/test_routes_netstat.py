"""macOS's netstat: both layouts, abbreviations, scoped rows, and garbage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from macnet.models import Route
from macnet.routes import (
    UnreadableRoutes,
    parse_netstat,
)
from tests.unit.route_samples import DATA, HEADER, macos, networks, route


def test_newer_netstat() -> None:
    assert macos("netstat-new.txt") == (
        route("0.0.0.0/1", "utun2"),
        route("0.0.0.0/0", "en0", "192.168.1.1"),
        route("10.200.200.3/32", "utun2", "10.200.200.3"),
        route("127.0.0.0/8", "lo0", "127.0.0.1"),
        route("128.0.0.0/1", "utun2"),
        route("169.254.0.0/16", "en0"),
        route("192.168.1.0/24", "en0"),
        route("192.168.1.1/32", "en0"),
        route("192.168.1.1/32", "en0", scoped=True),
        route("224.0.0.0/4", "en0"),
    )


def test_wide_netstat_with_scoped_default() -> None:
    assert macos("netstat-wide.txt") == (
        route("0.0.0.0/0", "utun6", "172.32.252.129"),
        route("0.0.0.0/0", "bridge100", scoped=True),
        route("10.0.0.0/10", "utun6", "172.32.252.129"),
        route("10.1.0.0/16", "utun6", "172.32.252.129"),
        route("172.31.1.0/25", "utun6", "172.32.252.129"),
        route("172.32.252.128/27", "utun6", "172.32.252.137"),
        route("192.168.194.0/24", "bridge101"),
    )


def test_netstat_with_docker_subnets() -> None:
    assert macos("netstat-docker.txt") == (
        route("10.0.0.0/24", "utun3"),
        route("10.33.33.2/32", "utun3", "10.33.33.1"),
        route("100.96.0.0/12", "utun4"),
        route("172.17.0.0/16", "utun3"),
        route("172.200.0.0/16", "utun3"),
    )


def test_older_netstat_with_refs_and_use() -> None:
    assert macos("netstat-old.txt") == (
        route("0.0.0.0/0", "en0", "192.168.31.1"),
        route("192.168.64.4/32", "bridge1", scoped=True),
    )


def test_netstat_inet6() -> None:
    assert macos("netstat-inet6.txt") == (
        route("::/0", "utun0", "fe80::", scoped=True),
        route("::1/128", "lo0", "::1"),
        route("fd00:17::/64", "utun4", "fd00:99::1"),
        route("fe80::/64", "lo0", "fe80::1", scoped=True),
        route("fe80::1/128", "lo0", scoped=True),
        route("ff02::/32", "en0", scoped=True),
    )


def test_the_rows_of_a_mac_with_tailscale() -> None:
    """Flags with an I or i, host rows, subnets of odd length."""
    rows = (
        "10.23.25/24        link#14            UCS                   en0      !\n"
        "100.64/10          link#28            UCS                 utun8       \n"
        "100.100.100.100/32 link#28            UCS                 utun8       \n"
        "100.101.102.103    100.101.102.103    UH                  utun8       \n"
        "172.20.10/28       link#14            UCS                   en0      !\n"
        "192.168.64         link#48            UC              bridge100      !\n"
        "192.168.64.5       3a:1b:2c:3d:4e:5f  UHLWIi          bridge100   1071\n"
        "default            link#48            UCSIg           bridge100      !\n"
        "17.57.144.52       10.23.25.1         UHWIi                 en0       \n"
    )
    assert parse_netstat(HEADER + rows) == (
        route("10.23.25.0/24", "en0"),
        route("100.64.0.0/10", "utun8"),
        route("100.100.100.100/32", "utun8"),
        route("100.101.102.103/32", "utun8", "100.101.102.103"),
        route("172.20.10.0/28", "en0"),
        route("192.168.64.0/24", "bridge100"),
        route("192.168.64.5/32", "bridge100", scoped=True),
        route("0.0.0.0/0", "bridge100", scoped=True),
        route("17.57.144.52/32", "en0", "10.23.25.1", scoped=True),
    )


def test_both_families_in_one_output() -> None:
    text = "".join(
        (DATA / "macos" / name).read_text() for name in ("netstat-old.txt", "netstat-inet6.txt")
    )
    assert parse_netstat(text) == macos("netstat-old.txt") + macos("netstat-inet6.txt")


def test_netstat_skips_what_is_no_route() -> None:
    rows = (
        "10.1/x  link#4  UC  en0\n1.2.3.4.5  link#4  UC  en0\nshort row\n10.2/16  link#4  UC  en0\n"
    )
    assert parse_netstat(HEADER + rows) == (route("10.2.0.0/16", "en0"),)
    assert parse_netstat(HEADER) == ()


@pytest.mark.parametrize("text", ["", "netstat: sysctl: denied\n", "Kernel IP routing table\n"])
def test_netstat_without_a_table(text: str) -> None:
    with pytest.raises(UnreadableRoutes) as caught:
        parse_netstat(text)
    assert caught.value.exit_code == 8


def abbreviate(net: IPNetwork) -> str:
    """Print a destination as macOS does: zero octets at the end go, and a classful mask."""
    if net.prefixlen == 0:
        return "default"
    octets = str(net.network).split(".")
    while len(octets) > 1 and octets[-1] == "0" and 8 * (len(octets) - 1) >= net.prefixlen:
        octets.pop()
    shown = ".".join(octets)
    return shown if net.prefixlen == 8 * len(octets) else f"{shown}/{net.prefixlen}"


@given(networks)
def test_any_abbreviation_is_read_back(net: IPNetwork) -> None:
    [found] = parse_netstat(f"{HEADER}{abbreviate(net)}  link#4  UCS  en0\n")
    assert found.destination == net


@given(networks)
def test_a_full_destination_is_read_too(net: IPNetwork) -> None:
    [found] = parse_netstat(f"{HEADER}{net}  10.8.0.1  UGSc  utun3\n")
    assert (found.destination, found.gateway) == (net, IPAddress("10.8.0.1"))


@given(st.text())
def test_garbage_after_the_header_raises_nothing(text: str) -> None:
    parse_netstat(HEADER + text)


@given(st.integers(0, 2**128 - 1), st.integers(0, 128))
def test_any_inet6_destination(address: int, prefix: int) -> None:
    net = IPNetwork(f"{IPAddress(address, version=6)}/{prefix}").cidr
    shown = f"{net.network}%en0/{prefix}"
    [found] = parse_netstat(f"Internet6:\n{HEADER}{shown}  link#4  UCI  en0\n")
    assert found == Route(net, "en0", None, scoped=True)
