"""The live map: when it looks, when it asks the containers, and what it says meanwhile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from macnet.chart import live
from macnet.chart.chart import Chart, Reach, Sight, ask, look
from macnet.chart.live import ASK_S, LiveMap, changes_map
from macnet.choices import CarrierKind
from macnet.engine import EngineEvent
from macnet.errors import BadValue
from macnet.settings import Settings
from macnet.state import Way, save_state
from macnet.tunnel import follow
from macnet.tunnel.naming import NamedNetworks
from tests.unit.checks.world import World as Model
from tests.unit.fake_watch import LOST, Clock, End, World

STARTED = EngineEvent("container", "start", "web", {})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (live, follow):
        monkeypatch.setattr(module, "time", clock)
    return clock


class Map:
    """A live map of a scripted engine: when it looked and asked, and what it has shown."""

    def __init__(
        self, world: World, sight: Sight, monkeypatch: pytest.MonkeyPatch, *, watched: bool = True
    ) -> None:
        self.shown: list[Chart] = []
        self.asked: list[float] = []

        def see(*_: object) -> Sight:
            world.look()
            return sight

        def answer(*_: object, **__: object) -> Chart:
            self.asked.append(world.clock.now)
            return Chart(())

        monkeypatch.setattr(live, "look", see)
        monkeypatch.setattr(live, "ask", answer)
        with pytest.raises(End):
            LiveMap(world.open_tunnel, self.shown.append, watched=lambda: watched).run()


@pytest.fixture
def sight(tmp_path: Path) -> Sight:
    return look(Model(tmp_path).tunnel)


def test_the_map_names_the_way_to_another_machine(tmp_path: Path, sight: Sight) -> None:
    assert "by ssh" not in sight.engine
    model = Model(tmp_path)
    state = replace(model.tunnel.state(), way=Way(CarrierKind.SSH, "build-box"))
    save_state(model.tunnel.paths.state, state)
    assert look(model.tunnel).engine == f"{sight.engine}, by ssh to build-box"


def test_one_look_for_each_change_and_questions_in_between(
    clock: Clock, sight: Sight, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(clock, [[1.0, STARTED, STARTED, STARTED, 2 * ASK_S + 1.0]])
    found = Map(world, sight, monkeypatch)
    assert len(world.looks) == 2
    assert len(found.asked) == len(found.shown) == 4


def test_nobody_is_asked_for_a_map_that_nobody_has_open(
    clock: Clock, sight: Sight, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(clock, [[4 * ASK_S]])
    assert len(Map(world, sight, monkeypatch, watched=False).asked) == len(world.looks) == 1


def test_an_engine_that_goes_leaves_what_was_seen(
    clock: Clock, sight: Sight, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Map(World(clock, [[1.0, LOST], LOST, [1.0]]), sight, monkeypatch)
    first, lost, still, back = found.shown
    assert (first.problem, back.problem) == (None, None)
    assert lost.problem == still.problem == f"waiting for the engine: {LOST}"
    assert {"redis", "vault"} < {c.name for n in lost.networks for c in n.containers}
    assert {c.reach for n in lost.networks for c in n.containers} == {Reach.UNTRIED}


def test_an_engine_that_was_never_there(
    clock: Clock, sight: Sight, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Map(World(clock, [LOST]), sight, monkeypatch)
    assert found.shown == [Chart((), f"waiting for the engine: {LOST}")]


def test_each_look_is_with_the_settings_of_now(
    clock: Clock, sight: Sight, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(clock, [[1.0, STARTED, 1.0], [1.0]])
    damaged = BadValue("config.toml is not valid TOML")
    world.settings = [Settings(), Settings(), damaged, Settings(), Settings()]
    problems = [chart.problem for chart in Map(world, sight, monkeypatch).shown]
    assert problems == [None, str(damaged), None]


@pytest.mark.parametrize(
    ("kind", "action", "expected"),
    [
        ("container", "start", True),
        ("container", "die", True),
        ("container", "rename", True),
        ("container", "exec_create: sh", False),
        ("container", "health_status: healthy", False),
        ("network", "create", True),
        ("network", "connect", True),
        ("network", "disconnect", True),
        ("network", "destroy", True),
        ("network", "prune", False),
    ],
)
def test_which_events_change_the_map(kind: str, action: str, expected: bool) -> None:
    assert changes_map(EngineEvent(kind, action, "x", {})) is expected


def test_the_answers_cost_the_engine_nothing(tmp_path: Path) -> None:
    model = Model(tmp_path)
    sight = look(model.tunnel)
    model.kill_engine()
    model.prober.doors.add(("172.82.0.100", 6379))
    chart = ask(model.tunnel, sight, prober=model.prober)
    assert chart.problem is None
    assert chart.networks[0].containers[0].reach is Reach.YES


def test_names_are_on_the_map_and_each_container_is_inspected_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(tmp_path / "tunnel")
    inspected: list[str] = []
    inspect = model.engine.inspect

    def counted(identity: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        inspected.append(identity)
        return inspect(identity)

    monkeypatch.setattr(model.engine, "inspect", counted)
    networks = NamedNetworks(lambda: model.tunnel)
    assert not any(p.names for i in networks(model.tunnel) for p in i.network.endpoints)
    model.names_on()
    for _ in range(3):
        found = {p.container: p.names for i in networks(model.tunnel) for p in i.network.endpoints}
        assert found["redis"] == ("redis.docker.test", "redis.app.docker.test")
    assert len(inspected) == len(set(inspected)) == 3
