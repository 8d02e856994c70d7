"""Targets as people write them, and the containers that they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress

from macnet.checks.targets import Located, Target, locate_targets, parse_target
from macnet.errors import BadValue, UnknownTarget
from tests.unit.checks.fakes import container

ROWS = [
    container(0xABC1 << 240, "redis", {}),
    container(0xABD2 << 240, "shop-redis-1", {}),
    container(0x1234 << 240, "web", {}, State="exited"),
    container(0x77 << 248, "linked", {}, Names=["/web/alias", "/linked"]),
    container(0xFACE << 240, "abc1", {}),
]


@pytest.mark.parametrize(
    ("text", "name", "address", "port"),
    [
        ("redis", "redis", None, None),
        ("redis:6379", "redis", None, 6379),
        ("a_b-c.d1", "a_b-c.d1", None, None),
        ("172.28.0.3", None, "172.28.0.3", None),
        ("172.28.0.3:65535", None, "172.28.0.3", 65535),
        (" web ", "web", None, None),
        ("fd00::3", None, "fd00::3", None),
        ("[fd00::3]", None, "fd00::3", None),
        ("[fd00::3]:80", None, "fd00::3", 80),
        ("::ffff:80", None, "::ffff:80", None),
    ],
)
def test_parse(text: str, name: str | None, address: str | None, port: int | None) -> None:
    expected = IPAddress(address) if address else None
    assert parse_target(text) == Target(text, name, expected, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ":80",
        "redis:",
        "redis:0",
        "redis:65536",
        "redis:http",
        "redis:80/tcp",
        "redis:+80",
        "redis:٨٠",
        "172.28.0",
        "172.28.0.999",
        "172.28.0.0/16",
        "[172.28.0.3:80",
        "[]:80",
        "[fd00::3]80",
        "[fd00::3]:",
        "fd00::3::1",
        "fe80::1%en0",
        "[fe80::1%en0]:80",
        "-redis",
        "two words",
        "http://redis",
    ],
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(BadValue) as caught:
        parse_target(text)
    assert caught.value.hint


@given(st.text(max_size=20))
def test_parse_gives_a_target_or_bad_value(text: str) -> None:
    try:
        target = parse_target(text)
    except BadValue:
        return
    assert (target.name is None) != (target.address is None)
    assert target.port is None or 0 < target.port < 65536


def locate(text: str) -> Located:
    """The container of one target."""
    (located,) = locate_targets([parse_target(text)], ROWS)
    return located


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("redis", "redis"),
        ("redis:6379", "redis"),
        ("abd", "shop-redis-1"),
        ("1234", "web"),
        ("linked", "linked"),
        # A name goes before the beginning of another one's id.
        ("abc1", "abc1"),
    ],
)
def test_locate(text: str, name: str) -> None:
    assert locate(text).container == name


def test_locate_tells_the_state() -> None:
    assert locate("web").state == "exited"


def test_an_address_needs_no_container() -> None:
    assert locate("9.9.9.9").container_id is None


def test_unknown_name_suggests_similar_ones() -> None:
    with pytest.raises(UnknownTarget) as caught:
        locate("reddis")
    assert "redis" in (caught.value.hint or "")


def test_unknown_name_suggests_those_that_contain_it() -> None:
    with pytest.raises(UnknownTarget) as caught:
        locate("shop-redis")
    assert "shop-redis-1" in (caught.value.hint or "")


def test_unknown_name_without_any_similar() -> None:
    with pytest.raises(UnknownTarget) as caught:
        locate("zzzzzz")
    assert "docker ps" in (caught.value.hint or "")


def test_ambiguous_beginning_names_the_containers() -> None:
    with pytest.raises(UnknownTarget, match="redis, shop-redis-1"):
        locate("ab")
