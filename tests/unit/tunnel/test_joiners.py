"""Joiners: which numbers they have, in which order they come and go, what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from netaddr import IPNetwork

from macnet.engine import Container, ContainerSpec
from macnet.errors import EngineError
from macnet.helper.spec import (
    LABEL_DONOR,
    LABEL_LANE,
    MAX_JOINERS,
    HelperRoutes,
    Joiner,
    joiner_container,
    parse_lanes,
    parse_remaps,
    parse_subnets,
    render_subnets,
)
from macnet.models import Donor, Further, ReachKind
from macnet.networks import Selected, with_further
from macnet.tunnel import joiners as module
from macnet.tunnel.joiners import JoinersPlan, plan_joiners, reached
from tests.unit.helper.examples import SPEC
from tests.unit.tunnel.world import World

FAR = IPNetwork("10.20.0.0/16")


def donor(name: str, started: str = "then") -> Donor:
    return Donor(f"id-{name}", name, started)


def behind(*donors: Donor) -> tuple[Selected, ...]:
    """One subnet behind each."""
    further = [
        Further(f"10.{number}.0.0/16", ReachKind.CIDR, (IPNetwork(f"10.{number}.0.0/16"),), one)
        for number, one in enumerate(donors)
    ]
    return tuple(Selected(one, one.subnets) for one in with_further((), further))


def running(joiner: Joiner, status: str = "running") -> Container:
    spec = joiner_container(SPEC, joiner)
    return Container(
        id=spec.name,
        name=spec.name,
        image_id=spec.image,
        labels=spec.labels,
        status=status,
        health=None,
        exit_code=0,
        restarts=0,
        environment=spec.environment,
        published={},
    )


def test_each_donor_has_one_and_keeps_its_number() -> None:
    one, two = donor("one"), donor("two")
    first = plan_joiners(SPEC, behind(one, two, one), ())
    assert first == JoinersPlan((Joiner(1, one), Joiner(2, two)), (Joiner(1, one), Joiner(2, two)))
    present = [running(joiner) for joiner in first.wanted]
    assert plan_joiners(SPEC, behind(two, one), present) == JoinersPlan(first.wanted)
    # The first goes: the second stays what it is.
    left = plan_joiners(SPEC, behind(two), present)
    assert left == JoinersPlan((Joiner(2, two),), (), (present[0],))
    assert not plan_joiners(SPEC, (), ()).changes


@pytest.mark.parametrize("how", ["restarted", "exited", "image"])
def test_a_number_leads_to_one_namespace_only_until_it_is_free(how: str) -> None:
    before = Joiner(1, donor("one"))
    present = running(before, "exited" if how == "exited" else "running")
    now = donor("one", "later" if how == "restarted" else "then")
    spec = replace(SPEC, image="other") if how == "image" else SPEC
    plan = plan_joiners(spec, behind(now), [present])
    assert plan == JoinersPlan((Joiner(2, now),), (Joiner(2, now),), (present,))
    assert Joiner(1, now).key != before.key or how != "restarted"


def test_odd_labels_are_no_joiner_of_ours() -> None:
    odd = running(Joiner(1, donor("one")))
    odd = replace(odd, labels={**odd.labels, LABEL_LANE: "x", LABEL_DONOR: "id-one"})
    plan = plan_joiners(SPEC, behind(donor("one")), [odd])
    assert plan.gone == (odd,)
    assert plan.made == (Joiner(1, donor("one")),)


def test_there_are_so_many_lanes() -> None:
    many = behind(*(donor(f"c{number}") for number in range(MAX_JOINERS + 2)))
    plan = plan_joiners(SPEC, many, ())
    assert len(plan.wanted) == MAX_JOINERS
    found = reached(many, plan.wanted)
    assert [item.routed for item in found] == [True] * MAX_JOINERS + [False] * 2
    assert found[-1].reason == "no more than 15 containers can lend their network at once"


@pytest.mark.parametrize("state", ["exited", "running"])
@pytest.mark.parametrize("count", [8, 10, MAX_JOINERS])
def test_all_donors_restart_at_once(count: int, state: str) -> None:
    """As with their engine: none waits for a number that its own last joiner has."""
    before = [Joiner(number, donor(f"c{number}")) for number in range(1, count + 1)]
    present = [running(joiner, state) for joiner in before]
    now = [donor(f"c{number}", "later") for number in range(1, count + 1)]
    plan = plan_joiners(SPEC, behind(*now), present)
    assert {joiner.donor for joiner in plan.made} == set(now)
    assert len({joiner.lane for joiner in plan.made}) == count
    for joiner in plan.made:
        assert joiner.lane > count or before[joiner.lane - 1].donor.container_id == (
            joiner.donor.container_id
        )
    replaced = {str(joiner.lane) for joiner in plan.made}
    assert not replaced & {one.labels[LABEL_LANE] for one in plan.gone}


def test_the_list_names_lane_and_key() -> None:
    joiner = Joiner(3, donor("one"))
    seen = IPNetwork("10.120.0.0/16")
    bridge, other = IPNetwork("172.17.0.0/16"), IPNetwork("10.30.0.0/16")
    routes = HelperRoutes(
        subnets=(FAR, other, bridge),
        remaps=((seen, FAR),),
        lanes=((FAR, joiner), (other, joiner)),
    )
    text = render_subnets(routes)
    assert text == (
        f"10.120.0.0/16=10.20.0.0/16 3 {joiner.key}\n10.30.0.0/16 3 {joiner.key}\n172.17.0.0/16\n"
    )
    assert parse_subnets(text) == (seen, other, bridge)
    assert parse_remaps(text) == ((seen, FAR),)
    assert parse_lanes(text) == ((seen, 3), (other, 3))


def test_a_joiner_has_no_right_and_no_endpoint() -> None:
    spec = joiner_container(SPEC, Joiner(1, donor("one")))
    assert (spec.cap_add, spec.devices, spec.publish, spec.sysctls) == ([], (), {}, {})
    assert (spec.network, spec.pid_mode) == ("container:id-one", None)
    assert (spec.read_only, spec.restart, spec.security_opt) == (True, "no", ())
    assert SPEC.token not in str(spec.labels)


# The whole way, in memory


class Router:
    """A container of the engine that can be restarted and removed."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.runs, self.started = world, True, "first"
        listed, inspected = world.engine.containers, world.engine.inspect
        monkeypatch.setattr(world.engine, "containers", lambda: [*listed(), *self.rows()])
        monkeypatch.setattr(
            world.engine,
            "inspect",
            lambda identity: self.state() if identity == "router-id" else inspected(identity),
        )
        monkeypatch.setattr(module, "JOIN_TIMEOUT_S", 0.0)

    def rows(self) -> list[dict[str, Any]]:
        return [{"Id": "router-id", "Names": ["/router"], "Labels": {}}] if self.runs else []

    def state(self) -> Mapping[str, Any] | None:
        state = {"Running": True, "StartedAt": self.started}
        return {"State": state, "HostConfig": {"NetworkMode": "bridge"}} if self.runs else None

    def allowed(self) -> str:
        return (
            self.world.engine.read_file("macnet-server", "/etc/macnet/subnets.applied") or b""
        ).decode()

    def joiners(self) -> list[str]:
        return sorted(
            n.found.name for n in self.world.engine.made.values() if "joiner" in n.found.name
        )


@pytest.fixture
def router(world: World, monkeypatch: pytest.MonkeyPatch) -> Router:
    return Router(world, monkeypatch)


def test_setup_watch_and_down(world: World, router: Router) -> None:
    done = world.setup_tunnel(also=[f"{FAR}=router"]).setup()
    assert [(one.name, one.donor, one.subnets) for one in done.joined] == [
        ("macnet-joiner-1", "router", (FAR,))
    ]
    assert FAR in done.routes.added and FAR in world.carried()
    log = world.engine.log
    assert log.index("start macnet-server") < log.index("start macnet-joiner-1")
    # Its own lane is what the model of an engine cannot have.
    [warning] = [text for text in world.diary.warnings if "router" in text]
    assert "`macnet logs relay`" in warning

    again = world.stored_tunnel().sync()
    assert again is not None and not again.changed

    router.started = "second"
    del log[:]
    healed = world.stored_tunnel().sync()
    assert healed is not None
    assert [one.name for one in healed.joined] == ["macnet-joiner-2"]
    assert router.joiners() == ["macnet-joiner-2"]
    assert log.index("start macnet-joiner-2") < log.index("files macnet-server")
    assert log.index("files macnet-server") < log.index("remove macnet-joiner-1")
    assert f"{FAR} 2 " in router.allowed()

    router.runs = False
    lost = world.stored_tunnel().sync()
    assert lost is not None
    assert lost.routes.removed == (FAR,) and lost.warnings == (
        f"{FAR} is not reached: no container router runs",
    )
    assert router.joiners() == [] and str(FAR) not in router.allowed()

    router.runs = True
    world.stored_tunnel().sync()
    assert router.joiners() == ["macnet-joiner-1"]
    removed = world.stored_tunnel().down().containers
    assert removed == ("macnet-joiner-1", "macnet-relay", "macnet-server")
    order = [line for line in log if line.startswith("remove")][-3:]
    assert order == [f"remove {name}" for name in removed]


def test_taking_it_back_takes_the_joiner_away(world: World, router: Router) -> None:
    world.setup_tunnel(also=[f"{FAR}=router"]).setup()
    world.engine.stop("macnet-joiner-1")
    done = world.setup_tunnel(also=[""]).setup()
    assert done.changed and router.joiners() == []
    assert str(FAR) not in router.allowed()


def test_a_donor_that_ends_meanwhile_costs_nothing_else(world: World, router: Router) -> None:
    def start(spec: ContainerSpec) -> None:
        if "joiner" in spec.name:
            raise EngineError("cannot join network of a non running container")

    world.engine.start = start
    done = world.setup_tunnel(also=[f"{FAR}=router"]).setup()
    assert done.verified is not None and not done.joined
    assert any("cannot join the network of router: cannot join" in one for one in done.warnings)
    assert router.joiners() == []


def test_a_dry_run_tells(world: World, router: Router) -> None:
    plan = world.setup_tunnel(also=[f"{FAR}=router", "10.30.0.0/16=nobody"]).plan()
    assert [(one.name, one.donor, one.subnets, one.action) for one in plan.joiners] == [
        ("macnet-joiner-1", "router", (FAR,), "create")
    ]
    assert plan.warnings == ("10.30.0.0/16 is not reached: no container nobody runs",)
    assert world.engine.made == {}
    world.setup_tunnel(also=[f"{FAR}=router"]).setup()
    assert [one.action for one in world.stored_tunnel().plan().joiners] == ["keep"]
    assert [(one.name, one.action) for one in world.setup_tunnel(also=[""]).plan().joiners] == [
        ("macnet-joiner-1", "remove")
    ]


def test_without_it_the_engine_is_not_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    labelled = world.engine.find_labelled

    def find_labelled(label: str) -> tuple[Container, ...]:
        asked.append(label)
        return labelled(label)

    monkeypatch.setattr(world.engine, "inspect", asked.append)
    monkeypatch.setattr(world.engine, "find_labelled", find_labelled)
    world.setup_tunnel().setup()
    world.stored_tunnel().sync()
    world.stored_tunnel().networks()
    assert asked == []
