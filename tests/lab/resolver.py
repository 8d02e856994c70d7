"""Plays macOS's resolver from the rules in its source: configd's files, mDNSResponder's caches.

What is known of it comes from reading, not from a Mac: `dnsinfo/dnsinfo_flatfile.c` and
`Plugins/IPMonitor/dns-configuration.c` of configd 1405, `mDNSCore/DNSCommon.c` and `mDNS.c` of
mDNSResponder 2600. Left out is that a denial which stays asked for is kept longer each time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import dns.exception  # noqa: TID251
import dns.flags  # noqa: TID251
import dns.message  # noqa: TID251
import dns.query  # noqa: TID251
import dns.rcode  # noqa: TID251
import dns.rdatatype  # noqa: TID251

#: Seconds that a question waits where the file has no line ``timeout``.
DEFAULT_TIMEOUT_S = 30
#: Three servers are read from a file (``MAXNS``); more are passed over.
MOST_SERVERS = 3
#: Positive answers are kept for no less, denials are taken to live no less (both in seconds).
LEAST_KEPT_S, LEAST_DENIED_S = 15, 60

#: The types of addresses that ``flags`` can name.
_ADDRESS_TYPES = {"a": dns.rdatatype.A, "aaaa": dns.rdatatype.AAAA}


@dataclass(frozen=True)
class Resolver:
    """One file of /etc/resolver. ``asked`` are the types of addresses, None for the default."""

    domain: str
    servers: tuple[tuple[str, int], ...] = ()
    timeout_s: float = DEFAULT_TIMEOUT_S
    order: int = 0
    asked: frozenset[dns.rdatatype.RdataType] | None = None


def parse_file(name: str, text: str) -> Resolver:
    """Read a file; what is unknown or wrong in it is passed over, as configd does."""
    found = Resolver(domain=name.lower())
    servers: list[tuple[str, int | None]] = []
    port = 53
    for line in text.splitlines():
        word, *values = line.split("#")[0].split(";")[0].split() or [""]
        if not values:
            continue
        value = values[0]
        match word:
            case "domain":
                found = replace(found, domain=value.lower().removesuffix("."))
            case "nameserver":
                servers.append(_parse_server(value))
            case "port" if value.isdigit():
                port = int(value)
            case "timeout" if value.isdigit():
                found = replace(found, timeout_s=int(value))
            case "search_order" if value.isdigit():
                found = replace(found, order=int(value))
            case "flags":
                kinds = (_ADDRESS_TYPES.get(each.lower()) for each in values)
                found = replace(found, asked=frozenset(kind for kind in kinds if kind))
            case _:
                pass
    return replace(
        found, servers=tuple((host, own or port) for host, own in servers[:MOST_SERVERS])
    )


def _parse_server(value: str) -> tuple[str, int | None]:
    """An address, of either version, perhaps with a port behind a dot: "127.0.0.1.5353"."""
    parts = value.split(".")
    if len(parts) == 5:
        return ".".join(parts[:4]), int(parts[4])
    if ":" in value and len(parts) == 2:
        return parts[0], int(parts[1])
    return value, None


def read_folder(folder: Path) -> tuple[Resolver, ...]:
    """All files; a folder that is absent has none."""
    if not folder.is_dir():
        return ()
    return tuple(
        parse_file(path.name, path.read_text(errors="replace"))
        for path in sorted(folder.iterdir())
        if path.is_file()
    )


def choose(resolvers: Iterable[Resolver], name: str) -> Resolver | None:
    """The resolver with the longest domain that ``name`` is in; by ``search_order`` of equals."""
    name = name.lower().removesuffix(".")
    fitting = [
        each
        for each in resolvers
        if each.servers and (name == each.domain or name.endswith(f".{each.domain}"))
    ]
    return min(fitting, key=lambda each: (-each.domain.count("."), each.order), default=None)


def kept_s(ttl: int) -> int:
    """For how long an answer is kept."""
    return max(LEAST_KEPT_S, ttl + ttl // 4 + 2)


def denied_s(ttl: int) -> int:
    """For how long a denial is kept, whose SOA says ``ttl``."""
    longer = max(LEAST_DENIED_S, ttl)
    return longer + longer // 4 + 2


Send = Callable[[dns.message.QueryMessage, str, int, float], dns.message.Message]


def send(
    query: dns.message.QueryMessage, host: str, port: int, timeout_s: float
) -> dns.message.Message:
    """Ask a server over UDP, and over TCP where the answer was cut off."""
    answer, _ = dns.query.udp_with_fallback(query, host, timeout=timeout_s, port=port)
    return answer


class MacResolver:
    """What every program of the Mac asks through getaddrinfo."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        send: Send = send,
        ipv6: bool = False,
    ) -> None:
        """``ipv6`` says whether this Mac has IPv6, without which it asks for no such address."""
        self._folder = folder
        self._clock = clock
        self._send = send
        self._ipv6 = ipv6
        self._cache: dict[tuple[str, int], tuple[float, dns.message.Message]] = {}
        self._lock = threading.Lock()

    def flush(self) -> None:
        """What ``killall -HUP mDNSResponder`` does."""
        with self._lock:
            self._cache.clear()

    def resolve(self, query: dns.message.Message) -> dns.message.Message:
        """Answer a program's question from the cache, or from the server whose domain it is in.

        The files are read anew each time: configd watches the folder.
        """
        (question,) = query.question
        name = question.name.to_text().lower()
        resolver = choose(read_folder(self._folder), name)
        if resolver is None:
            return self._failed(query)  # the lab has no other servers
        default = _ADDRESS_TYPES.values() if self._ipv6 else (dns.rdatatype.A,)
        asked = resolver.asked if resolver.asked is not None else frozenset(default)
        if question.rdtype in _ADDRESS_TYPES.values() and question.rdtype not in asked:
            return dns.message.make_response(query, recursion_available=True)
        key = (name, int(question.rdtype))
        with self._lock:
            until, known = self._cache.get(key, (0.0, None))
        if known is None or until <= self._clock():
            known = self._ask(name, question.rdtype, resolver)
            if known is None:
                return self._failed(query)  # silence is not kept
            with self._lock:
                self._cache[key] = (self._clock() + _life_s(known), known)
        return _copy(known, query)

    def _ask(
        self, name: str, kind: dns.rdatatype.RdataType, resolver: Resolver
    ) -> dns.message.Message | None:
        query = dns.message.make_query(name, kind)
        deadline = self._clock() + resolver.timeout_s
        for host, port in resolver.servers:
            try:
                return self._send(query, host, port, max(0.0, deadline - self._clock()))
            except (dns.exception.DNSException, OSError):
                continue
        return None

    @staticmethod
    def _failed(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query, recursion_available=True)
        response.set_rcode(dns.rcode.SERVFAIL)
        return response


def _life_s(answer: dns.message.Message) -> int:
    """Anything but an answer counts as a denial: SERVFAIL and REFUSED too."""
    if answer.answer and answer.rcode() == dns.rcode.NOERROR:
        return kept_s(min(rrset.ttl for rrset in answer.answer))
    return denied_s(max((rrset.ttl for rrset in answer.authority), default=0))


def _copy(known: dns.message.Message, query: dns.message.Message) -> dns.message.Message:
    response = dns.message.make_response(query, recursion_available=True)
    denied = known.rcode() != dns.rcode.NOERROR
    response.set_rcode(dns.rcode.NXDOMAIN if denied else dns.rcode.NOERROR)
    response.answer = list(known.answer)
    return response
