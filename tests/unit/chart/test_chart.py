"""The picture: what is gathered, where it goes, and that names stay text."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from macnet.chart.chart import Answers, Chart, Reach, make_chart
from macnet.chart.layout import BOX_WIDTH, lay_out, shorten
from macnet.chart.picture import picture_kind, render_page, render_svg, save_picture
from macnet.cli import tree
from macnet.errors import BadValue
from macnet.models import Endpoint, Network, Port, Subnet
from macnet.networks import Selected

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script>\"&'{{7*7}}"


def endpoint(name: str, address: str, network: str, *ports: Port) -> Endpoint:
    return Endpoint(name, f"id-{name}", network, (IPAddress(address),), ports)


def selected(name: str, cidr: str, *endpoints: Endpoint, seen: str | None = None) -> Selected:
    subnet = Subnet(IPNetwork(cidr), seen=IPNetwork(seen) if seen else None)
    network = Network(name, name, "bridge", "local", False, (subnet,), endpoints)
    return Selected(network, (subnet,))


def sample(name: str = "db") -> Chart:
    db = endpoint(name, "172.18.0.2", "app", Port(5432), Port(53, "udp"))
    twin = endpoint(name, "172.19.0.2", "back", Port(5432), Port(53, "udp"))
    quiet = endpoint("quiet", "172.18.0.3", "app", Port(80))
    host = Network("h", "host", "host", "local", False, ())
    items = [
        Selected(host, (), "host network"),
        selected("app", "172.18.0.0/24", db, quiet),
        selected("back", "172.19.0.0/24", twin, seen="10.192.0.0/24"),
    ]
    ports = {e.container_id: e.ports for e in (db, quiet)}
    pings = {IPAddress("172.18.0.2"): False, IPAddress("10.192.0.2"): True}
    pings[IPAddress("172.18.0.3")] = False
    tcp = {(IPAddress("172.18.0.2"), 5432): True, (IPAddress("10.192.0.2"), 5432): True}
    tcp[IPAddress("172.18.0.3"), 80] = False
    return make_chart(items, ports, Answers(pings, tcp))


def test_routed_networks_come_first_and_know_each_other() -> None:
    chart = sample()
    assert [network.name for network in chart.networks] == ["app", "back", "host"]
    db = chart.networks[0].containers[0]
    assert db.also_on == ("back",)
    assert chart.containers == 2
    assert chart.networks[2].reason == "host network"


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
    return make_chart([item], {e.container_id: e.ports for e in endpoints}, Answers({}, {}))


@pytest.mark.parametrize("chart", [sample(), many(3), many(200)])
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


def test_a_container_on_two_networks_is_joined() -> None:
    layout = lay_out(sample())
    assert [join.name for join in layout.joins] == ["db"]


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
    page = render_page(sample())
    assert "default-src 'none'" in page
    rest = page.replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in rest and "https:" not in rest and "src=" not in rest


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
    assert "db  172.18.0.2  answers" in text
    assert "quiet  172.18.0.3  no answer" in text
    assert "80/tcp closed" in text
    assert "also on back" in text
    assert "not routed: host network" in text


def test_long_names_are_cut_with_an_ellipsis() -> None:
    assert shorten("x" * 30, 10) == "x" * 9 + "…"
    assert shorten("short", 10) == "short"
