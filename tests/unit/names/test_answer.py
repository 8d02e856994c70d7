"""Bytes in, bytes out: what each question gets, and what hostile bytes get."""

from __future__ import annotations

import dns.edns  # noqa: TID251
import dns.exception  # noqa: TID251
import dns.flags  # noqa: TID251
import dns.message  # noqa: TID251
import dns.name  # noqa: TID251
import dns.opcode  # noqa: TID251
import dns.rcode  # noqa: TID251
import dns.rdatatype  # noqa: TID251
import dns.update  # noqa: TID251
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPAddress

from macnet.names.answer import Query, read_query, read_reply, render_answer, render_query
from macnet.names.client import Reply
from macnet.names.table import Settled, Table, Verdict
from macnet.names.zone import Zone
from tests.unit.names.samples import DOMAIN, container, zone_of

ZONE = zone_of(
    container("a", "app=172.20.0.2", "app=fd00:20::2"),
    container("four", "app=172.20.0.3"),
    container("host", "host="),
    *(
        container(
            f"w{i}",
            f"app=172.20.1.{i}",
            labels={"com.docker.compose.project": "p", "com.docker.compose.service": "w"},
        )
        for i in range(1, 101)
    ),
)


def table_of(zone: Zone = ZONE) -> Table:
    table = Table(zone.domain)
    table.replace(zone, 0)
    return table


def reply(wire: bytes, table: Table | None = None, *, tcp: bool = False) -> bytes | None:
    """The answer of a server whose look has just ended."""
    query = read_query(wire)
    if not isinstance(query, Query):
        return query
    settled = (table or table_of()).settle(query.name, 0, fresh=True)
    assert settled is not None
    return render_answer(query, settled, tcp=tcp)


def ask(
    name: str, kind: str = "A", *, table: Table | None = None, tcp: bool = False, **options: object
) -> dns.message.Message:
    full = name if name.endswith(".") else f"{name}.{DOMAIN}."
    query = dns.message.make_query(full, kind, **options)  # type: ignore[arg-type]
    wire = reply(query.to_wire(), table, tcp=tcp)
    assert wire is not None
    answer = dns.message.from_wire(wire)
    assert query.is_response(answer)
    assert not answer.flags & dns.flags.RA
    assert answer.flags & dns.flags.RD
    return answer


def records(answer: dns.message.Message) -> list[str]:
    assert answer.rcode() == dns.rcode.NOERROR
    assert answer.flags & dns.flags.AA
    assert all(rrset.ttl == 1 for rrset in answer.answer)
    return [item.to_text() for rrset in answer.answer for item in rrset]


def denial(answer: dns.message.Message) -> str:
    """The code of a denial, whose record says for how long it holds."""
    (soa,) = answer.authority
    assert answer.answer == []
    assert (soa.name.to_text(), soa.ttl, soa[0].minimum) == (f"{DOMAIN}.", 1, 1)
    assert answer.flags & dns.flags.AA
    return dns.rcode.to_text(answer.rcode())


def test_addresses() -> None:
    assert records(ask("a")) == ["172.20.0.2"]
    assert records(ask("a", "AAAA")) == ["fd00:20::2"]
    assert records(ask("a", "ANY")) == ["172.20.0.2", "fd00:20::2"]
    answer = ask("A.Docker.TEST.")
    assert answer.answer[0].name.to_text() == "A.Docker.TEST."


@pytest.mark.parametrize("kind", ["AAAA", "HTTPS", "SVCB", "MX", "TXT", "SRV", "CNAME", "TYPE999"])
def test_other_types_of_a_name_are_empty_and_not_missing(kind: str) -> None:
    assert denial(ask("four", kind)) == "NOERROR"


def test_names_without_addresses_are_empty_and_others_missing() -> None:
    for name in ("host", "app", "p"):
        assert denial(ask(name)) == "NOERROR"
    for name in ("b", "x.a", r"a\.app", r"\255"):
        assert denial(ask(name)) == "NXDOMAIN"


def test_the_domain_itself() -> None:
    assert records(ask("docker.test.", "NS")) == ["localhost."]
    assert records(ask("docker.test.", "SOA")) == ["localhost. root.localhost. 1 60 60 60 1"]
    assert denial(ask("docker.test.")) == "NOERROR"
    assert denial(ask("docker.test.", "AAAA")) == "NOERROR"


@pytest.mark.parametrize(
    "name", ["example.com.", "test.", ".", "notdocker.test.", "1.1.1.1.in-addr.arpa."]
)
def test_nothing_else_is_answered(name: str) -> None:
    answer = ask(name, use_edns=True)
    assert answer.rcode() == dns.rcode.REFUSED
    assert not answer.flags & dns.flags.AA
    assert [option.to_text() for option in answer.options] == [
        "EDE 20 (Not Authoritative): macnet answers for container names only"
    ]
    assert answer.answer == answer.authority == []


def test_a_name_for_an_address() -> None:
    answer = ask("2.0.20.172.in-addr.arpa.", "PTR")
    assert records(answer) == ["a.docker.test."]
    missing = ask("200.0.20.172.in-addr.arpa.", "PTR")
    assert missing.rcode() == dns.rcode.NXDOMAIN
    assert missing.authority[0].name.to_text() == "0.20.172.in-addr.arpa."
    assert ask("2.0.20.172.in-addr.arpa.", "A").rcode() == dns.rcode.NOERROR


def test_a_lost_engine_is_a_failure_with_its_reason() -> None:
    table = Table(DOMAIN)
    table.engine_away(0)
    answer = ask("a", table=table, use_edns=True)
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert [option.to_text() for option in answer.options] == [
        "EDE 23 (Network Error): the Docker engine does not answer"
    ]
    assert ask("a", table=table).edns == -1


def test_what_does_not_fit_is_cut_off_and_whole_over_tcp() -> None:
    short = ask("w.p")
    assert short.flags & dns.flags.TC
    assert len(short.to_wire()) <= 512
    larger = ask("w.p", use_edns=True, payload=4096)
    assert larger.flags & dns.flags.TC
    assert larger.edns == 0
    whole = ask("w.p", tcp=True)
    assert not whole.flags & dns.flags.TC
    assert len(records(whole)) == 100


def test_what_is_no_question_about_names() -> None:
    for kind in ("AXFR", "IXFR"):
        assert ask("docker.test.", kind).rcode() == dns.rcode.REFUSED
    chaos = dns.message.make_query("version.bind.", "TXT", "CH")
    assert dns.message.from_wire(reply(chaos.to_wire()) or b"").rcode() == dns.rcode.REFUSED
    future = dns.message.make_query("a.docker.test.", "A", use_edns=1)
    assert dns.message.from_wire(reply(future.to_wire()) or b"").rcode() == dns.rcode.BADVERS
    update = dns.update.UpdateMessage(DOMAIN).to_wire()
    refused = dns.message.from_wire(reply(update) or b"")
    assert (refused.rcode(), refused.opcode()) == (dns.rcode.NOTIMP, dns.opcode.UPDATE)


def test_answers_are_never_answered() -> None:
    query = dns.message.make_query("a.docker.test.", "A")
    assert read_query(dns.message.make_response(query).to_wire()) is None
    assert read_query(b"") is None
    assert read_query(query.to_wire()[:11]) is None


def test_what_cannot_be_read_is_a_format_error() -> None:
    wire = dns.message.make_query("a.docker.test.", "A").to_wire()
    two = wire[:4] + b"\x00\x02" + wire[6:] + wire[12:]
    none = wire[:4] + b"\x00\x00" + wire[6:12]
    loop = wire[:12] + b"\xc0\x0c" + b"\x00\x01\x00\x01"
    for broken in (wire[:-1], wire + b"x", two, none, loop):
        answer = reply(broken)
        assert answer is not None
        assert answer[:2] == wire[:2]
        assert answer[2] & 0x80
        assert answer[3] & 0xF == dns.rcode.FORMERR


header = st.tuples(
    st.binary(min_size=2, max_size=2),
    st.sampled_from([b"\x01\x00", b"\x00\x00", b"\x01\x20"]),
    st.sampled_from([b"\x00\x01", b"\x00\x00", b"\x00\x02"]),
    st.just(b"\x00\x00" * 2),
    st.sampled_from([b"\x00\x00", b"\x00\x01"]),
).map(b"".join)


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=600) | st.tuples(header, st.binary(max_size=300)).map(b"".join))
def test_any_bytes_are_answered_or_passed_over(wire: bytes) -> None:
    answer = reply(wire)
    if len(wire) < 12 or wire[2] & 0x80:
        assert answer is None
    else:
        assert answer is not None
        assert answer[:2] == wire[:2]
        assert answer[2] & 0x80
        assert len(answer) <= 512


labels = st.lists(st.binary(min_size=1, max_size=20), max_size=5)
below = st.sampled_from(
    [(b"docker", b"test"), (b"DOCKER", b"test"), (b"w", b"p", b"docker", b"test"), (b"com",), ()]
)


@settings(deadline=None)  # the machine may be busy
@given(labels, below, st.integers(1, 300), st.integers(-1, 1), st.integers(0, 65535), st.booleans())
def test_no_answer_leaves_the_zone_or_is_too_large(
    front: list[bytes],
    back: tuple[bytes, ...],
    kind: int,
    edns: int,
    payload: int,
    tcp: bool,
) -> None:
    name = dns.name.Name([*front, *back, b""])
    query = dns.message.make_query(name, dns.rdatatype.RdataType.make(kind))
    query.use_edns(edns, payload=payload)
    wire = query.to_wire()
    answer = reply(wire, tcp=tcp)
    assert answer is not None
    if not tcp:
        assert len(answer) <= (512 if edns < 0 else max(512, payload))
    message = dns.message.from_wire(answer)
    inside = name.is_subdomain(dns.name.from_text(f"{DOMAIN}."))
    for rrset in message.answer:
        assert inside
        assert rrset.name == name


def test_what_checks_ask_and_read() -> None:
    for version, address in ((4, "172.20.0.2"), (6, "fd00:20::2")):
        asked = render_query("web.docker.test", version=version)
        query = read_query(asked)
        assert isinstance(query, Query)
        found = (IPAddress("172.20.0.2"), IPAddress("fd00:20::2"))
        settled = Settled(Verdict.ADDRESSES, found, apex=DOMAIN)
        assert read_reply(asked, render_answer(query, settled)) == Reply((IPAddress(address),))
        for verdict, words in (
            (Verdict.MISSING, "NXDOMAIN"),
            (Verdict.UNKNOWN, "SERVFAIL"),
            (Verdict.EMPTY, "it has no such address"),
        ):
            wire = render_answer(query, Settled(verdict, apex=DOMAIN))
            assert read_reply(asked, wire).problem == words
    other = render_query("redis.docker.test")
    assert "another question" in (read_reply(other, wire).problem or "")
    assert "no DNS message" in (read_reply(other, b"HTTP/1.1 400").problem or "")
