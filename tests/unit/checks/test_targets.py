"""Targets as people write them, and the containers that they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress

from macnet import survey
from macnet.checks.targets import Places, Request, parse_target
from macnet.errors import BadValue, UnknownTarget
from macnet.names import Zone
from macnet.networks import Selected, parse_networks, select_networks
from tests.unit.checks.fakes import container, network
from tests.unit.names import samples

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
        ("http://172.17.0.2:8080/x?y#z", None, "172.17.0.2", 8080),
        ("http://172.17.0.2", None, "172.17.0.2", 80),
        ("HTTPS://Web/", "Web", None, 443),
        ("redis://redis:6379", "redis", None, 6379),
        ("redis://:pass@redis/0", "redis", None, None),
        ("http://[fd00::3]:81/", None, "fd00::3", 81),
    ],
)
def test_parse(text: str, name: str | None, address: str | None, port: int | None) -> None:
    expected = IPAddress(address) if address else None
    assert parse_target(text) == Request(name, expected, port)


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
        "http://",
        "http://redis:x/",
        "http://two words/",
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


def find(text: str) -> str | None:
    """The name of the container or network that a target means."""
    networks = parse_networks([network("app", "172.28.0.0/16", "172.28.0.1")], ROWS)
    selected = select_networks(networks, include=["*"], exclude=[])
    found = Places(selected, ROWS, find_zone=lambda: Zone("docker.test")).find(parse_target(text))
    if isinstance(found, Selected):
        return f"network {found.network.name}"
    return None if found is None else str(found.rows[0]["Names"][-1]).lstrip("/")


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
def test_find(text: str, name: str) -> None:
    assert find(text) == name


def test_a_network_can_be_named() -> None:
    assert find("app") == find("app:80") == "network app"


def test_an_address_needs_no_container() -> None:
    assert find("172.28.7.7") is None


def test_an_address_outside_every_network_is_refused() -> None:
    with pytest.raises(UnknownTarget, match="outside every network"):
        find("9.9.9.9")


def test_unknown_name_suggests_similar_ones() -> None:
    with pytest.raises(UnknownTarget) as caught:
        find("reddis")
    # Not also `redis.app` and the like, which are the same container.
    assert caught.value.hint == "did you mean redis?"


def test_unknown_name_suggests_those_that_contain_it() -> None:
    with pytest.raises(UnknownTarget) as caught:
        find("shop-redis")
    assert "shop-redis-1" in (caught.value.hint or "")


def test_unknown_name_without_any_similar() -> None:
    with pytest.raises(UnknownTarget) as caught:
        find("zzzzzz")
    assert "docker ps" in (caught.value.hint or "")


def test_ambiguous_beginning_names_the_containers() -> None:
    with pytest.raises(UnknownTarget, match="redis, shop-redis-1"):
        find("ab")


SHOP = [
    samples.container("shop-web-1", "app=172.20.0.2", labels=samples.service("shop", "web")),
    samples.container(
        "shop-web-2", "app=172.20.0.3", "extra=172.21.0.3", labels=samples.service("shop", "web")
    ),
    samples.container("Blog_1", "app=172.20.0.4", labels={"io.macnet.names": "blog,*.pages"}),
    {**samples.container("old"), "State": "exited"},
]


def in_domain(text: str, domain: str | None = "docker.test") -> list[str]:
    """What is to be tried for a name: containers and networks."""
    engine = samples.Engine(SHOP[:3], aliases={"shop-web-2": {"extra": ["front"]}})
    rows = [{"State": "running", **row} for row in SHOP]
    places = Places(engine.select(), rows, domain=domain, find_zone=engine.zone)
    bridges = survey.bridges(engine.select())
    found = places.place(parse_target(text), bridges, lambda identity: ())
    return [f"{target.container} {target.network}" for target in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("shop-web-1.docker.test:80", ["shop-web-1 app"]),
        ("web.shop", ["shop-web-1 app", "shop-web-2 app", "shop-web-2 extra"]),
        ("http://web.shop.docker.test/", ["shop-web-1 app", "shop-web-2 app", "shop-web-2 extra"]),
        ("front.extra", ["shop-web-2 extra"]),
        ("shop-web-2.app", ["shop-web-2 app"]),
        ("blog", ["Blog_1 app"]),
        ("a.pages.docker.test", ["Blog_1 app"]),
        ("blog-1", ["Blog_1 app"]),
        ("BLOG_1.DOCKER.TEST", ["Blog_1 app"]),
        ("old.docker.test", ["old old"]),
    ],
)
def test_a_name_in_the_domain_means_all_that_it_stands_for(text: str, found: list[str]) -> None:
    assert in_domain(text) == found


@pytest.mark.parametrize("domain", ["box.test", None])
def test_a_name_in_another_domain_or_while_names_are_off(domain: str | None) -> None:
    with pytest.raises(UnknownTarget) as caught:
        in_domain("web.shop.docker.test", domain)
    assert ("names are off" in str(caught.value)) is (domain is None)
    assert len(in_domain("web.shop", domain)) == 3


def test_a_name_that_nobody_has_suggests_names_of_the_domain() -> None:
    with pytest.raises(UnknownTarget) as caught:
        in_domain("web.shopp.docker.test")
    assert "web.shop" in (caught.value.hint or "")
