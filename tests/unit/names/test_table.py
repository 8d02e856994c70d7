"""What holds for a name at a moment: restarts, a lost engine, and when nothing may be denied."""

from __future__ import annotations

import pytest
from netaddr import IPNetwork

from macnet.names.table import Settled, Table, Verdict, reverse_block
from macnet.names.zone import Zone
from tests.unit.names.samples import DOMAIN, Engine, container, zone_of

A = container("a", "app=172.20.0.2", "app=fd00:20::2", labels={"io.macnet.names": "*.blog"})
B = container("b", "app=172.20.0.3")


def table_of(*rows: dict[str, object], now: float = 0) -> Table:
    table = Table(DOMAIN)
    table.replace(zone_of(*rows), now)
    return table


def told(settled: Settled | None) -> str:
    """A verdict in a word: addresses, a name, or what else there is."""
    if settled is None:
        return "ask the engine"
    words = [str(address) for address in settled.addresses]
    return " ".join(words) or settled.pointer or settled.verdict.name


def ask(table: Table, name: str, now: float = 0, *, fresh: bool = False) -> str:
    return told(table.settle(f"{name}.{DOMAIN}" if name else DOMAIN, now, fresh=fresh))


def test_what_is_there_is_answered_at_once() -> None:
    table = table_of(A, B)
    assert ask(table, "a") == "172.20.0.2 fd00:20::2"
    assert ask(table, "x.blog") == "172.20.0.2 fd00:20::2"
    assert ask(table, "") == "APEX"
    assert table.settle("a.example", 0, fresh=False) == Settled(Verdict.OUTSIDE)
    assert table.settle("docker.test.example", 0, fresh=False) == Settled(Verdict.OUTSIDE)
    assert table.settle("notdocker.test", 0, fresh=False) == Settled(Verdict.OUTSIDE)


def test_nothing_is_denied_before_the_engine_was_asked() -> None:
    table = table_of(A, container("n", "host="))
    for name, then in (("x", "MISSING"), ("n", "EMPTY"), ("app", "EMPTY"), ("x.a", "MISSING")):
        assert ask(table, name) == "ask the engine"
        assert ask(table, name, fresh=True) == then


def test_an_address_of_the_other_version_may_have_just_come() -> None:
    table = table_of(A, B)

    def ask_lacking(name: str, version: int, *, fresh: bool = False) -> str:
        return told(table.settle(f"{name}.{DOMAIN}", 0, fresh=fresh, lacking=version))

    assert ask_lacking("b", 4) == "172.20.0.3"
    assert ask_lacking("b", 6) == "ask the engine"
    assert ask_lacking("b", 6, fresh=True) == "172.20.0.3"
    assert ask_lacking("a", 6) == "172.20.0.2 fd00:20::2"


def test_a_stopped_container_keeps_its_addresses_for_ten_seconds() -> None:
    table = table_of(A, B)
    table.replace(zone_of(B), 100)
    assert ask(table, "a", 100) == "ask the engine"
    assert ask(table, "a", 109.9, fresh=True) == "172.20.0.2 fd00:20::2"
    assert ask(table, "x.blog", 109.9, fresh=True) == "172.20.0.2 fd00:20::2"
    assert ask(table, "a", 110, fresh=True) == "MISSING"
    assert ask(table, "x.blog", 110, fresh=True) == "MISSING"


def test_looks_meanwhile_do_not_prolong_it() -> None:
    table = table_of(A)
    for now in (100, 105, 109):
        table.replace(zone_of(B), now)
    assert ask(table, "a", 110, fresh=True) == "MISSING"


def test_a_container_that_is_back_has_its_new_address_at_once() -> None:
    table = table_of(A)
    table.replace(zone_of(), 100)
    table.replace(zone_of(container("a", "app=172.20.0.9")), 101)
    assert ask(table, "a", 101) == "172.20.0.9"


def test_one_that_is_off_its_networks_keeps_its_addresses_as_long() -> None:
    table = table_of(A)
    table.replace(zone_of(container("a")), 100)
    assert ask(table, "a", 101, fresh=True) == "172.20.0.2 fd00:20::2"
    assert ask(table, "a", 110, fresh=True) == "EMPTY"


def test_an_address_with_a_new_owner_is_not_answered_for_the_old_name() -> None:
    table = table_of(A)
    table.replace(zone_of(container("new", "app=172.20.0.2")), 100)
    assert ask(table, "a", 100, fresh=True) == "fd00:20::2"
    table = table_of(B)
    table.replace(zone_of(container("renamed", "app=172.20.0.3")), 100)
    assert ask(table, "b", 100, fresh=True) == "MISSING"


def test_a_lost_engine_is_trusted_for_ten_seconds() -> None:
    table = table_of(A)
    table.engine_away(100)
    table.engine_away(105)
    assert ask(table, "a", 109.9) == "172.20.0.2 fd00:20::2"
    assert ask(table, "b", 101, fresh=True) == "UNKNOWN"
    assert ask(table, "a", 110) == "ask the engine"
    assert ask(table, "a", 110, fresh=True) == "UNKNOWN"
    table.replace(zone_of(A), 200)
    assert ask(table, "a", 200) == "172.20.0.2 fd00:20::2"
    assert ask(table, "b", 200, fresh=True) == "MISSING"


def test_before_the_first_look_nothing_is_known() -> None:
    table = Table(DOMAIN)
    assert ask(table, "a") == "ask the engine"
    assert ask(table, "a", fresh=True) == "UNKNOWN"
    table.engine_away(0)
    assert ask(table, "a", fresh=True) == "UNKNOWN"


def test_a_zone_that_lacks_aliases_denies_nothing() -> None:
    table = Table(DOMAIN)
    whole = zone_of(A)
    table.replace(Zone(DOMAIN, names=whole.names, complete=False), 0)
    assert ask(table, "a") == "172.20.0.2 fd00:20::2"
    assert ask(table, "x", fresh=True) == "UNKNOWN"


def test_a_probe_is_answered_whatever_the_engine_does() -> None:
    table = Table(DOMAIN)
    table.engine_away(0)
    assert ask(table, f"{'0a' * 16}.probe", 100) == "127.0.0.1"


def test_addresses_have_names() -> None:
    engine = Engine([A], remap={"172.20.0.0/16": "10.200.0.0/16"})
    table = Table(DOMAIN)
    table.replace(engine.zone(), 0)
    six = ".".join(reversed("fd000020" + "0" * 23 + "2"))
    assert told(table.settle("2.0.200.10.in-addr.arpa", 0, fresh=False)) == "a.docker.test"
    assert told(table.settle(f"{six}.ip6.arpa", 0, fresh=False)) == "a.docker.test"
    assert table.settle("3.0.200.10.in-addr.arpa", 0, fresh=False) is None
    for name, then in (
        ("3.0.200.10", Settled(Verdict.MISSING, apex="0.200.10.in-addr.arpa")),
        ("0.200.10", Settled(Verdict.EMPTY, apex="0.200.10.in-addr.arpa")),
        ("10", Settled(Verdict.OUTSIDE)),
        ("2.0.20.172", Settled(Verdict.OUTSIDE)),
        ("8.8.8.8", Settled(Verdict.OUTSIDE)),
        ("x.10", Settled(Verdict.OUTSIDE)),
    ):
        assert table.settle(f"{name}.in-addr.arpa", 0, fresh=True) == then
    assert table.settle("in-addr.arpa", 0, fresh=True) == Settled(Verdict.OUTSIDE)
    table.engine_away(0)
    assert told(table.settle("3.0.200.10.in-addr.arpa", 1, fresh=True)) == "UNKNOWN"


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("2.0.20.172.in-addr.arpa", "172.20.0.2/32"),
        ("20.172.in-addr.arpa", "172.20.0.0/16"),
        ("0.0.d.f.ip6.arpa", "fd00::/16"),
        ("256.in-addr.arpa", None),
        ("01.in-addr.arpa", None),
        ("1.2.3.4.5.in-addr.arpa", None),
        ("g.ip6.arpa", None),
        ("10.ip6.arpa", None),
        ("in-addr.arpa", None),
        ("x.in-addr.arpa.example", None),
    ],
)
def test_names_of_addresses(name: str, block: str | None) -> None:
    assert reverse_block(name) == (IPNetwork(block) if block else None)
