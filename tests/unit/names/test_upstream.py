"""Which names a cluster's resolver is asked for, and what becomes of its answers."""

from __future__ import annotations

from dataclasses import replace

import dns.message  # noqa: TID251
import dns.rcode  # noqa: TID251
import dns.rdataclass  # noqa: TID251
import dns.rrset  # noqa: TID251
import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from macnet.models import Donor, Further, ReachKind
from macnet.names import build_zone
from macnet.names.answer import (
    Query,
    read_query,
    render_answer,
    render_forwarded,
    rewrite_query,
)
from macnet.names.table import Table, Verdict
from macnet.names.upstream import Upstream, list_upstreams
from macnet.networks import Selected, parse_networks, select_networks, with_further
from macnet.remaps import remap_networks
from macnet.values import RemapRequest
from tests.unit.names.samples import NETWORKS

DOMAIN = "docker.test"
KIND = Further(
    "kind",
    ReachKind.CLUSTER,
    (IPNetwork("10.244.0.0/16"), IPNetwork("10.96.0.0/16")),
    Donor("id", "kind-control-plane", "now"),
    dns=IPAddress("10.96.0.10"),
    domain="cluster.local",
)
WEB = "web.default.svc.kind.docker.test"


def selected(*further: Further, remap: tuple[str, str] | None = None) -> tuple[Selected, ...]:
    networks = with_further(parse_networks(NETWORKS, []), further)
    found = select_networks(networks, include=("*",), exclude=())
    pairs = ((IPNetwork(remap[0]), IPNetwork(remap[1])),) if remap else ()
    return remap_networks(found, RemapRequest(pairs=pairs), ())


def upstream(remap: tuple[str, str] | None = None) -> Upstream:
    (found,) = list_upstreams(selected(KIND, remap=remap), DOMAIN)
    return found


def question(name: str = WEB, kind: str = "A") -> Query:
    query = read_query(dns.message.make_query(f"{name}.", kind).to_wire())
    assert isinstance(query, Query)
    return query


def reply(asked: bytes, *records: str, rcode: str = "NOERROR") -> bytes:
    """A resolver's answer; ``records`` are like "web.cluster.local. 30 A 10.96.0.7"."""
    message = dns.message.make_response(dns.message.from_wire(asked))
    message.set_rcode(dns.rcode.from_text(rcode))
    for record in records:
        name, ttl, kind, *data = record.split()
        message.answer.append(
            dns.rrset.from_text(name, int(ttl), dns.rdataclass.IN, kind, " ".join(data))
        )
    return message.to_wire()


def forwarded(
    *records: str,
    through: Upstream | None = None,
    query: Query | None = None,
    rcode: str = "NOERROR",
) -> dns.message.Message:
    """What a client gets for these records."""
    through, query = through or upstream(), query or question()
    asked = rewrite_query(query, through)
    assert asked is not None
    wire = render_forwarded(query, asked, reply(asked, *records, rcode=rcode), through)
    assert wire is not None
    return dns.message.from_wire(wire)


def told(message: dns.message.Message) -> list[str]:
    # dnspython shuffles what belongs together.
    return sorted(row for rows in message.answer for row in rows.to_text().splitlines())


def test_names_of_services_and_pods_are_asked_of_the_cluster() -> None:
    found = upstream()
    assert found.server == IPAddress("10.96.0.10")
    for name in (WEB, "10-244-0-5.default.pod.kind.docker.test", "a.b.c.svc.kind.docker.test"):
        assert found.takes(name)
    for name in (
        "svc.kind.docker.test",
        "kind-control-plane.kind.docker.test",
        "web.default.svc.other.docker.test",
        "websvc.kind.docker.test",
        "web.default.svc.kind.docker.test.example",
    ):
        assert not found.takes(name)


def test_the_table_leaves_them_to_it_and_answers_the_rest() -> None:
    table = Table(DOMAIN)
    assert table.settle(WEB, 0, fresh=False) is None
    table.replace(build_zone(DOMAIN, selected(KIND), [], {}), 0)
    settled = table.settle(WEB, 0, fresh=False)
    assert settled is not None
    assert (settled.verdict, settled.upstream) == (Verdict.FORWARD, upstream())
    other = table.settle("web.default.svc.two.docker.test", 0, fresh=True)
    assert other is not None
    assert other.verdict is Verdict.MISSING


def owned(remap: tuple[str, str] | None = None) -> Upstream:
    """The resolver of ``cluster.local`` itself."""
    _, found = list_upstreams(selected(KIND, remap=remap), DOMAIN, "kind")
    return found


def test_one_cluster_may_have_its_own_domain() -> None:
    found = owned()
    for name in ("cluster.local", "web.default.svc.cluster.local", "_http._tcp.x.cluster.local"):
        assert found.takes(name)
    for name in ("local", "xcluster.local", "printer.local", WEB):
        assert not found.takes(name)
    name = "web.default.svc.cluster.local"
    answer = forwarded(f"{name}. 30 A 10.96.0.7", through=found, query=question(name))
    assert told(answer) == [f"{name}. 5 IN A 10.96.0.7"]
    seen = owned(("10.96.0.0/16", "10.150.0.0/16"))
    answer = forwarded(f"{name}. 30 A 10.96.0.7", through=seen, query=question(name))
    assert told(answer) == [f"{name}. 5 IN A 10.150.0.7"]
    denied = forwarded(through=found, query=question(name), rcode="NXDOMAIN")
    assert denied.authority[0].name.to_text() == "cluster.local."


def test_no_other_cluster_gets_it() -> None:
    assert len(list_upstreams(selected(KIND), DOMAIN, "other")) == 1
    elsewhere = replace(KIND, domain="example.com")
    assert len(list_upstreams(selected(elsewhere), DOMAIN, "kind")) == 1
    # What a container calls itself gives it no more than its own names.
    below = replace(KIND, domain="kind.docker.test")
    assert not list_upstreams(selected(below), DOMAIN)[0].takes("web.kind.docker.test")


def test_the_table_knows_who_has_that_domain() -> None:
    name, probe = "web.default.svc.cluster.local", "0" * 32 + ".probe.cluster.local"

    def verdict(table: Table, name: str, now: float = 0, *, fresh: bool) -> Verdict | None:
        settled = table.settle(name, now, fresh=fresh)
        return settled.verdict if settled is not None else None

    off = Table(DOMAIN)
    off.replace(build_zone(DOMAIN, selected(KIND), [], {}), 0)
    assert verdict(off, name, fresh=False) is verdict(off, probe, fresh=True) is Verdict.OUTSIDE

    table = Table(DOMAIN, "kind")
    assert verdict(table, name, fresh=False) is None
    assert verdict(table, name, fresh=True) is Verdict.UNKNOWN
    assert verdict(table, probe, fresh=False) is Verdict.ADDRESSES
    assert verdict(table, "printer.local", fresh=False) is Verdict.OUTSIDE
    table.replace(build_zone(DOMAIN, selected(KIND), [], {}, owner="kind"), 0)
    settled = table.settle(name, 0, fresh=False)
    assert settled is not None
    assert (settled.verdict, settled.upstream) == (Verdict.FORWARD, owned())
    table.engine_away(10)
    assert verdict(table, name, 19, fresh=True) is Verdict.FORWARD
    assert verdict(table, name, 20, fresh=True) is Verdict.UNKNOWN
    table.replace(build_zone(DOMAIN, selected(), [], {}, owner="kind"), 21)
    assert verdict(table, name, 21, fresh=False) is None
    settled = table.settle(name, 21, fresh=True)
    assert settled is not None
    assert settled.verdict is Verdict.NOT_REACHED
    query = read_query(dns.message.make_query(f"{name}.", "A", use_edns=0).to_wire())
    assert isinstance(query, Query)
    answer = dns.message.from_wire(render_answer(query, settled))
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert "the cluster is not reached" in answer.to_text()


@pytest.mark.parametrize(
    "further",
    [
        replace(KIND, dns=None),
        replace(KIND, reason="not now", donor=None),
        replace(KIND, name="no.label"),
        replace(KIND, dns=IPAddress("10.97.0.10")),
        Further("spread", ReachKind.OVERLAY, (IPNetwork("10.0.1.0/24"),)),
    ],
)
def test_what_has_no_resolver(further: Further) -> None:
    assert list_upstreams(selected(further), DOMAIN) == ()


def test_the_question_is_the_clusters_and_the_answer_this_hosts() -> None:
    asked = rewrite_query(question(), upstream())
    assert asked is not None
    name = dns.message.from_wire(asked).question[0].name.to_text()
    assert name == "web.default.svc.cluster.local."
    answer = forwarded("web.default.svc.cluster.local. 30 A 10.96.0.7")
    assert told(answer) == [f"{WEB}. 5 IN A 10.96.0.7"]
    assert answer.question[0].name.to_text() == f"{WEB}."


def test_answers_are_where_this_host_sees_them() -> None:
    through = upstream(("10.96.0.0/16", "10.150.0.0/16"))
    assert through.server == IPAddress("10.150.0.10")
    answer = forwarded("web.default.svc.cluster.local. 30 A 10.96.0.7", through=through)
    assert told(answer) == [f"{WEB}. 5 IN A 10.150.0.7"]


def test_addresses_that_are_not_reached_are_left_out() -> None:
    answer = forwarded(
        "web.default.svc.cluster.local. 3 A 127.0.0.1",
        "web.default.svc.cluster.local. 3 A 8.8.8.8",
        "web.default.svc.cluster.local. 3 A 172.20.0.9",
        "web.default.svc.cluster.local. 3 A 10.244.1.5",
    )
    assert told(answer) == [f"{WEB}. 3 IN A 10.244.1.5", f"{WEB}. 3 IN A 172.20.0.9"]


def test_names_in_answers_are_this_hosts_too() -> None:
    answer = forwarded(
        "web.default.svc.cluster.local. 3 CNAME other.default.svc.cluster.local.",
        "other.default.svc.cluster.local. 3 A 10.244.1.5",
    )
    assert told(answer) == [
        "other.default.svc.kind.docker.test. 3 IN A 10.244.1.5",
        f"{WEB}. 3 IN CNAME other.default.svc.kind.docker.test.",
    ]
    outside = forwarded("web.default.svc.cluster.local. 3 CNAME www.example.com.")
    assert told(outside) == [f"{WEB}. 3 IN CNAME www.example.com."]
    ports = forwarded(
        "_http._tcp.web.default.svc.cluster.local. 3 SRV 0 100 80 web.default.svc.cluster.local.",
        query=question(f"_http._tcp.{WEB}", "SRV"),
    )
    assert told(ports) == [f"_http._tcp.{WEB}. 3 IN SRV 0 100 80 {WEB}."]


def test_the_spelling_of_the_question_is_kept() -> None:
    answer = forwarded(
        "web.default.svc.cluster.local. 30 A 10.96.0.7",
        query=question("WeB.default.svc.kind.DOCKER.test"),
    )
    assert told(answer) == ["WeB.default.svc.kind.DOCKER.test. 5 IN A 10.96.0.7"]


def test_denials_and_failures_are_passed_on() -> None:
    missing = forwarded(rcode="NXDOMAIN")
    assert missing.rcode() == dns.rcode.NXDOMAIN
    assert missing.authority
    assert forwarded().rcode() == dns.rcode.NOERROR
    failed = forwarded(rcode="SERVFAIL")
    assert failed.rcode() == dns.rcode.SERVFAIL
    assert not failed.authority


def test_a_name_that_is_too_long_in_the_cluster_is_not_asked() -> None:
    through = replace(upstream(), domain="a" * 60 + ".cluster.local")
    labels = ".".join(["x" * 60, "y" * 60, "z" * 60, "w" * 30])
    assert rewrite_query(question(f"{labels}.svc.kind.docker.test"), through) is None


@given(st.binary(max_size=120))
def test_no_answer_makes_it_fail(wire: bytes) -> None:
    query, through = question(), upstream()
    asked = rewrite_query(query, through)
    assert asked is not None
    for reply in (wire, asked[:2] + wire, asked[:2] + b"\x84\x00" + asked[4:] + wire):
        render_forwarded(query, asked, reply, through)
