"""Names while something is away: the tunnel, the watch, the engine, the port."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest

from tests.e2e.names import ANSWERING, DOMAIN, PORT, Names, follow, names_on
from tests.e2e.steps import PROGRAM, Mac, wait_until
from tests.e2e.test_watch import Watching, watch
from tests.e2e.world import listener, network
from tests.lab import Lab
from tests.lab.engine import Engine

#: Most of them say how soon.
pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def names(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Names]:
    """The tunnel with names, for all tests of this file."""
    with names_on(Mac(lab), tmp_path_factory.mktemp("watch")) as names:
        yield names


@pytest.fixture
def engine(names: Names) -> Iterator[Engine]:
    """The engine, which runs afterwards."""
    engine = names.mac.lab.engine
    yield engine
    engine.start()


def test_a_tunnel_that_is_down_delays_no_answer(names: Names) -> None:
    names.mac.macnet("disconnect")
    try:
        waits = []
        for _ in range(20):
            began = time.monotonic()
            assert names.ask("redis") == "172.82.0.100"
            waits.append(time.monotonic() - began)
        # The middle one: a busy machine may be late once.
        assert median(waits) < 0.05, waits
        with names.side.macos(), names.side.looker() as look_up:
            assert look_up(f"redis.{DOMAIN}") == "172.82.0.100"
    finally:
        names.mac.macnet("connect")


def right(names: Names) -> bool:
    """Whether every container of the sample has the address that it has now."""
    found = names.all_homes(*names.mac.lab.sample.running_names)
    return all(names.ask(name).split() == sorted(homes) for name, homes in found.items())


def test_an_engine_that_restarts(names: Names, engine: Engine) -> None:
    """Right within a second after it is back, though watch looks for it less often by then."""
    # What waits to be killed would keep the engine, which answers no more by then.
    names.run("before", "--restart", "always", "--stop-signal", "SIGKILL")
    try:
        names.wait("before", names.address("before"))
        engine.stop()
        assert names.ask("redis") == "172.82.0.100"
        engine.start()
        assert wait_until(lambda: right(names), 10, "all names") < 1
        names.run("after")
        assert names.ask("after") == names.address("after")
        names.wait("before", names.address("before"))
    finally:
        engine.start()
        names.remove("before", "after")


def test_an_engine_that_stays_away(names: Names, engine: Engine) -> None:
    """The last table for ten seconds, then a failure."""
    names.watching.wait_for("the engine is back")
    engine.stop()
    stopped = time.monotonic()
    assert names.ask("redis") == "172.82.0.100"
    assert names.ask("new") == "SERVFAIL"
    follow(lambda: names.ask("redis"), "SERVFAIL".__eq__, 15)
    # Watch may have noticed it while the engine was stopping.
    assert 5 < time.monotonic() - stopped < 12
    assert names.ask("new") == "SERVFAIL"
    engine.start()
    assert names.wait("redis", "172.82.0.100") < 1
    assert wait_until(lambda: right(names), 10, "all names") < 1
    names.mac.macnet("setup")


def test_a_taken_port_is_told_and_routes_go_on(names: Names) -> None:
    """And watch answers as soon as the port is free."""
    mac = names.mac
    try:
        with listener(mac, PORT + 7):
            mac.macnet("names", "on", "--port", str(PORT + 7))
            names.watching.wait_for(f"has port {PORT + 7}, which answers for names")
            with network(mac.lab, "beside", "--subnet", "172.83.21.0/24"):
                names.watching.wait_for("+ 172.83.21.0/24 beside")
            names.watching.wait_for("- 172.83.21.0/24")
            assert names.watching.said.count(f"has port {PORT + 7}") == 1
        names.watching.wait_for(f"answering for {DOMAIN} on 127.0.0.1:{PORT + 7}")
    finally:
        mac.macnet("names", "on", "--port", str(PORT))
    names.watching.wait_for(ANSWERING, times=2)


def test_without_a_watch_a_question_fails_and_does_not_hang(names: Names, tmp_path: Path) -> None:
    """Silence is not kept: what is asked later is right at once."""
    name = f"app-web.{DOMAIN}"
    with names.side.macos(), names.side.looker() as look_up:
        names.watching.end(2)
        began = time.monotonic()
        assert "gaierror" in look_up(name)
        # The file says 2 seconds.
        assert time.monotonic() - began < 3.5
        with watch(names.mac, tmp_path / "said") as again:
            again.wait_for(ANSWERING)
            assert look_up(name) == names.address("app-web")


@contextmanager
def watch_alone(mac: Mac, file: Path) -> Iterator[Watching]:
    """Watch while the block runs, also without an engine."""
    with file.open("w") as out:
        process = mac.lab.popen([PROGRAM, "watch"], env=mac.environment(), stdout=out, stderr=out)
    try:
        yield Watching(process, file)
    finally:
        process.kill()
        process.wait(10)


def test_a_watch_that_starts_before_its_engine(
    names: Names, engine: Engine, tmp_path: Path
) -> None:
    """As the agent does at login: questions fail at once, and nothing is wrong but the engine."""
    names.watching.end(2)
    engine.stop()
    with (
        names.side.macos(),
        names.side.looker() as look_up,
        watch_alone(names.mac, tmp_path / "said") as again,
    ):
        again.wait_for("waiting for the engine")
        assert ANSWERING in again.said
        assert names.ask("redis") == names.ask("new") == "SERVFAIL"
        env = names.mac.environment()
        found = names.side.macnet("check", "--json", env=env, check=False).stdout
        results = {one["id"]: one["outcome"] for one in json.loads(found)["check"]["results"]}
        assert [name for name, outcome in results.items() if outcome == "fail"] == [
            "engine.reachable"
        ]
        assert {results[f"names.{name}"] for name in ("file", "port", "system")} == {"ok"}
        engine.start()
        names.wait("redis", "172.82.0.100")
        assert look_up(f"redis.{DOMAIN}") == "172.82.0.100"
        again.wait_for("the engine is back")
    names.mac.macnet("setup")
