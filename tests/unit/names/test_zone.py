"""Who gets which name, under which addresses, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from macnet.models import Further, ReachKind
from macnet.names import build_zone, names_table
from macnet.names.claims import Kind
from macnet.names.view import add_names
from macnet.networks import parse_networks, select_networks, with_further
from tests.unit.names.samples import (
    DOMAIN,
    Engine,
    Row,
    addresses,
    container,
    names_in,
    refusals,
    service,
    zone_of,
)

DATA = Path(__file__).parents[2] / "data" / "engine"


def recorded(version: str) -> list[list[Row]]:
    """The networks and containers of an engine."""
    return [
        json.loads((DATA / f"{kind}-{version}.json").read_text())
        for kind in ("networks", "containers")
    ]


@pytest.mark.parametrize("version", ["28.5.2", "20.10.24"])
def test_recorded_answers(version: str) -> None:
    networks, containers = recorded(version)
    selected = select_networks(parse_networks(networks, containers), include=("*",), exclude=())
    zone = build_zone(DOMAIN, selected, containers, {})
    assert addresses(zone, "redis") == ["172.82.0.100"]
    assert addresses(zone, "redis.app") == ["172.82.0.100"]
    assert addresses(zone, "six-web") == ["172.82.6.2", "fd00:82::2"]
    assert addresses(zone, "macnet-relay") == []
    assert zone.reverse[IPAddress("172.82.0.100")] == "redis.docker.test"
    assert zone.refused == ()


def test_recorded_answers_of_podman() -> None:
    """It gives the network's name for its id, and calls the default one by another name there."""
    networks, containers = recorded("podman-4.3.1")
    selected = select_networks(parse_networks(networks, containers), include=("*",), exclude=())
    zone = build_zone(DOMAIN, selected, containers, {})
    assert addresses(zone, "web") == addresses(zone, "web.tmp_default") == ["10.89.0.3"]
    assert addresses(zone, "plain") == addresses(zone, "plain.bridge") == ["10.88.0.3"]
    assert addresses(zone, "plain.podman") is None
    assert zone.reverse[IPAddress("10.88.0.3")] == "plain.docker.test"
    assert zone.names["plain.docker.test"].networks == ("bridge",)
    assert zone.refused == ()
    shown = {
        (point.network, point.container): point.names
        for item in add_names(selected, zone)
        for point in item.network.endpoints
    }
    assert shown == {
        ("bridge", "plain"): ("plain.docker.test", "plain.bridge.docker.test"),
        ("tmp_default", "web"): ("web.docker.test", "web.tmp_default.docker.test"),
    }
    excluded = select_networks(
        parse_networks(networks, containers), include=("*",), exclude=("bridge",)
    )
    zone = build_zone(DOMAIN, excluded, containers, {})
    assert zone.names["plain.docker.test"].why == "left out by --exclude"


def test_recorded_answers_of_podman_5() -> None:
    """It gives ids of networks, but its default one still has two names."""
    networks, containers = recorded("podman-5.8.6")
    selected = select_networks(parse_networks(networks, containers), include=("*",), exclude=())
    zone = build_zone(DOMAIN, selected, containers, {})
    assert addresses(zone, "redis") == addresses(zone, "redis.app") == ["172.82.0.100"]
    assert addresses(zone, "two-homes") == ["172.82.0.3", "10.89.0.2"]
    assert addresses(zone, "six-web") == ["172.82.6.2", "fd00:82::2"]
    assert addresses(zone, "web") == addresses(zone, "web.bridge") == ["10.88.0.2"]
    assert addresses(zone, "web.podman") is None
    assert zone.refused == ()


def test_what_also_reaches_is_no_containers_home() -> None:
    """A range may hold the addresses of a network whose other name only Podman knows."""
    networks, containers = recorded("podman-4.3.1")
    wide = Further("10.88.0.0/13", ReachKind.CIDR, (IPNetwork("10.88.0.0/13"),))
    parsed = with_further(parse_networks(networks, containers), [wide])
    selected = select_networks(parsed, include=("*",), exclude=())
    assert addresses(build_zone(DOMAIN, selected, containers, {}), "plain") == ["10.88.0.3"]


def test_a_container_has_its_name_and_that_of_each_network() -> None:
    zone = zone_of(container("Two", "extra=172.21.0.2", "app=172.20.0.2", "app=fd00:20::2"))
    assert addresses(zone, "two") == ["172.20.0.2", "fd00:20::2", "172.21.0.2"]
    assert addresses(zone, "two.extra") == ["172.21.0.2"]
    assert addresses(zone, "two.app") == ["172.20.0.2", "fd00:20::2"]
    assert sorted(names_in(zone)) == ["two", "two.app", "two.extra"]


def test_the_network_of_the_default_route_comes_first() -> None:
    row = container("a", "app=172.20.0.2", "extra=172.21.0.2", priority={"extra": 5})
    assert addresses(zone_of(row), "a") == ["172.21.0.2", "172.20.0.2"]


def test_names_have_the_addresses_of_this_host() -> None:
    engine = Engine([container("a", "app=172.20.3.7")], remap={"172.20.0.0/16": "10.200.0.0/16"})
    zone = engine.zone()
    assert addresses(zone, "a") == ["10.200.3.7"]
    assert zone.reverse == {IPAddress("10.200.3.7"): "a.docker.test"}


def test_a_name_without_a_routed_network_exists_and_says_why() -> None:
    engine = Engine([container("a", "app=172.20.0.2"), container("h", "host=")], exclude=("app",))
    zone = engine.zone()
    assert addresses(zone, "a") == [] == addresses(zone, "h")
    assert zone.names["a.docker.test"].why == "left out by --exclude"
    assert "engine's own addresses" in (zone.names["h.docker.test"].why or "")
    assert zone_of(container("n")).names["n.docker.test"].why == "it is on no network"


def test_a_container_in_the_network_of_another_has_its_addresses() -> None:
    main = container("main", "app=172.20.0.2")
    side = container("side", mode=f"container:{main['Id']}", created=2)
    zone = zone_of(side, main)
    assert addresses(zone, "side") == ["172.20.0.2"]
    assert zone.reverse == {IPAddress("172.20.0.2"): "main.docker.test"}


def test_the_network_of_another_may_be_that_of_a_third() -> None:
    main = container("main", "app=172.20.0.2")
    side = container("side", mode=f"container:{main['Id']}", created=2)
    beside = container("beside", mode=f"container:{side['Id']}", created=3)
    zone = zone_of(beside, side, main)
    assert addresses(zone, "beside") == addresses(zone, "side") == ["172.20.0.2"]
    # Without the one in the middle nobody knows whose network it is.
    assert addresses(zone_of(beside, main), "beside") == []


def test_networks_of_each_other_end_nothing() -> None:
    """No engine starts such containers, but a listing is not made in one moment."""
    one, two = container("one"), container("two", created=2)
    one["HostConfig"]["NetworkMode"] = f"container:{two['Id']}"
    two["HostConfig"]["NetworkMode"] = f"container:{one['Id']}"
    zone = zone_of(one, two, container("three", mode=f"container:{one['Id']}"))
    for name in ("one", "two", "three"):
        assert addresses(zone, name) == []


def test_a_service_has_the_addresses_of_all_its_replicas() -> None:
    rows = [
        container(f"shop-web-{i}", f"app=172.20.0.{i}", labels=service("shop", "web"), created=i)
        for i in (1, 2, 3)
    ]
    other = container("blog-web-1", "app=172.20.0.9", labels=service("blog", "web"))
    zone = zone_of(*rows, other)
    assert addresses(zone, "web.shop") == ["172.20.0.1", "172.20.0.2", "172.20.0.3"]
    assert addresses(zone, "web.blog") == ["172.20.0.9"]
    assert addresses(zone, "web") is None
    assert zone.names["web.shop.docker.test"].containers == tuple(
        f"shop-web-{i}" for i in (1, 2, 3)
    )


def test_aliases_are_add_names_one_network() -> None:
    a, b = (
        container("a", "app=172.20.0.2", "extra=172.21.0.2"),
        container("b", "app=172.20.0.3", created=2),
    )
    engine = Engine([a, b])
    engine.aliases = {
        "a": {"app": ["a", "cache", a["Id"][:12]], "extra": ["a"]},
        "b": {"app": ["b", "Cache"]},
    }
    zone = engine.zone()
    assert addresses(zone, "cache.app") == ["172.20.0.2", "172.20.0.3"]
    assert addresses(zone, "cache.extra") is None
    assert addresses(zone, "cache") is None
    assert not any(a["Id"][:12] in name for name in zone.names)
    assert zone.refused == ()


def test_the_kinds_of_names_go_before_each_other() -> None:
    dotted = container("web.shop", "app=172.20.0.2", created=5)
    replica = container("shop-web-1", "app=172.20.0.3", labels=service("shop", "web"))
    label = container("l", "app=172.20.0.4", labels={"io.macnet.names": "web.shop, db.app"})
    engine = Engine([label, dotted, replica, container("x", "app=172.20.0.5")])
    engine.aliases = {"x": {"app": ["db"]}}
    zone = engine.zone()
    assert addresses(zone, "web.shop") == ["172.20.0.2"]
    assert addresses(zone, "db.app") == ["172.20.0.5"]
    assert [(item.kind, item.container) for item in zone.refused] == [
        (Kind.SERVICE, "shop-web-1"),
        (Kind.LABEL, "l"),
        (Kind.LABEL, "l"),
    ]
    assert refusals(zone)["db.app"] == "the network alias of container x has it"


def test_names_differ_by_more_than_case() -> None:
    zone = zone_of(
        container("Web", "app=172.20.0.3", created=2), container("web", "app=172.20.0.2")
    )
    assert addresses(zone, "web") == ["172.20.0.2"]
    assert refusals(zone)["web"] == "container web has it"


def test_a_hyphen_does_for_an_underscore() -> None:
    zone = zone_of(container("my_app", "app=172.20.0.2"), container("a_b", "app=172.20.0.3"))
    assert addresses(zone, "my-app") == addresses(zone, "my_app") == ["172.20.0.2"]
    zone = zone_of(container("my_app", "app=172.20.0.2"), container("my-app", "app=172.20.0.3"))
    assert addresses(zone, "my-app") == ["172.20.0.3"]
    assert zone.refused == ()


def test_labels_give_names_and_wildcards() -> None:
    label = {"io.macnet.names": " blog, *.blog ,,Shop.Example"}
    zone = zone_of(container("a", "app=172.20.0.2", labels=label))
    for name in ("blog", "x.blog", "y.x.blog", "shop.example"):
        assert addresses(zone, name) == ["172.20.0.2"]
    assert addresses(zone, "example") is None
    assert zone.exists("example.docker.test")
    assert not zone.exists("x.example.docker.test")


def test_a_wildcard_does_not_reach_below_a_name_that_exists() -> None:
    label = {"io.macnet.names": "*.blog,a.b.blog"}
    zone = zone_of(container("a", "app=172.20.0.2", labels=label))
    assert addresses(zone, "x.blog") == ["172.20.0.2"]
    assert addresses(zone, "x.b.blog") is None
    assert addresses(zone, "blog") is None


def test_replicas_share_their_labels_and_others_do_not() -> None:
    labels = {"io.macnet.names": "blog", **service("p", "web")}
    one = container("p-web-1", "app=172.20.0.2", labels=labels)
    two = container("p-web-2", "app=172.20.0.3", labels=labels, created=2)
    thief = container("t", "app=172.20.0.4", labels={"io.macnet.names": "blog"}, created=3)
    zone = zone_of(one, two, thief)
    assert addresses(zone, "blog") == ["172.20.0.2", "172.20.0.3"]
    assert refusals(zone) == {"blog": "the label of container p-web-1 has it"}


@pytest.mark.parametrize("wildcard", ["*.web", "*.shop", "*.app"])
def test_a_wildcard_takes_no_place_of_others(wildcard: str) -> None:
    victim = container("web", "app=172.20.0.2", labels=service("shop", "db"))
    thief = container("t", "extra=172.21.0.4", labels={"io.macnet.names": wildcard})
    zone = zone_of(victim, thief)
    assert addresses(zone, f"x{wildcard[1:]}") is None
    assert refusals(zone) == {wildcard: "other containers have names there"}


PROBE = "0123456789abcdef" * 2 + ".probe"


@pytest.mark.parametrize(
    "name",
    [
        "x..y",
        ".",
        "..",
        ".x",
        "x.",
        "ä",
        "x y",
        "x\ny",
        "x" * 64,
        ".".join(["x" * 50] * 5),
        "*",
        "*.*",
        "x.*",
        "**.x",
        "a*.x",
        PROBE,
        "\x1b[31mred",
        "x\x00",
        "a/b",
        "-\u202e",
    ],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    zone = zone_of(container("a", "app=172.20.0.2", labels={"io.macnet.names": name}))
    assert sorted(names_in(zone)) == ["a", "a.app"]
    (refused,) = zone.refused
    assert refused.name.isprintable()
    assert len(refused.name) <= 80
    assert refused.container == "a"


def test_dots_make_labels_and_nothing_leaves_the_zone() -> None:
    engine = Engine([container("a", "app=172.20.0.2")])
    engine.aliases = {"a": {"app": ["x.evil.com", "evil.com.", "y" * 300]}}
    zone = engine.zone()
    assert addresses(zone, "x.evil.com.app") == ["172.20.0.2"]
    assert len(zone.refused) == 2
    assert all(name.endswith(".docker.test") for name in zone.names)


def test_a_container_that_others_link_to_has_its_own_name() -> None:
    row = {**container("db", "app=172.20.0.2"), "Names": ["/web/alias", "/db"]}
    zone = zone_of(row)
    assert addresses(zone, "db") == ["172.20.0.2"]
    assert refusals(zone) == {}
    [found] = [n for n in Engine([row]).select() if n.network.name == "app"]
    assert [point.container for point in found.network.endpoints] == ["db"]


def test_a_container_named_probe() -> None:
    assert addresses(zone_of(container("probe", "app=172.20.0.2")), "probe") == ["172.20.0.2"]


def test_the_table_shows_each_name_once_and_the_refused_last() -> None:
    label = {"io.macnet.names": "*,blog"}
    zone = zone_of(container("my_app", "app=172.20.0.2", labels=label))
    view = names_table(zone)
    assert view.domain == DOMAIN
    assert [(row.name, row.given) for row in view.names] == [
        ("blog.docker.test", True),
        ("my_app.app.docker.test", True),
        ("my_app.docker.test", True),
        ("*.docker.test", False),
    ]
    assert view.names[0].networks == ("app",)
    assert view.names[-1].why == "a wildcard needs a name behind it, like *.blog"


def test_networks_get_the_names_of_their_containers() -> None:
    blog = container(
        "my_app", "app=172.20.0.2", "extra=172.21.0.2", labels={"io.macnet.names": "blog"}
    )
    engine = Engine([blog, container("gone", "bridge=172.17.0.9")], exclude=("bridge",))
    found = {
        (point.network, point.container): point.names
        for item in add_names(engine.select(), engine.zone())
        for point in item.network.endpoints
    }
    both = ("blog.docker.test", "my_app.docker.test")
    assert found == {
        ("app", "my_app"): (*both, "my_app.app.docker.test"),
        ("extra", "my_app"): (*both, "my_app.extra.docker.test"),
        ("bridge", "gone"): (),
    }


text = st.text(max_size=70) | st.from_regex(r"(\*\.)?[a-z0-9_.-]{1,10}", fullmatch=True)


@st.composite
def engines(draw: st.DrawFn) -> Engine:
    names = draw(st.lists(text, min_size=1, max_size=5, unique=True))
    engine = Engine([])
    for i, name in enumerate(names):
        labels = {"io.macnet.names": draw(text)} | service(draw(text), draw(text))
        at = draw(st.sets(st.sampled_from([f"app=172.20.0.{i + 2}", f"extra=172.21.0.{i + 2}"])))
        engine.rows.append(container(name, *sorted(at), labels=labels, created=i))
        engine.aliases[name.lstrip("/")] = {"app": draw(st.lists(text, max_size=3))}
    engine.aliases = {
        name: one
        for name, one in engine.aliases.items()
        if any(row["Names"][0][1:] == name for row in engine.rows)
    }
    return engine


@settings(deadline=None)  # the machine may be busy
@given(engines())
def test_hostile_names_never_leave_the_zone(engine: Engine) -> None:
    zone = engine.zone()
    own = {str(a) for row in engine.rows for a in _own(row)}
    for name, entry in zone.names.items():
        assert name == entry.name
        assert name.endswith(".docker.test")
        assert len(name) <= 253
        labels = name.split(".")
        assert all(0 < len(label) < 64 and label.isascii() for label in labels)
        assert {str(address) for address in entry.addresses} <= own
    assert all(item.name.isprintable() and item.container.isprintable() for item in zone.refused)
    # Each container keeps its own name, whatever the others ask for.
    for row in engine.rows:
        full = f"{row['Names'][0].lstrip('/').lower()}.docker.test"
        if full in zone.names and not full.startswith("*."):  # only a label may ask for those
            assert zone.names[full].kind is Kind.CONTAINER


def _own(row: Row) -> list[str]:
    settings = row["NetworkSettings"]["Networks"].values()
    return [item["IPAddress"] for item in settings]
