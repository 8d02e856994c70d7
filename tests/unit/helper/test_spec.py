"""What the two containers are: rendered files, rights, and when a new container is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from macnet.choices import CompLzo
from macnet.engine import ContainerSpec
from macnet.helper.spec import (
    HelperRoutes,
    HelperSpec,
    client_address,
    container_name,
    parse_pushed,
    parse_subnets,
    relay_container,
    render_client,
    render_config,
    render_subnets,
    server_container,
    server_files,
    tunnel_subnet6,
)
from tests.unit.helper.examples import APP, DEFAULT, ROUTES, SIX, SPEC, TOKEN, pki


def directives(spec: HelperSpec) -> list[str]:
    lines = render_config(spec).splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("value", ["no", "yes", "adaptive"])
def test_comp_lzo_is_as_asked_for(value: str) -> None:
    assert f"comp-lzo {value}" in directives(replace(SPEC, comp_lzo=CompLzo(value)))


def test_comp_lzo_off_leaves_the_line_out() -> None:
    assert not any("comp" in line for line in directives(replace(SPEC, comp_lzo=CompLzo.OFF)))


def test_the_server_config_has_the_settings_and_no_shell() -> None:
    lines = directives(SPEC)
    assert "server 192.168.255.0 255.255.255.0 nopool" in lines
    assert "tun-mtu 16000" in lines
    assert "socket-flags TCP_NODELAY" in lines
    assert "script-security 1" in lines
    assert "verify-client-cert require" in lines
    assert not [line for line in lines if line.startswith(("push", "route", "up ", "down "))]


def test_addresses_of_the_tunnel() -> None:
    assert client_address(SPEC.tunnel_subnet) == IPAddress("192.168.255.2")
    one, other = tunnel_subnet6(SPEC.tunnel_subnet), tunnel_subnet6(IPNetwork("10.8.0.0/24"))
    assert one != other
    assert all(net in IPNetwork("fd00::/8") and net.prefixlen == 64 for net in (one, other))


def test_names_of_containers() -> None:
    assert container_name("macnet", "server") == "macnet-server"
    assert container_name("colima", "relay") == "macnet-colima-relay"


# Rights


def test_the_server_has_one_right_and_one_port_on_loopback() -> None:
    server = server_container(SPEC)
    assert list(server.cap_add) == ["NET_ADMIN"]
    assert server.publish == {1194: ("127.0.0.1", 13194)}
    assert server.pid_mode is None
    assert server.network == "bridge"
    assert not server.security_opt


def test_the_relay_has_what_pasta_needs_and_no_port() -> None:
    relay = relay_container(SPEC)
    assert sorted(relay.cap_add) == ["NET_ADMIN", "SYS_ADMIN"]
    assert relay.publish == {}
    assert (relay.network, relay.pid_mode) == ("host", "host")
    assert relay.environment["MACNET_RELAY_ADDRESS"] == "100.64.0.2"
    assert relay.environment["MACNET_RELAY_GATEWAY"] == "100.64.0.1"
    assert relay.environment["MACNET_RELAY_PREFIX"] == "30"


@pytest.mark.parametrize("make", [server_container, relay_container])
def test_the_token_is_in_no_label_and_no_argument(
    make: Callable[[HelperSpec], ContainerSpec],
) -> None:
    container = make(SPEC)
    assert container.environment["MACNET_SERVER"] == TOKEN
    shown = str([container.labels, container.command, container.health, container.name])
    assert TOKEN not in shown


# When a new container is needed


def test_the_digest_is_stable() -> None:
    assert SPEC.digest() == replace(SPEC).digest()
    assert server_container(SPEC).labels["io.macnet.spec"] == SPEC.digest()
    assert relay_container(SPEC).labels["io.macnet.spec"] == SPEC.digest()
    assert TOKEN not in SPEC.digest()


@pytest.mark.parametrize("field", list(asdict(SPEC)))
def test_each_setting_is_in_the_digest(field: str) -> None:
    other: Any = {
        "port": 13195,
        "tunnel_subnet": IPNetwork("10.8.0.0/24"),
        "relay_subnet": IPNetwork("100.64.0.4/30"),
        "tun_mtu": 1500,
        "comp_lzo": CompLzo.YES,
    }.get(field, "another")
    assert replace(SPEC, **{field: other}).digest() != SPEC.digest()


# Files


def test_the_files_of_the_server_and_their_modes() -> None:
    files = server_files(SPEC, pki(), ROUTES)
    secret = {name for name, (_, mode) in files.items() if mode == 0o600}
    assert secret == {"macnet/server.key", "macnet/tls-crypt.key"}
    assert all(mode in (0o600, 0o644) for _, mode in files.values())
    assert files["macnet/server.key"][0] == pki().server_key.encode()
    assert files["macnet/subnets"][0] == b"172.17.0.0/16\n172.82.0.0/24\nfd00:82::/64\n"
    client_key = pki().client_key.encode()
    assert not any(client_key in data for data, _ in files.values())


def test_a_remap_is_written_as_seen_and_real() -> None:
    seen = IPNetwork("10.200.1.0/24")
    text = render_subnets(HelperRoutes(subnets=(DEFAULT, APP), remaps=((seen, APP),)))
    assert text == "172.17.0.0/16\n10.200.1.0/24=172.82.0.0/24\n"
    assert parse_subnets(text) == (DEFAULT, seen)


def test_pushed_routes_and_the_clients_address() -> None:
    text = render_client(SPEC.tunnel_subnet, HelperRoutes((), pushed=(SIX, APP)))
    assert text.splitlines() == [
        "ifconfig-push 192.168.255.2 255.255.255.0",
        f"ifconfig-ipv6-push {tunnel_subnet6(SPEC.tunnel_subnet)[2]}/64",
        'push "route 172.82.0.0 255.255.255.0"',
        'push "route-ipv6 fd00:82::/64"',
    ]
    assert parse_pushed(text) == (APP, SIX)


SUBNETS = st.builds(
    lambda address, prefix: IPNetwork((address, prefix), version=4).cidr,
    st.integers(min_value=0, max_value=2**32 - 1),
    st.integers(min_value=8, max_value=32),
)


@given(st.lists(SUBNETS, unique=True, max_size=10))
def test_what_is_written_is_read_again(subnets: list[IPNetwork]) -> None:
    routes = HelperRoutes(subnets=tuple(subnets), pushed=tuple(subnets))
    assert parse_subnets(render_subnets(routes)) == tuple(subnets)
    assert set(parse_pushed(render_client(SPEC.tunnel_subnet, routes))) == set(subnets)
