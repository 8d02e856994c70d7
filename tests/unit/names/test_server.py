"""What the server answers, and how often it asks the engine."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from macnet.errors import EngineUnreachable, SubnetConflict
from macnet.names import server as module
from macnet.names.server import NameServer
from macnet.names.zone import Zone
from tests.unit.names.samples import DOMAIN, container
from tests.unit.names.serving import B, World, ask, running, until


@pytest.mark.parametrize("tcp", [False, True])
def test_questions_over_udp_and_tcp(server: NameServer, *, tcp: bool) -> None:
    assert ask(server, "a", tcp=tcp) == "172.20.0.2"
    assert ask(server, "a", "AAAA", tcp=tcp) == "NOERROR"
    assert ask(server, "x", tcp=tcp) == "NXDOMAIN"
    assert server.problem is None


def test_a_known_name_needs_no_look(world: World, server: NameServer) -> None:
    until(lambda: bool(server.zone.names))
    for _ in range(20):
        assert ask(server, "a") == "172.20.0.2"
        assert ask(server, "a", "AAAA") == "NOERROR"
    assert world.looks == 1


def test_a_name_that_has_just_come_is_never_denied(world: World, server: NameServer) -> None:
    """No event tells of these containers: the question itself makes the server look."""
    for i in range(100):
        world.engine.rows.append(container(f"n{i}", f"app=172.20.1.{i}"))
        assert ask(server, f"n{i}") == f"172.20.1.{i}"


def test_a_denial_comes_from_a_look_that_began_after_the_question(
    world: World, server: NameServer
) -> None:
    until(lambda: bool(server.zone.names))
    world.hold = first = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(ask, server, "b")
        assert world.held.acquire(timeout=10)
        # The look for `early` runs and has perhaps read its list already. This one needs another.
        late = pool.submit(ask, server, "c")
        until(lambda: len(server._tasks) == 2)
        world.hold = None
        world.error = None
        first.set()
        assert early.result(10) == "NXDOMAIN"
        assert late.result(10) == "NXDOMAIN"
    assert world.looks == 3


def test_a_look_that_runs_already_is_not_enough(world: World, server: NameServer) -> None:
    until(lambda: bool(server.zone.names))
    old = world.engine.zone()
    entered, leave = threading.Event(), threading.Event()

    def slow() -> Zone:
        entered.set()
        assert leave.wait(10)
        server._refresh = world.refresh
        return old

    server._refresh = slow
    server.changed()
    assert entered.wait(10)
    world.engine.rows.append(B)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, server, "b")
        until(lambda: len(server._tasks) == 1)
        leave.set()
        assert asked.result(10) == "172.20.0.3"


def test_questions_of_one_moment_share_a_look(
    world: World, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 10.0)  # the machine may be busy
    until(lambda: bool(server.zone.names))
    world.hold = hold = threading.Event()
    with ThreadPoolExecutor(21) as pool:
        first = pool.submit(ask, server, "x")
        assert world.held.acquire(timeout=10)
        rest = [pool.submit(ask, server, f"x{i}") for i in range(20)]
        until(lambda: len(server._tasks) == 21)
        world.hold = None
        hold.set()
        assert {one.result(10) for one in [first, *rest]} == {"NXDOMAIN"}
    assert world.looks == 3


def test_changes_are_seen_without_a_question(world: World, server: NameServer) -> None:
    until(lambda: bool(server.zone.names))
    world.engine.rows[0] = container("a", "app=172.20.0.9")
    server.changed()
    until(lambda: ask(server, "a") == "172.20.0.9")


def test_a_change_that_the_engine_tells_too_early_is_seen_all_the_same(
    world: World, server: NameServer
) -> None:
    """Docker's event of a connected network comes before its lists have the address."""
    until(lambda: bool(server.zone.names))
    looks = world.looks
    server.changed()
    until(lambda: world.looks > looks)
    assert ask(server, "a") == "172.20.0.2"
    world.engine.rows[0] = container("a", "app=172.20.0.9")
    until(lambda: ask(server, "a") == "172.20.0.9")
    until(lambda: world.looks == looks + 3)
    # Nothing has changed since, so nothing more is asked.
    time.sleep(0.1)
    assert world.looks == looks + 3


def test_an_address_of_another_version_is_not_denied_while_something_changes(
    world: World, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`docker network connect six a`, and a program that asks at once."""
    monkeypatch.setattr(module, "AGAIN_S", (0.2, 10.0))
    monkeypatch.setattr(module, "PATIENCE_S", 10.0)  # the machine may be busy
    until(lambda: bool(server.zone.names))
    world.hold = hold = threading.Event()
    server.changed()
    assert world.held.acquire(timeout=10)
    # That look has perhaps read its list already.
    world.engine.rows[0] = container("a", "app=172.20.0.2", "app=fd00:20::2")
    assert ask(server, "a") == "172.20.0.2"
    assert ask(server, "a", "MX") == "NOERROR"
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, server, "a", "AAAA")
        until(lambda: len(server._tasks) == 1)
        world.hold = None
        hold.set()
        assert asked.result(10) == "fd00:20::2"
    # Where it has none, that is said, and once nothing changes any more without a look.
    world.engine.rows[0] = container("a", "app=172.20.0.2")
    server.changed()
    assert ask(server, "a", "AAAA") == "NOERROR"
    server._again = []
    looks = world.looks
    assert ask(server, "a", "AAAA") == "NOERROR"
    assert world.looks == looks


def test_what_is_known_is_said_where_the_engine_hangs_after_a_change(
    world: World, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    until(lambda: bool(server.zone.names))
    world.hold = threading.Event()
    server.changed()
    assert world.held.acquire(timeout=10)
    assert ask(server, "a", "AAAA") == "NOERROR"
    assert ask(server, "x") == "SERVFAIL"


def test_an_engine_that_is_back_is_found_before_its_events_come_again(
    world: World, server: NameServer
) -> None:
    until(lambda: bool(server.zone.names))
    world.error = EngineUnreachable("no engine")
    server.engine_lost()
    until(lambda: server.problem is not None)
    assert ask(server, "a") == "172.20.0.2"
    world.engine.rows[0] = container("a", "app=172.20.0.9")
    world.error = None
    until(lambda: ask(server, "a") == "172.20.0.9")
    # Its containers start one after the other, and no event tells.
    world.engine.rows[0] = container("a", "app=172.20.0.10")
    until(lambda: ask(server, "a") == "172.20.0.10")
    server.changed()


def test_an_engine_that_stays_away_is_not_asked_for_ever(world: World, server: NameServer) -> None:
    until(lambda: bool(server.zone.names))
    world.error = EngineUnreachable("no engine")
    server.engine_lost()
    until(lambda: server.problem is not None)
    world.now += 10
    time.sleep(2 * module.BLIND_S)
    looks = world.looks
    time.sleep(2 * module.BLIND_S)
    assert world.looks == looks


def test_a_stopped_container_is_answered_for_a_while(world: World, server: NameServer) -> None:
    assert ask(server, "a") == "172.20.0.2"
    world.engine.rows.clear()
    server.changed()
    until(lambda: not server.zone.names)
    world.now += 9.9
    assert ask(server, "a") == "172.20.0.2"
    world.now += 0.1
    assert ask(server, "a") == "NXDOMAIN"


def test_a_lost_engine(world: World, server: NameServer) -> None:
    assert ask(server, "a") == "172.20.0.2"
    world.error = EngineUnreachable("no engine")
    assert ask(server, "x") == "SERVFAIL"
    assert str(server.problem) == "no engine"
    world.now += 9.9
    assert ask(server, "a") == "172.20.0.2"
    world.now += 0.1
    assert ask(server, "a") == "SERVFAIL"
    world.error = None
    assert ask(server, "a") == "172.20.0.2"
    assert ask(server, "x") == "NXDOMAIN"
    assert server.problem is None
    server.engine_lost()
    world.now += 10
    assert ask(server, "a") == "172.20.0.2"


def test_without_an_engine_from_the_start(world: World) -> None:
    world.error = SubnetConflict("the remap cannot be")
    with running(world) as server:
        assert ask(server, "a") == "SERVFAIL"
        assert server.problem is world.error


@pytest.mark.parametrize("error", [OSError("no such interface"), KeyError("Id")])
def test_what_nobody_expected_ends_no_looks(
    world: World, server: NameServer, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """psutil fails so where an interface vanishes meanwhile; a bug does too."""
    assert ask(server, "a") == "172.20.0.2"
    world.error = error
    for _ in range(3):
        assert ask(server, "x") == "SERVFAIL"
    assert server.problem is error
    assert ask(server, "a") == "172.20.0.2"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    world.error = None
    assert ask(server, "x") == "NXDOMAIN"
    assert server.problem is None


def test_an_engine_that_hangs_is_not_waited_for_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    world.hold = threading.Event()
    with running(world) as server:
        assert ask(server, "a") == "SERVFAIL"
        world.hold.set()
        until(lambda: bool(server.zone.names))
        assert ask(server, "a") == "172.20.0.2"


def test_aliases_that_come_late_are_waited_for(world: World) -> None:
    world.complete = False
    world.engine.rows.append(B)
    done = []

    def refresh() -> Zone:
        done.append(1)
        world.complete = len(done) == 3
        world.engine.aliases = {"b": {"app": ["db"]}} if world.complete else {}
        return world.refresh()

    server = NameServer(DOMAIN, 0, refresh)
    server.start()
    try:
        assert ask(server, "db.app") == "172.20.0.3"
    finally:
        server.stop()


def test_too_many_questions_at_one_time_fail_at_once(
    world: World, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: bool(server.zone.names))
    monkeypatch.setattr(module, "MOST_WAITING", 1)
    world.hold = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, server, "x")
        until(lambda: len(server._tasks) == 1)
        assert ask(server, "y") == "SERVFAIL"
        assert ask(server, "a") == "172.20.0.2"
        world.hold.set()
        assert first.result(10) == "NXDOMAIN"
