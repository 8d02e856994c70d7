"""The lab's macOS resolver: its files, its choice, its caches; and macnet's server behind it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dns.exception  # noqa: TID251
import dns.flags  # noqa: TID251
import dns.message  # noqa: TID251
import dns.query  # noqa: TID251
import dns.rcode  # noqa: TID251
import dns.rdatatype  # noqa: TID251
import dns.rrset  # noqa: TID251
import pytest

from macnet.errors import EngineUnreachable
from macnet.names.server import NameServer
from macnet.names.system import SystemEntry
from macnet.names.system.macos import render_file
from macnet.names.zone import Zone
from tests.lab.resolver import MacResolver, Resolver, choose, denied_s, kept_s, parse_file
from tests.lab.resolver_stub import Stub
from tests.unit.names.samples import DOMAIN, Engine, container

A, AAAA = dns.rdatatype.A, dns.rdatatype.AAAA


def test_the_grammar_of_a_file() -> None:
    text = """
    # a comment
    nameserver 10.0.0.1 ; and another
    nameserver 127.0.0.1.55
    nameserver fd00::1
    nameserver 10.0.0.4
    unknown word
    domain
    port x
    port 5353
    search_order 3
    timeout 5
    """
    assert parse_file("Some.Test", text) == Resolver(
        domain="some.test",
        servers=(("10.0.0.1", 5353), ("127.0.0.1", 55), ("fd00::1", 5353)),
        timeout_s=5,
        order=3,
    )
    assert parse_file("x", "nameserver fd00::1.54") == Resolver("x", (("fd00::1", 54),))
    assert parse_file("x", "domain Y.\nflags a aaaa other").asked == frozenset({A, AAAA})
    assert parse_file("x", "domain Y.\n").domain == "y"
    assert parse_file("x", "").timeout_s == 30


def test_the_file_of_macnet() -> None:
    assert parse_file("macnet.docker.test", render_file(SystemEntry("macnet", DOMAIN, 13153))) == (
        Resolver(DOMAIN, (("127.0.0.1", 13153),), timeout_s=2, asked=frozenset({A, AAAA}))
    )


def test_the_longest_domain_wins() -> None:
    server = (("127.0.0.1", 1),)
    wide, ours = Resolver("test", server), Resolver("docker.test", server)
    late = Resolver("docker.test", server, order=1)
    every = (wide, late, ours, Resolver("a.docker.test"))
    assert choose(every, "web.docker.test.") is ours
    assert choose(every, "a.docker.test") is ours  # a file without a server is none
    assert choose(every, "docker.TEST") is ours
    assert choose(every, "xdocker.test") is wide
    assert choose(every, "example.com") is None


def test_how_long_answers_are_kept() -> None:
    assert [kept_s(ttl) for ttl in (0, 1, 10, 11, 300)] == [15, 15, 15, 15, 377]
    assert [denied_s(ttl) for ttl in (0, 1, 60, 100)] == [77, 77, 77, 127]


class World:
    """The server of macnet, the file that tells of it, and a Mac's resolver with its own clock."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine([container("a", "app=172.20.0.2")])
        self.now = 1000.0
        self.lost = False
        self.folder = folder
        self.server = NameServer(DOMAIN, 0, self.refresh, clock=lambda: self.now)
        self.server.start()
        self.resolver = MacResolver(folder, clock=lambda: self.now)
        self.write()

    def refresh(self) -> Zone:
        if self.lost:
            raise EngineUnreachable("no engine")
        return self.engine.zone()

    def write(self) -> None:
        text = render_file(SystemEntry("macnet", DOMAIN, self.server.port))
        (self.folder / "macnet.docker.test").write_text(text)

    def ask(self, name: str, kind: str = "A") -> str:
        answer = self.resolver.resolve(dns.message.make_query(f"{name}.{DOMAIN}.", kind))
        words = [item.to_text() for rrset in answer.answer for item in rrset]
        return " ".join(words) or dns.rcode.to_text(answer.rcode())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.server.stop()


def test_a_hundred_new_containers_are_all_found_at_once(world: World) -> None:
    for i in range(100):
        world.engine.rows.append(container(f"n{i}", f"app=172.20.1.{i}"))
        assert world.ask(f"n{i}") == f"172.20.1.{i}"


def test_a_name_that_was_asked_for_too_early_comes_after_77_seconds_or_a_flush(
    world: World,
) -> None:
    assert world.ask("b") == world.ask("c") == "NXDOMAIN"
    world.engine.rows += [container("b", "app=172.20.0.3"), container("c", "app=172.20.0.4")]
    world.now += 76.9
    assert world.ask("b") == "NXDOMAIN"
    world.now += 0.1
    assert world.ask("b") == "172.20.0.3"
    world.now -= 50
    assert world.ask("c") == "NXDOMAIN"
    world.resolver.flush()
    assert world.ask("c") == "172.20.0.4"


def test_a_restart_is_never_seen_as_a_denial(world: World) -> None:
    assert world.ask("a") == "172.20.0.2"
    world.engine.rows.clear()
    world.now += 15
    world.server.changed()
    while world.server.zone.names:
        time.sleep(0.005)
    assert world.ask("a") == "172.20.0.2"
    world.engine.rows.append(container("a", "app=172.20.0.9"))
    world.now += 14.9
    assert world.ask("a") == "172.20.0.2"
    world.now += 0.1
    assert world.ask("a") == "172.20.0.9"


def test_a_name_without_ipv6_is_empty_and_has_its_address_all_the_same(world: World) -> None:
    assert world.ask("a", "AAAA") == "NOERROR"
    assert world.ask("a") == "172.20.0.2"


def test_a_mac_without_ipv6_asks_for_it_where_the_file_says_so(world: World) -> None:
    world.engine.rows.append(container("six", "app=fd00:20::6"))
    assert world.ask("six", "AAAA") == "fd00:20::6"
    path = world.folder / "macnet.docker.test"
    path.write_text(path.read_text().replace("flags a aaaa\n", ""))
    world.resolver.flush()
    assert world.ask("six", "AAAA") == "NOERROR"


def test_a_lost_engine_is_kept_like_a_denial(world: World) -> None:
    world.lost = True
    assert world.ask("new") == "NXDOMAIN"
    world.lost = False
    world.engine.rows.append(container("new", "app=172.20.0.5"))
    assert world.ask("new") == "NXDOMAIN"
    world.now += 77
    assert world.ask("new") == "172.20.0.5"


def test_silence_is_not_kept(world: World) -> None:
    def silent(*_: object) -> dns.message.Message:
        raise dns.exception.Timeout

    quiet = MacResolver(world.folder, clock=lambda: world.now, send=silent)
    query = dns.message.make_query(f"a.{DOMAIN}.", "A")
    assert quiet.resolve(query).rcode() == dns.rcode.SERVFAIL
    quiet._send = world.resolver._send
    assert quiet.resolve(query).rcode() == dns.rcode.NOERROR


def test_other_domains_and_no_files_at_all(world: World) -> None:
    query = dns.message.make_query("example.com.", "A")
    assert world.resolver.resolve(query).rcode() == dns.rcode.SERVFAIL
    assert MacResolver(world.folder / "none").resolve(query).rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize("tcp", [False, True])
def test_programs_ask_over_udp_and_tcp(world: World, *, tcp: bool) -> None:
    with Stub(world.resolver, "127.0.0.1", 0) as stub:
        query = dns.message.make_query(f"a.{DOMAIN}.", "A")
        ask = dns.query.tcp if tcp else dns.query.udp
        answer = ask(query, "127.0.0.1", port=stub.port, timeout=10)
    assert answer.flags & dns.flags.RA
    assert [item.to_text() for item in answer.answer[0]] == ["172.20.0.2"]
