"""The picture: what is gathered, where it goes, and that names stay text."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from macnet import survey
from macnet.chart.chart import Chart, Reach, draw_chart, make_chart
from macnet.chart.layout import BOX_WIDTH, COLUMNS, GAP, MARGIN, lay_out, shorten
from macnet.chart.picture import picture_kind, render_page, render_svg, save_picture
from macnet.cli import tree
from macnet.errors import BadValue
from macnet.models import Endpoint, Network, Port, Subnet
from macnet.networks import Selected
from macnet.probe import PingResult, TcpOutcome, TcpResult
from macnet.survey import Answer
from tests.unit.checks.world import World

SVG = "{http://www.w3.org/2000/svg}"
REASON = "host network: its containers use the engine's own addresses, " + "and so on " * 9
HOSTILE = "<script>alert(1)</script>\"&'{{7*7}}"


def endpoint(name: str, address: str, network: str, *ports: Port) -> Endpoint:
    return Endpoint(name, f"id-{name}", network, (IPAddress(address),), ports)


def selected(name: str, cidr: str, *endpoints: Endpoint, seen: str | None = None) -> Selected:
    first = IPAddress(IPNetwork(cidr).first + 1)
    subnet = Subnet(IPNetwork(cidr), first, IPNetwork(seen) if seen else None)
    network = Network(name, name, "bridge", "local", False, (subnet,), endpoints)
    return Selected(network, (subnet,))


def answered(items: Sequence[Selected], *alive: str, doors: Sequence[str] = ()) -> list[Answer]:
    """What comes back from the items' containers: pings of ``alive``, open ``doors``."""
    targets = survey.containers(items, survey.bridges(items), read_ports=lambda _: ())
    found = []
    for target in targets:
        if target.address is None or target.why_not is not None:
            found.append(Answer(target))
            continue
        open_ = {port for port in target.tcp_ports if f"{target.address}:{port}" in doors}
        tcp = tuple(
            TcpResult(target.address, p, TcpOutcome.OPEN if p in open_ else TcpOutcome.REFUSED, 1)
            for p in target.tcp_ports
        )
        found.append(Answer(target, PingResult(target.address, str(target.address) in alive), tcp))
    return found


def sample(name: str = "db", problem: str | None = None) -> Chart:
    v6 = IPAddress("fd00:18::2")
    db = endpoint(name, "172.18.0.2", "app", Port(5432), Port(53, "udp"))
    db = replace(db, addresses=(*db.addresses, v6))
    twin = endpoint(name, "172.19.0.2", "back", Port(5432), Port(53, "udp"))
    quiet = endpoint("quiet", "172.18.0.3", "app", Port(80))
    host = Network("h", "host", "host", "local", False, ())
    app = selected("app", "172.18.0.0/24", db, quiet)
    subnets = (*app.subnets, Subnet(IPNetwork("fd00:18::/64")))
    items = [
        Selected(host, (), REASON),
        replace(app, subnets=subnets, network=replace(app.network, subnets=subnets)),
        selected("back", "172.19.0.0/24", twin, seen="10.192.0.0/24"),
    ]
    answers = answered(items, "10.192.0.2", doors=["172.18.0.2:5432", "10.192.0.2:5432"])
    drawn = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return make_chart(items, answers, problem=problem, engine="vm, Docker 28.5.2", drawn=drawn)


def test_routed_networks_come_first_and_know_each_other() -> None:
    chart = sample()
    assert [network.name for network in chart.networks] == ["app", "back", "host"]
    db = chart.networks[0].containers[0]
    assert db.also_on == ("back",)
    assert chart.containers == 2
    assert chart.networks[2].reason == REASON


def test_an_open_port_proves_more_than_a_silent_ping() -> None:
    db, quiet = sample().networks[0].containers
    assert db.reach is Reach.YES
    assert [port.reach for port in db.ports] == [Reach.YES, Reach.UNTRIED]
    assert quiet.reach is Reach.NO


def test_a_remapped_container_is_shown_where_it_is_reached() -> None:
    back = sample().networks[1]
    assert back.containers[0].addresses == (IPAddress("10.192.0.2"),)
    assert back.gateways == (IPAddress("10.192.0.1"),)
    assert "172.19.0.0/24 as 10.192.0.0/24" in render_svg(sample())


def many(count: int) -> Chart:
    endpoints = [
        endpoint(f"service-{n}", f"172.18.{n // 250}.{n % 250 + 2}", "big", Port(80))
        for n in range(count)
    ]
    item = selected("big", "172.18.0.0/16", *endpoints)
    return make_chart([item], map(Answer, [answer.target for answer in answered([item])]))


def several(count: int) -> Chart:
    """Networks with a container each."""
    items = [
        selected(f"net{n}", f"10.0.{n}.0/24", endpoint(f"c{n}", f"10.0.{n}.2", f"net{n}"))
        for n in range(count)
    ]
    return make_chart(items, answered(items))


@pytest.mark.parametrize("chart", [sample(), several(8), many(3), many(200)])
def test_nothing_overlaps_and_all_is_inside(chart: Chart) -> None:
    layout = lay_out(chart)
    boxes = layout.boxes
    for box in boxes:
        assert box.x >= 0 and box.x + box.width <= layout.width
        assert box.y >= 0 and box.y + box.height <= layout.height
        rows = [row.y for row in box.rows]
        assert rows == sorted(set(rows))
        for other in boxes:
            apart = other.x != box.x or other.y >= box.y + box.height or box is other
            assert apart or box.y >= other.y + other.height
    assert {box.width for box in boxes} == {BOX_WIDTH}


@pytest.mark.parametrize("chart", [sample(), sample(HOSTILE), many(200)])
def test_the_picture_is_well_formed(chart: Chart) -> None:
    root = ET.fromstring(render_svg(chart))  # noqa: S314
    groups = [g for g in root.iter(f"{SVG}g") if g.get("class") == "container"]
    assert len(groups) == sum(len(network.containers) for network in chart.networks)
    assert not list(root.iter(f"{SVG}script"))


def test_hostile_names_stay_text() -> None:
    page = render_page(sample(HOSTILE))
    assert "<script>alert" not in page
    assert "{{7*7}}" in page


def test_the_page_asks_nothing_of_others() -> None:
    page = render_page(sample(problem="the tunnel is down"))
    assert "default-src 'none'" in page
    assert "http:" not in page and "https:" not in page and "src=" not in page


def test_the_page_shows_all_of_it() -> None:
    page = render_page(sample(problem="the tunnel is down: `macnet setup`"))
    for text in ("vm, Docker 28.5.2", "2026-03-01 12:00 UTC", "fd00:18::2", "10.192.0.2"):
        assert text in page
    assert "and so on and so on" in page
    assert "172.19.0.0/24 as 10.192.0.0/24" in page
    assert "the tunnel is down: `macnet setup`" in page
    assert "answers</span>" in page  # the legend


def test_a_bridge_that_nobody_knows_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "gateway_of", lambda _: None)
    chart = sample()
    assert chart.networks[0].gateways == (None, None)
    assert "gateway" not in "\n".join(tree.lines(chart)) + render_page(chart)


def test_columns_keep_a_distance_and_both_margins_are_equal() -> None:
    layout = lay_out(several(7))
    lefts = sorted({box.x for box in layout.boxes})
    assert len(lefts) == COLUMNS
    for left, right in pairwise(lefts):
        assert right - (left + BOX_WIDTH) == GAP
    assert lefts[0] == layout.width - (lefts[-1] + BOX_WIDTH) == MARGIN


class TestDrawChart:
    """The chart of a model of both sides."""

    def test_what_answers(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        chart = draw_chart(world.tunnel, prober=world.prober)
        assert chart.problem is None
        assert chart.engine == "vm, Docker 28.5.2"
        names = {n.name: [c.name for c in n.containers] for n in chart.networks}
        assert names == {"app": ["redis", "web"], "bridge": ["web"], "sealed": ["vault"]}
        found = [c for network in chart.networks for c in network.containers]
        assert {c.reach for c in found} == {Reach.YES}
        vault = found[-1]
        assert [str(port.port) for port in vault.ports] == ["8200/tcp", "8201/udp"]

    @pytest.mark.parametrize("fault", ["relay stopped", "relay gone", "not connected"])
    def test_a_tunnel_that_is_down_is_said_once(self, tmp_path: Path, fault: str) -> None:
        world = World(tmp_path)
        if fault == "relay stopped":
            world.change_part("relay", status="exited")
        elif fault == "relay gone":
            del world.engine.parts["macnet-relay"]
        else:
            world.interfaces.pop()
        world.prober.doors.clear()
        for row in world.engine.containers_:
            for place in row["NetworkSettings"]["Networks"].values():
                world.prober.silent.add(place["IPAddress"])
        chart = draw_chart(world.tunnel, prober=world.prober)
        assert chart.problem is not None
        assert chart.problem.startswith("the tunnel is down, ")
        found = [c for network in chart.networks for c in network.containers]
        assert {c.reach for c in found} == {Reach.UNTRIED}
        assert {p.reach for c in found for p in c.ports} == {Reach.UNTRIED}
        lines = tree.lines(chart)
        assert lines[:2] == [chart.problem, ""]
        assert not [line for line in lines[1:] if "closed" in line or "no answer" in line]

    def test_silent_containers_alone_are_no_fault_of_the_tunnel(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        del world.engine.containers_[2:4]
        world.prober.silent.add("172.82.0.100")
        chart = draw_chart(world.tunnel, prober=world.prober)
        assert chart.problem is None
        assert chart.networks[0].containers[0].reach is Reach.NO


def test_the_ending_tells_the_kind(tmp_path: Path) -> None:
    assert picture_kind(Path("a.HTML")) == ".html"
    with pytest.raises(BadValue, match=r"map\.png"):
        picture_kind(Path("map.png"))
    with pytest.raises(BadValue, match="cannot write"):
        save_picture(sample(), tmp_path / "absent" / "map.svg")
    save_picture(sample(), tmp_path / "map.svg")
    assert (tmp_path / "map.svg").read_text().startswith("<svg")


def test_the_tree_names_everything() -> None:
    text = "\n".join(tree.lines(sample()))
    assert "app (bridge)" in text
    assert "db  172.18.0.2 fd00:18::2  answers" in text
    assert "quiet  172.18.0.3  no answer" in text
    assert "80/tcp closed" in text
    assert "also on back" in text
    assert f"not routed: {REASON}" in text


def test_names_are_in_the_tree_and_on_the_page() -> None:
    point = replace(
        endpoint("db", "172.82.0.9", "app"), names=("db.docker.test", "db.app.docker.test")
    )
    items = [selected("app", "172.82.0.0/24", point)]
    chart = make_chart(items, answered(items, "172.82.0.9"))
    assert "   db.docker.test" in "\n".join(tree.lines(chart))
    assert chart.networks[0].containers[0].names == point.names
    page = render_page(chart)
    assert 'data-copy="db.app.docker.test"' in page
    assert 'data-text="db db.docker.test db.app.docker.test ' in page
    assert "<title>db db.docker.test db.app.docker.test</title>" in render_svg(chart)


def test_the_node_of_a_container_elsewhere_is_on_the_page() -> None:
    point = replace(endpoint("task", "10.0.1.3", "over"), node="worker-2")
    items = [selected("over", "10.0.1.0/24", point)]
    page = render_page(make_chart(items, answered(items)))
    assert "<span>on node worker-2</span>" in page
    assert "on node" not in render_page(sample())


def test_long_names_are_cut_with_an_ellipsis() -> None:
    assert shorten("x" * 30, 10) == "x" * 9 + "…"
    assert shorten("short", 10) == "short"


def test_the_chart_asks_for_names_while_they_are_on(tmp_path: Path) -> None:
    world = World(tmp_path / "tunnel")
    before = draw_chart(world.tunnel, prober=world.prober)
    assert not any(c.names for network in before.networks for c in network.containers)
    world.names_on()
    chart = draw_chart(world.tunnel, prober=world.prober)
    found = {(n.name, c.name): c.names for n in chart.networks for c in n.containers}
    assert found["app", "redis"] == ("redis.docker.test", "redis.app.docker.test")
    assert found["bridge", "web"] == ("web.docker.test", "web.bridge.docker.test")
