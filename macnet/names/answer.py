"""An answer's bytes for a question's bytes (RFC 1035, 2308, 6891, 8914). Pure; uses dnspython.

Only the tunnel's domain is answered, with authority, and a cluster's own where the user wants it.
For a client nothing is asked elsewhere but a cluster's own resolver, for names of that cluster.
`render_query` and `read_reply` are the other side, for checks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from netaddr import IPAddress

from macnet.names.client import Reply
from macnet.names.table import Settled, Verdict
from macnet.names.upstream import Upstream

#: Seconds for which an answer holds. systemd-resolved obeys; macOS makes 15 of it, and 77 of that
#: of a denial (`mDNSCore/DNSCommon.c`, `mDNSCore/mDNS.c`).
TTL_S = 1
#: The most bytes of an answer over UDP: without EDNS, and with it.
UDP_SIZE, EDNS_SIZE = 512, 1232
TCP_SIZE = 65535
#: The most seconds for which an answer of a cluster's resolver is passed on.
FORWARDED_S = 5

_HEADER = struct.Struct("!HHHHHH")
_QR, _RD = 0x8000, 0x0100
_OPCODE_SHIFT, _OPCODE_MASK = 11, 0xF
_IN = dns.rdataclass.IN
_VERSIONS = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}
_TRANSFERS = frozenset({dns.rdatatype.AXFR, dns.rdatatype.IXFR})
_WITH_TARGET = frozenset({dns.rdatatype.CNAME, dns.rdatatype.SRV, dns.rdatatype.PTR})
_NS = dns.rdata.from_text(_IN, dns.rdatatype.NS, "localhost.")
_SOA = dns.rdata.from_text(_IN, dns.rdatatype.SOA, f"localhost. root.localhost. 1 60 60 60 {TTL_S}")
#: What an error says besides its code, for resolvers that show it (RFC 8914).
_ERRORS = {
    Verdict.UNKNOWN: (
        dns.rcode.SERVFAIL,
        dns.edns.EDEOption(dns.edns.EDECode.NETWORK_ERROR, "the Docker engine does not answer"),
    ),
    Verdict.NOT_REACHED: (
        dns.rcode.SERVFAIL,
        dns.edns.EDEOption(dns.edns.EDECode.NETWORK_ERROR, "the cluster is not reached"),
    ),
    Verdict.OUTSIDE: (
        dns.rcode.REFUSED,
        dns.edns.EDEOption(
            dns.edns.EDECode.NOT_AUTHORITATIVE, "macnet answers for container names only"
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Query:
    """A question that has to be looked up: its full name in lower case, without the last dot."""

    name: str
    message: dns.message.Message

    @property
    def version(self) -> int | None:
        """The IP version of the addresses that are asked for, None for what is none."""
        return _VERSIONS.get(self.message.question[0].rdtype)


def read_query(wire: bytes) -> Query | bytes | None:
    """Read a message: a question, the finished answer to what needs no lookup, or None.

    None is for what must not be answered: an answer, or less than a header.
    """
    flags = int.from_bytes(wire[2:4])
    if len(wire) < _HEADER.size or flags & _QR:
        return None
    if flags >> _OPCODE_SHIFT & _OPCODE_MASK != dns.opcode.QUERY:
        return _bare_reply(wire, dns.rcode.NOTIMP)
    try:
        message = dns.message.from_wire(wire)
        (question,) = message.question
    except (dns.exception.DNSException, ValueError):
        return _bare_reply(wire, dns.rcode.FORMERR)
    if message.edns > 0:
        return _error(message, dns.rcode.BADVERS)
    if question.rdclass != _IN or question.rdtype in _TRANSFERS:
        return _error(message, dns.rcode.REFUSED)
    return Query(_text(question.name), message)


def _text(name: dns.name.Name) -> str:
    # A dot inside a label would look like the end of the label. No zone holds a slash.
    labels = (label.decode("latin-1").replace(".", "/") for label in name.labels[:-1])
    return ".".join(labels).lower()


def _bare_reply(wire: bytes, rcode: dns.rcode.Rcode) -> bytes:
    """An answer to what cannot be read beyond its header."""
    identity, flags, *_ = _HEADER.unpack_from(wire)
    kept = flags & (_OPCODE_MASK << _OPCODE_SHIFT | _RD)
    return _HEADER.pack(identity, _QR | kept | int(rcode), 0, 0, 0, 0)


def _error(message: dns.message.Message, rcode: dns.rcode.Rcode) -> bytes:
    response = _response(message)
    response.set_rcode(rcode)
    return response.to_wire(max_size=UDP_SIZE, prefer_truncation=True)


def _response(message: dns.message.Message) -> dns.message.Message:
    return dns.message.make_response(message, our_payload=EDNS_SIZE)


def render_answer(query: Query, settled: Settled, *, tcp: bool = False) -> bytes:
    """The answer to a question, cut off (TC) where it is larger than the client takes."""
    response = _response(query.message)
    if settled.verdict in _ERRORS:
        rcode, why = _ERRORS[settled.verdict]
        response.set_rcode(rcode)
        if query.message.edns >= 0:
            response.use_edns(0, payload=EDNS_SIZE, options=[why])
    else:
        response.flags |= dns.flags.AA
        _fill(response, query.message.question[0], settled)
    return response.to_wire(max_size=_size(query.message, tcp=tcp), prefer_truncation=True)


def render_failure(query: Query) -> bytes:
    """The answer where a cluster's resolver gives none."""
    response = _response(query.message)
    response.set_rcode(dns.rcode.SERVFAIL)
    if query.message.edns >= 0:
        why = dns.edns.EDEOption(dns.edns.EDECode.NETWORK_ERROR, "the cluster does not answer")
        response.use_edns(0, payload=EDNS_SIZE, options=[why])
    return response.to_wire()


def rewrite_query(query: Query, upstream: Upstream) -> bytes | None:
    """The same question for a cluster's resolver, with an id of its own.

    None where the name would be too long there.
    """
    question = query.message.question[0]
    try:
        name = _moved(question.name, upstream.suffix, upstream.domain)
    except dns.exception.DNSException:
        return None
    return dns.message.make_query(name, question.rdtype, payload=EDNS_SIZE).to_wire()


def _moved(name: dns.name.Name, before: str, after: str) -> dns.name.Name:
    """A name below ``before`` as one below ``after``; others stay as they are."""
    origin = dns.name.from_text(f"{before}.")
    if not name.is_subdomain(origin):
        return name
    return name.relativize(origin).derelativize(dns.name.from_text(f"{after}."))


def is_cut_off(wire: bytes) -> bool:
    """Whether an answer says that there is more (TC)."""
    return len(wire) > 3 and bool(int.from_bytes(wire[2:4]) & dns.flags.TC)


def render_forwarded(
    query: Query, asked: bytes, wire: bytes, upstream: Upstream, *, tcp: bool = False
) -> bytes | None:
    """A resolver's answer for the client: with this host's names and addresses.

    ``asked`` is what `rewrite_query` made. None where ``wire`` answers something else.
    """
    try:
        sent, reply = dns.message.from_wire(asked), dns.message.from_wire(wire)
        if not sent.is_response(reply):
            return None
        response = _response(query.message)
        response.flags |= dns.flags.AA
        response.set_rcode(reply.rcode())
        for rows in reply.answer:
            _copy(rows, response, query.message.question[0], upstream)
    except (dns.exception.DNSException, ValueError):
        return None
    if not response.answer and reply.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        apex = dns.name.from_text(f"{upstream.suffix}.")
        response.authority.append(dns.rrset.from_rdata(apex, TTL_S, _SOA))
    return response.to_wire(max_size=_size(query.message, tcp=tcp), prefer_truncation=True)


def _copy(
    rows: dns.rrset.RRset,
    response: dns.message.Message,
    question: dns.rrset.RRset,
    upstream: Upstream,
) -> None:
    """Copy records into ``response`` as they are for this host; what it cannot reach is left out.

    The question's own spelling of its name is kept: some clients compare it.
    """
    name = _moved(rows.name, upstream.domain, upstream.suffix)
    owner = question.name if name == question.name else name
    for item in rows:
        rdata: dns.rdata.Rdata | None = item
        if rows.rdtype in {dns.rdatatype.A, dns.rdatatype.AAAA}:
            seen = upstream.seen(IPAddress(item.to_text()))
            rdata = None if seen is None else _address(seen)
        elif rows.rdtype in _WITH_TARGET:
            rdata = item.replace(target=_moved(item.target, upstream.domain, upstream.suffix))
        if rdata is not None:
            response.find_rrset(response.answer, owner, _IN, rows.rdtype, create=True).add(
                rdata, ttl=min(rows.ttl, FORWARDED_S)
            )


def _size(message: dns.message.Message, *, tcp: bool) -> int:
    if tcp:
        return TCP_SIZE
    if message.edns < 0:
        return UDP_SIZE
    return max(UDP_SIZE, min(message.payload, EDNS_SIZE))


def _fill(response: dns.message.Message, question: dns.rrset.RRset, settled: Settled) -> None:
    if settled.verdict is Verdict.MISSING:
        response.set_rcode(dns.rcode.NXDOMAIN)
    wanted = question.rdtype
    for rdata in _records(settled):
        if wanted in {rdata.rdtype, dns.rdatatype.ANY}:
            response.find_rrset(response.answer, question.name, _IN, rdata.rdtype, create=True).add(
                rdata, ttl=TTL_S
            )
    if not response.answer:
        apex = dns.name.from_text(f"{settled.apex}.")
        response.authority.append(dns.rrset.from_rdata(apex, TTL_S, _SOA))


def _records(settled: Settled) -> Iterator[dns.rdata.Rdata]:
    """All that there is about a name, of any type."""
    if settled.verdict is Verdict.APEX:
        yield _SOA
        yield _NS
    for address in settled.addresses:
        yield _address(address)
    if settled.pointer is not None:
        yield dns.rdata.from_text(_IN, dns.rdatatype.PTR, f"{settled.pointer}.")


def _address(address: IPAddress) -> dns.rdata.Rdata:
    kind = dns.rdatatype.A if address.version == 4 else dns.rdatatype.AAAA
    packed = address.packed
    return dns.rdata.from_wire(_IN, kind, packed, 0, len(packed))


def render_query(name: str, *, version: int = 4) -> bytes:
    """A question for the addresses of a name, of IP version 4 or 6.

    Raises ValueError for what can be no name in DNS.
    """
    kind = dns.rdatatype.A if version == 4 else dns.rdatatype.AAAA
    try:
        return dns.message.make_query(f"{name}.", kind, payload=EDNS_SIZE).to_wire()
    except dns.exception.DNSException as error:
        raise ValueError(str(error)) from error


def read_reply(query: bytes, wire: bytes) -> Reply:
    """The addresses in an answer to ``query``, or in words what else it says."""
    try:
        asked, reply = dns.message.from_wire(query), dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError):
        return Reply(problem="what came back is no DNS message")
    if not asked.is_response(reply):
        return Reply(problem="what came back answers another question")
    found = {
        IPAddress(item.to_text())
        for rows in reply.answer
        if rows.rdtype in {dns.rdatatype.A, dns.rdatatype.AAAA}
        for item in rows
    }
    if found:
        return Reply(tuple(sorted(found)))
    code = reply.rcode()
    empty = code == dns.rcode.NOERROR
    return Reply(problem="it has no such address" if empty else dns.rcode.to_text(code))
