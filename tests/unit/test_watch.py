"""Watch takes a look when something has happened, and tells each thing once."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from macnet import watch
from macnet.engine import Container, EngineEvent
from macnet.errors import (
    BadValue,
    Busy,
    CarrierDenied,
    CarrierUnreachable,
    HelperFailed,
    MacnetError,
    PortTaken,
    UnknownContext,
)
from macnet.helper import LABEL_NAME, LABEL_ROLE
from macnet.models import Donor, Further, ReachKind
from macnet.networks import select_networks, with_further
from macnet.settings import Settings
from macnet.tunnel import follow
from macnet.tunnel.results import JoinedReport
from macnet.values import AlsoRequest
from macnet.watch import WatchKind, lines_of, matters
from tests.unit.fake_watch import LOST, ONE, TWO, Clock, Step, World, changes, created
from tests.unit.test_kubernetes import kind


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (watch, follow):
        monkeypatch.setattr(module, "time", clock)
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
    assert world.looks == [1000.0, pytest.approx(1003.0 + follow.SETTLE_S)]


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
    assert max(gaps) <= follow.SETTLE_LIMIT_S + 0.15


def test_what_does_not_matter_gives_no_look(clock: Clock) -> None:
    other = EngineEvent("container", "start", "web", {})
    world = World(clock, [[other, other, 2.0]])
    world.run()
    assert len(world.looks) == 1


def test_silence_gives_a_sign_of_life_and_now_and_then_a_look(clock: Clock) -> None:
    world = World(clock, [[follow.ALIVE_S + 2.5]])
    world.run()
    assert (world.pings, len(world.looks)) == (1, 1)
    world = World(clock, [[follow.LOOK_S + 2.5]])
    world.run()
    assert len(world.looks) == 2
    assert world.pings == 5


def test_a_machine_that_slept_gives_a_look(clock: Clock) -> None:
    world = World(clock, [[2.0, lambda: clock.machine_sleeps(3600.0), 3.0]])
    world.run()
    assert len(world.looks) == 2
    # What carries the engine is looked at first, and once.
    assert world.woken == [world.looks[1]]
    # A clock that is set right by a little is no sleep.
    world = World(clock, [[2.0, lambda: clock.machine_sleeps(1.0), 3.0]])
    world.run()
    assert len(world.looks) == 1
    assert world.woken == []


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
    world = World(clock, [*[LOST] * 40, [1.0]])
    told = world.run()
    assert told == [f"waiting for the engine: {LOST}", "the engine is back"]
    assert max(clock.slept) == follow.RETRY_LIMIT_S


@pytest.mark.parametrize(
    ("error", "longest"),
    [
        (CarrierUnreachable("box does not answer ssh"), follow.RETRY_SOON_S),
        (CarrierDenied("box does not let this user in"), follow.RETRY_LIMIT_S),
    ],
)
def test_a_machine_that_does_not_answer_is_tried_again_soon_for_as_long_as_it_takes(
    clock: Clock, error: MacnetError, longest: float
) -> None:
    """To fail there is cheap; a login that is refused over and over may be locked out."""
    world = World(clock, [*[error] * 200, [1.0]])
    world.run()
    assert max(clock.slept) == longest


@pytest.mark.parametrize(
    ("error", "pauses"),
    [
        # From the second try on it has waited long enough.
        (CarrierUnreachable("box does not answer ssh"), [0.0, 0.0, 0.5, 0.5]),
        (CarrierDenied("box does not let this user in"), [0.5, 1.0, 2.0, 2.0]),
    ],
)
def test_what_a_try_waited_for_the_machine_counts_as_pause(
    clock: Clock, error: MacnetError, pauses: list[float]
) -> None:
    """A pause on top of it would keep a machine that is back waiting."""
    world = World(clock, [*[error] * 4, [1.0]])
    waits = [5.0, 1.0, 1.5, 1.5]
    world.opening = lambda: clock.pass_by(waits.pop(0) if waits else 0.0)
    world.run()
    assert clock.slept[:4] == pauses


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


def test_a_look_that_failed_is_taken_again_soon(clock: Clock) -> None:
    """What was in the way may be gone, and no event tells of that."""
    world = World(clock, [[30.0]])
    failed = PortTaken("port is already allocated")
    world.results = [failed, failed, failed, changes(added=(TWO,))]
    assert world.run() == ["following the engine", str(failed), f"+ {TWO}"]
    pauses = [after - before for before, after in pairwise(world.looks)]
    assert pauses == pytest.approx([2, 4, 8], abs=1.1)


def test_looks_that_go_on_failing_are_as_rare_as_others(clock: Clock) -> None:
    world = World(clock, [[600.0]])
    world.results = [HelperFailed("the relay does not run")] * 20
    world.run()
    pauses = [after - before for before, after in pairwise(world.looks)]
    assert pauses[-5:] == pytest.approx([follow.LOOK_S] * 5, abs=1.1)


def test_each_look_is_with_the_settings_of_now(clock: Clock) -> None:
    """A setup beside the watch, or the user, may have changed them."""
    world = World(clock, [[1.0, created(), 1.0, created(), 1.0]])
    damaged = BadValue("config.toml is not valid TOML")
    world.settings = [Settings(), Settings(), damaged, Settings()]
    assert world.run() == ["following the engine", str(damaged)]
    assert len(world.looks) == 2
    assert world.settings == []


def test_it_outlives_what_keeps_it_from_opening_the_tunnel(clock: Clock) -> None:
    """A context that is gone while its VM is rebuilt, a config.toml that is being edited."""
    world = World(clock, [[1.0]])
    gone = UnknownContext("there is no Docker context colima")
    damaged = BadValue("config.toml is not valid TOML")
    world.settings = [gone, gone, damaged, Settings()]
    assert world.run() == [str(gone), str(damaged), "following the engine"]
    assert len(world.looks) == 1


def test_standing_remarks_are_told_once_and_changes_each_time(clock: Clock) -> None:
    world = World(clock, [[1.0, created(), 1.0, created(), 1.0]])
    remarks = changes(stale=(TWO,), warnings=("left out",))
    routes = changes(added=(ONE,), stale=(TWO,), warnings=("left out",))
    world.results = [remarks, routes, routes]
    told = world.run()
    stale = f"the VPN client still has a route for {TWO}: `macnet regenerate` takes it away"
    assert told[1:] == [stale, "left out", f"+ {ONE} app", f"+ {ONE} app"]


def test_once_takes_one_look_and_raises_what_goes_wrong(clock: Clock) -> None:
    world = World(clock, [])
    world.results = [changes(removed=(TWO,)), Busy("busy")]
    watching = world.watch()
    watching.once()
    assert [(line.kind, line.removed) for line in world.told] == [(WatchKind.ROUTES, (TWO,))]
    with pytest.raises(Busy):
        watching.once()


def test_lines_of_a_look() -> None:
    result = changes((ONE,), (TWO,), repaired=("macnet-relay",), warnings=("careful",))
    assert [(line.kind.value, line.text) for line in lines_of(result)] == [
        ("repaired", "macnet-relay did not run; it is started again"),
        ("routes", f"- {TWO}"),
        ("routes", f"+ {ONE} app"),
        ("left_out", "careful"),
    ]
    (line,) = lines_of(None)
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
        ("container", "stop", "macnet", True),
        ("container", "stop", "other", False),
        ("container", "die", "macnet", True),
        ("container", "die", "other", False),
        ("container", "kill", "macnet", False),
        ("container", "exec_create: sh", "macnet", False),
    ],
)
def test_which_events_matter(kind: str, action: str, label: str | None, expected: bool) -> None:
    labels = {LABEL_NAME: label} if label else {}
    assert matters(EngineEvent(kind, action, "x", labels), "macnet") is expected


@pytest.mark.parametrize(
    ("action", "label", "expected"),
    [
        *(("die", "macnet", True), ("start", "macnet", True), ("destroy", "macnet", True)),
        *(("create", "macnet", False), ("die", "other", False), ("start", "other", False)),
    ],
)
def test_which_events_of_joiners_matter(action: str, label: str, expected: bool) -> None:
    labels = {LABEL_NAME: label, LABEL_ROLE: "joiner"}
    assert matters(EngineEvent("container", action, "x", labels), "macnet") is expected


def ends(
    clock: Clock, status: str | None, *steps: Step, role: str = "relay", action: str = "die"
) -> float | None:
    """Seconds from the end of a part of the helper, which the engine then says is ``status``."""
    labels = {LABEL_NAME: "macnet", LABEL_ROLE: role}
    event = EngineEvent("container", action, "macnet-relay", labels, "id-1")
    world = World(clock, [[1.0, event, *steps, 10.0]])
    if status is not None:
        world.parts["id-1"] = Container("id-1", "x", "x", labels, status, None, 0, 0, {}, {})
    begin = clock.now + 1.0
    world.run()
    assert len(world.looks) <= 2
    return world.looks[1] - begin if len(world.looks) == 2 else None


def own(action: str, identity: str = "id-1") -> EngineEvent:
    labels = {LABEL_NAME: "macnet", LABEL_ROLE: "relay"}
    return EngineEvent("container", action, "macnet-relay", labels, identity)


@pytest.mark.parametrize("role", ["server", "relay"])
def test_a_helper_that_was_killed_is_seen_to_soon(clock: Clock, role: str) -> None:
    """After `docker kill` the engine leaves it as it is."""
    assert ends(clock, "exited", role=role) == pytest.approx(follow.RESTART_HELPER_S)
    assert ends(clock, "exited", own("stop"), role=role) == pytest.approx(follow.RESTART_HELPER_S)


def test_one_that_docker_starts_again_is_left_alone(clock: Clock) -> None:
    """`docker restart` and an engine that gives no status of that kind (Podman)."""
    moment: Step = lambda: clock.pass_by(1.0)  # noqa: E731
    soon = ends(clock, "exited", own("stop"), moment, own("start"))
    assert soon == pytest.approx(1.0 + follow.SETTLE_S)
    # Docker 28 tells the stop first.
    soon = ends(clock, "exited", own("die"), moment, own("start"), action="stop")
    assert soon == pytest.approx(1.0 + follow.SETTLE_S)


@pytest.mark.parametrize("status", ["restarting", "running", None])
def test_one_that_the_engine_starts_again_gives_no_look(clock: Clock, status: str | None) -> None:
    assert ends(clock, status) is None


def test_nobody_waits_for_one_that_is_removed(clock: Clock) -> None:
    assert ends(clock, "exited", own("destroy")) == pytest.approx(follow.SETTLE_S)


def test_what_is_also_reached_is_followed(clock: Clock) -> None:
    """With the settings of now; a container that starts again at once gives one look."""
    die, start = (EngineEvent("container", what, "router", {}) for what in ("die", "start"))
    asked = Settings(also=AlsoRequest(through=((ONE, "router"),)))
    moment: Step = lambda: clock.pass_by(0.3)  # noqa: E731
    world = World(clock, [[die, 2.0, created(), 2.0, die, moment, start, 2.0, start, 2.0]])
    # Opened for its engine, for the first look, and for the second one.
    world.settings = [Settings(), Settings(), asked]
    joined = JoinedReport("macnet-joiner-1", "router", (ONE,))
    world.results = [changes(), changes(), replace(changes(), joined=(joined,))]
    told = world.run()
    assert len(world.looks) == 4
    assert told[-1] == f"macnet-joiner-1 joined the network of router: {ONE}"


KUBERNETES = Settings(also=AlsoRequest(kubernetes=True))
CONTROL, WORKER = kind("control", "control-plane", 1), kind("worker", "worker", 2)


def happened(action: str, name: str) -> EngineEvent:
    return EngineEvent("container", action, name, {}, f"id-{name}")


def seconds_until_the_look(clock: Clock, *steps: Step, nodes: tuple[Any, ...] = ()) -> float:
    """After steps that begin at 1001 s, while the control plane lends the way to a cluster."""
    donor = Donor("id-control", "control", "then")
    further = Further("kind", ReachKind.CLUSTER, (ONE,), donor)
    routed = select_networks(with_further((), [further]), include=("*",), exclude=())
    world = World(clock, [[1.0, *steps, 5.0]])
    world.settings_now, world.rows = KUBERNETES, list(nodes)
    world.results = [replace(changes(), networks=routed)]
    begin = clock.now + 1.0
    world.run()
    assert len(world.looks) == 2
    return world.looks[1] - begin


def test_a_container_that_ends_may_be_starting_again(clock: Clock) -> None:
    die, start = happened("die", "control"), happened("start", "control")
    moment: Step = lambda: clock.pass_by(0.3)  # noqa: E731
    alone = seconds_until_the_look(clock, die)
    assert alone == pytest.approx(follow.RESTART_S)
    # Then the look need not wait any longer.
    assert seconds_until_the_look(clock, die, moment, start) == pytest.approx(0.3 + follow.SETTLE_S)
    # As when several are started again.
    both = (die, happened("die", "worker"), start, moment, happened("start", "worker"))
    assert seconds_until_the_look(clock, *both) == pytest.approx(0.3 + follow.SETTLE_S)


def test_what_changes_nothing_does_not_put_a_look_off(clock: Clock) -> None:
    """Such as health checks, of which a busy engine has some each moment."""
    moment: Step = lambda: clock.pass_by(0.05)  # noqa: E731
    health = [step for _ in range(40) for step in (moment, happened("exec_die", "web"))]
    assert seconds_until_the_look(clock, happened("die", "control"), *health) <= 0.56
    assert seconds_until_the_look(clock, happened("start", "web"), *health) <= 0.16


def test_where_another_node_can_lend_the_way_nobody_waits(clock: Clock) -> None:
    ends = happened("die", "control")
    soon = seconds_until_the_look(clock, ends, nodes=(WORKER,))
    assert soon == pytest.approx(follow.SETTLE_S)
    other = kind("b-worker", "worker", 2, cluster="b")
    for nodes in ((), (CONTROL,), (WORKER | {"State": "exited"},), (other,)):
        took = seconds_until_the_look(clock, ends, nodes=nodes)
        assert took == pytest.approx(follow.RESTART_S)
    # One that lends nothing may take its time.
    took = seconds_until_the_look(clock, happened("die", "web"), nodes=(WORKER,))
    assert took == pytest.approx(follow.RESTART_S)
