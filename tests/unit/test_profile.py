"""The profile has what OpenVPN needs and nothing that Tunnelblick refuses."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from macnet.choices import CompLzo
from macnet.profile import Profile, parse_profile_routes, render_profile
from tests.lab.standin.rules import SAFE


@dataclass(frozen=True)
class Credentials:
    """Stand-ins that are no keys."""

    ca_cert: str = "THE CA\n"
    client_cert: str = "THE CERT\n"
    client_key: str = "THE KEY\n"
    tls_crypt: str = "THE STATIC KEY\n"
    server_name: str = "macnet-server"


PROFILE = Profile(
    port=13194,
    routes=(IPNetwork("172.17.0.0/16"), IPNetwork("fd00:5::/64")),
    comp_lzo=CompLzo.NO,
    tun_mtu=16000,
    pki=Credentials(),
)


def directives(text: str) -> list[str]:
    """The lines that OpenVPN acts on, those of inline blocks left out."""
    result: list[str] = []
    block: str | None = None
    for line in text.splitlines():
        if block:
            block = None if line == f"</{block}>" else block
        elif line.startswith("<"):
            block = line.strip("<>")
            result.append(block)
        elif line and not line.startswith("#"):
            result.append(line)
    assert block is None, f"<{block}> is not closed"
    return result


@pytest.mark.parametrize("comp_lzo", list(CompLzo))
@pytest.mark.parametrize("routes", [(), PROFILE.routes])
def test_every_directive_is_safe_for_tunnelblick(
    comp_lzo: CompLzo, routes: tuple[IPNetwork, ...]
) -> None:
    text = render_profile(replace(PROFILE, comp_lzo=comp_lzo, routes=routes))
    assert {line.split()[0] for line in directives(text)} <= SAFE


def test_it_says_where_to_connect_and_whom_to_trust() -> None:
    lines = directives(render_profile(PROFILE))
    for wanted in (
        "client",
        "dev tun",
        "proto tcp-client",
        "remote 127.0.0.1 13194",
        "remote-cert-tls server",
        "verify-x509-name macnet-server name",
        "tls-version-min 1.2",
        "tun-mtu 16000",
        "mssfix 0",
        "socket-flags TCP_NODELAY",
    ):
        assert lines.count(wanted) == 1, wanted
    assert lines[-4:] == ["ca", "cert", "key", "tls-crypt"]


@pytest.mark.parametrize(
    ("choice", "lines"),
    [
        ("no", ["comp-lzo no"]),
        ("yes", ["comp-lzo yes"]),
        ("adaptive", ["comp-lzo adaptive"]),
        ("off", []),
    ],
)
def test_compression_says_what_was_chosen(choice: str, lines: list[str]) -> None:
    text = render_profile(replace(PROFILE, comp_lzo=CompLzo(choice)))
    assert [line for line in directives(text) if "comp" in line] == lines


@pytest.mark.parametrize(
    ("pushed", "ignored"),
    [
        ("redirect-gateway def1", True),
        ("redirect-private", True),
        ("route 0.0.0.0 0.0.0.0", True),
        ("route 0.0.0.0 128.0.0.0", True),
        ("route 128.0.0.0 128.0.0.0", True),
        ("route-ipv6 ::/0", True),
        ("route-ipv6 ::/1", True),
        ("route-ipv6 8000::/1", True),
        ("route-ipv6 2000::/3", True),
        ("route 128.0.0.0 255.255.0.0", False),
        ("route-ipv6 2000::/64", False),
        ("dhcp-option DNS 10.0.0.1", True),
        ("dns server 1 address 10.0.0.1", True),
        ("route 172.30.0.0 255.255.0.0", False),
        ("route-ipv6 fd00:9::/64", False),
        ("route-gateway 192.168.255.1", False),
        ("topology subnet", False),
        ("ifconfig 192.168.255.2 255.255.255.0", False),
        ("ifconfig-ipv6 fd00::2/64 fd00::1", False),
        ("tun-mtu 16000", False),
        ("ping 10", False),
        ("peer-id 0", False),
        ("cipher AES-256-GCM", False),
        ("protocol-flags cc-exit tls-ekm", False),
    ],
)
def test_a_server_can_push_routes_and_neither_a_default_route_nor_dns(
    pushed: str, ignored: bool
) -> None:
    # OpenVPN compares the beginning of the option (`apply_pull_filter` in options.c).
    filters = [line.split('"')[1] for line in directives(render_profile(PROFILE)) if '"' in line]
    assert any(pushed.startswith(prefix) for prefix in filters) is ignored


def test_the_first_retry_is_at_once_and_later_ones_are_soon() -> None:
    assert "connect-retry 0 2" in directives(render_profile(PROFILE))


#: Against a default route, whole or in halves.
_DEFAULT_FILTERS = [
    prefix
    for prefix in directives(render_profile(replace(PROFILE, routes=())))
    if prefix.startswith('pull-filter ignore "route')
]


def test_each_route_is_set_and_its_pushed_copy_ignored() -> None:
    lines = directives(render_profile(PROFILE))
    assert [line for line in lines if "route" in line][len(_DEFAULT_FILTERS) :] == [
        "route 172.17.0.0 255.255.0.0",
        "route-ipv6 fd00:5::/64",
        'pull-filter ignore "route 172.17.0.0 255.255.0.0"',
        'pull-filter ignore "route-ipv6 fd00:5::/64"',
    ]


def test_the_keys_are_inline() -> None:
    text = render_profile(PROFILE)
    assert "\n<ca>\nTHE CA\n</ca>\n" in text
    assert "\n<cert>\nTHE CERT\n</cert>\n" in text
    assert "\n<key>\nTHE KEY\n</key>\n" in text
    assert text.endswith("\n<tls-crypt>\nTHE STATIC KEY\n</tls-crypt>\n")


def test_tunnelblick_stores_the_text_unchanged() -> None:
    # Its converter drops CRs, adds a final newline, and refuses a backslash at a line's end.
    text = render_profile(PROFILE)
    assert text == render_profile(replace(PROFILE))
    assert "\r" not in text
    assert "\\\n" not in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "private key" in text.partition("\nclient\n")[0]


networks = st.one_of(
    st.builds(
        lambda value, bits: IPNetwork((value, bits), version=4).cidr,
        st.integers(0, 2**32 - 1),
        st.integers(1, 32),
    ),
    st.builds(
        lambda value, bits: IPNetwork((value, bits), version=6).cidr,
        st.integers(0, 2**128 - 1),
        st.integers(1, 128),
    ),
)


@given(st.lists(networks, max_size=8, unique=True))
def test_routes_are_read_back(routes: list[IPNetwork]) -> None:
    text = render_profile(replace(PROFILE, routes=tuple(routes)))
    assert parse_profile_routes(text) == tuple(routes)


@given(st.lists(networks, max_size=8, unique=True))
def test_a_filter_stops_nothing_that_the_profile_does_not_carry(routes: list[IPNetwork]) -> None:
    lines = directives(render_profile(replace(PROFILE, routes=tuple(routes))))
    pushed = [line for line in lines if line.startswith("route")]
    filters = [line.split('"')[1] for line in lines if line.startswith('pull-filter ignore "route')]
    filters = filters[len(_DEFAULT_FILTERS) :]
    for text, other in zip(pushed, routes, strict=True):
        for prefix, carried in zip(filters, routes, strict=True):
            if text.startswith(prefix):
                assert other in carried


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    parse_profile_routes(f"route {text}\n{text}\nroute-ipv6 {text}")


def test_a_file_changed_by_hand_is_read_as_far_as_it_goes() -> None:
    text = (
        "route 10.1.0.0 255.255.0.0 vpn_gateway 5\n"
        "  route 10.2.3.4\n"
        "route somewhere 255.0.0.0\n"
        "#route 10.3.0.0 255.255.0.0\n"
        'pull-filter ignore "route 10.4.0.0 255.255.0.0"\n'
        "route-ipv6 fd00::/8 fe80::1\n"
        "route-nopull\n"
    )
    assert parse_profile_routes(text) == (
        IPNetwork("10.1.0.0/16"),
        IPNetwork("10.2.3.4/32"),
        IPNetwork("fd00::/8"),
    )
