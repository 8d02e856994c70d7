"""Watch takes a look when something has happened, and tells each thing once."""

from __future__ import annotations

import pytest

from macnet import watch
from macnet.config import Config
from macnet.engine import EngineEvent
from macnet.errors import BadValue, Busy, HelperFailed
from macnet.helper import LABEL_NAME
from macnet.tunnel import FollowResult, RouteChanges
from macnet.watch import WatchKind, lines_of, matters
from tests.unit.fake_watch import LOST, ONE, TWO, Clock, Step, World, changes, created


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watch, "time", clock)
    return clock


def test_it_looks_once_at_the_start(clock: Clock) -> None:
    world = World(clock, [[0.5]])
    world.results = [changes(added=(ONE, TWO))]
    assert world.run() == ["following the engine", f"+ {ONE} app", f"+ {TWO}"]
    assert world.types == ["network", "container"]
    assert len(world.looks) == 1
    assert world.closed == 1


def test_a_change_gives_a_look_as_soon_as_it_has_settled(clock: Clock) -> None:
    world = World(clock, [[3.0, created(), 1.0]])
    world.run()
    assert world.looks == [1000.0, pytest.approx(1003.0 + watch.SETTLE_S)]


def test_changes_that_come_together_give_one_look(clock: Clock) -> None:
    burst: list[Step] = [created(f"n{number}") for number in range(20)]
    world = World(clock, [[*burst, 5.0]])
    world.run()
    assert len(world.looks) == 2


def test_a_stream_of_changes_does_not_put_the_look_off_for_ever(clock: Clock) -> None:
    def tick() -> None:
        clock.pass_by(0.05)

    flood: list[Step] = [step for _ in range(60) for step in (created(), tick)]
    world = World(clock, [[*flood, 1.0]])
    world.run()
    gaps = [later - before for before, later in zip(world.looks, world.looks[1:], strict=False)]
    assert len(world.looks) == 4
    assert max(gaps) <= watch.SETTLE_LIMIT_S + 0.15


def test_what_does_not_matter_gives_no_look(clock: Clock) -> None:
    other = EngineEvent("container", "start", "web", {})
    world = World(clock, [[other, other, 2.0]])
    world.run()
    assert len(world.looks) == 1


def test_silence_gives_a_sign_of_life_and_now_and_then_a_look(clock: Clock) -> None:
    world = World(clock, [[watch.ALIVE_S + 2.5]])
    world.run()
    assert (world.pings, len(world.looks)) == (1, 1)
    world = World(clock, [[watch.LOOK_S + 2.5]])
    world.run()
    assert len(world.looks) == 2
    assert world.pings == 5


def test_a_machine_that_slept_gives_a_look(clock: Clock) -> None:
    world = World(clock, [[2.0, lambda: clock.machine_sleeps(3600.0), 3.0]])
    world.run()
    assert len(world.looks) == 2
    # A clock that is set right by a little is no sleep.
    world = World(clock, [[2.0, lambda: clock.machine_sleeps(1.0), 3.0]])
    world.run()
    assert len(world.looks) == 1


def test_an_engine_that_goes_and_comes_is_told_once_each(clock: Clock) -> None:
    world = World(clock, [[1.0, LOST], LOST, LOST, [1.0, LOST], [1.0]])
    text = f"waiting for the engine: {LOST}"
    assert world.run() == [
        "following the engine",
        text,
        "the engine is back",
        text,
        "the engine is back",
    ]
    assert clock.slept[:4] == [0.5, 1.0, 2.0, 0.5]
    assert len(world.looks) == 3
    assert world.closed == 3


def test_an_engine_that_is_not_there_at_the_start(clock: Clock) -> None:
    world = World(clock, [*[LOST] * 8, [1.0]])
    told = world.run()
    assert told == [f"waiting for the engine: {LOST}", "the engine is back"]
    assert max(clock.slept) == watch.RETRY_LIMIT_S


def test_an_engine_lost_during_a_look(clock: Clock) -> None:
    world = World(clock, [[1.0], [1.0]])
    world.results = [LOST, changes(added=(TWO,))]
    told = world.run()
    assert told[1:] == [f"waiting for the engine: {LOST}", "the engine is back", f"+ {TWO}"]


def test_while_another_changes_the_tunnel_it_tries_again(clock: Clock) -> None:
    world = World(clock, [[1.0]])
    world.results = [Busy("busy"), Busy("busy"), changes(added=(TWO,))]
    assert world.run() == ["following the engine", f"+ {TWO}"]
    assert clock.slept == [watch.BUSY_S, watch.BUSY_S]


def test_a_problem_is_told_once_and_watching_goes_on(clock: Clock) -> None:
    world = World(clock, [[1.0, created(), 1.0, created(), 1.0, created(), 1.0]])
    failed = HelperFailed("the relay does not run")
    world.results = [failed, failed, changes(added=(TWO,)), failed]
    assert world.run()[1:] == [str(failed), f"+ {TWO}", str(failed)]


def test_each_look_is_with_the_settings_of_now(clock: Clock) -> None:
    """A setup beside the watch, or the user, may have changed them."""
    world = World(clock, [[1.0, created(), 1.0, created(), 1.0]])
    damaged = BadValue("config.toml is not valid TOML")
    world.settings = [Config(), Config(), damaged, Config()]
    assert world.run() == ["following the engine", str(damaged)]
    assert len(world.looks) == 2
    assert world.settings == []


def test_another_engine_in_the_settings_is_followed_then(clock: Clock) -> None:
    world = World(clock, [[1.0, created(), 1.0], [1.0]])
    other = Config(context="colima", name="colima")
    world.settings = [Config(), Config(), other, other, other]
    assert world.run() == ["following the engine", "following the engine"]
    assert len(world.looks) == 2
    assert world.closed == 2
    assert clock.slept == []


def test_standing_remarks_are_told_once_and_changes_each_time(clock: Clock) -> None:
    world = World(clock, [[1.0, created(), 1.0, created(), 1.0]])
    remarks = changes(stale=(TWO,), warnings=("left out",))
    routes = changes(added=(ONE,), stale=(TWO,), warnings=("left out",))
    world.results = [remarks, routes, routes]
    told = world.run()
    stale = f"{TWO} is gone but still in the profile: `macnet regenerate` takes it out"
    assert told[1:] == [stale, "left out", f"+ {ONE} app", f"+ {ONE} app"]


def test_once_takes_one_look_and_raises_what_goes_wrong(clock: Clock) -> None:
    world = World(clock, [])
    world.results = [changes(removed=(TWO,)), Busy("busy")]
    watching = world.watch()
    assert watching.once().routes.removed == (TWO,)
    assert [(line.kind, line.removed) for line in world.told] == [(WatchKind.ROUTES, (TWO,))]
    with pytest.raises(Busy):
        watching.once()


def test_lines_of_a_look() -> None:
    result = changes((ONE,), (TWO,), repaired=("macnet-relay",), warnings=("careful",))
    assert [(line.kind.value, line.text) for line in lines_of(result)] == [
        ("repaired", "macnet-relay was missing and runs again"),
        ("routes", f"- {TWO}"),
        ("routes", f"+ {ONE} app"),
        ("left_out", "careful"),
    ]
    (line,) = lines_of(FollowResult(set_up=False, routes=RouteChanges((), (), ())))
    assert line.kind is WatchKind.NOT_SET_UP
    assert "macnet setup" in line.text


@pytest.mark.parametrize(
    ("kind", "action", "label", "expected"),
    [
        ("network", "create", None, True),
        ("network", "destroy", None, True),
        ("network", "connect", None, False),
        ("network", "disconnect", None, False),
        ("container", "destroy", "macnet", True),
        ("container", "destroy", "other", False),
        ("container", "destroy", None, False),
        ("container", "die", "macnet", False),
        ("container", "exec_create: sh", "macnet", False),
    ],
)
def test_which_events_matter(kind: str, action: str, label: str | None, expected: bool) -> None:
    labels = {LABEL_NAME: label} if label else {}
    assert matters(EngineEvent(kind, action, "x", labels), "macnet") is expected
