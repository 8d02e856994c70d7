"""Break one thing about names: one check fails and says what to type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from macnet.checks import Outcome, Report, check_ids, names
from macnet.checks.facts import Facts
from macnet.models import Further, PortOwner
from macnet.names import ports
from macnet.names.client import Reply
from macnet.names.system import SystemState, SystemStatus
from macnet.names.system.linux import ByHand
from macnet.networks import select_networks, with_further
from macnet.state import save_state
from tests.unit.checks.world import NAMES, World, all_ok
from tests.unit.names.test_upstream import KIND


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody holds a UDP port, whatever runs beside the tests."""
    monkeypatch.setattr(ports, "find_udp_holder", lambda port: None)


Fault = Callable[[World], object]
CLUSTER_NAME = "kubernetes.default.svc.cluster.local"


def names_results(report: Report) -> dict[str, Outcome]:
    return {r.id: r.outcome for r in report.results if r.id.startswith("names.")}


def told(state: SystemState, text: str = "so it is") -> Fault:
    return lambda w: setattr(
        w.names_system, "found", SystemStatus(state, text, Path("/etc/resolver/docker.test"))
    )


def no_watch(world: World) -> None:
    world.names_owner = None
    world.resolver.silence = Reply(problem="Connection refused")


def other_program(world: World) -> None:
    world.names_owner = PortOwner(NAMES.port, 42, "dnsmasq")
    world.resolver.silence = Reply(problem="REFUSED")


FAULTS: dict[str, tuple[Fault, str, str, str]] = {
    "no file": (told(SystemState.ABSENT, "there is no file"), "names.file", "no file", "names on"),
    "another port in it": (
        told(SystemState.OUTDATED, "it does not say 13153"),
        "names.file",
        "13153",
        "names on",
    ),
    "somebody else's file": (
        told(SystemState.FOREIGN),
        "names.file",
        "so it is",
        "sudo rm /etc/resolver/docker.test",
    ),
    "no watch": (no_watch, "names.port", "`macnet watch` does not run", "macnet agent install"),
    "another program": (other_program, "names.port", "dnsmasq (pid 42)", "names on --port"),
    "a proxy that answers all": (
        lambda w: setattr(w.resolver, "silence", Reply((IPAddress("10.0.0.1"),))),
        "names.port",
        "it gives 10.0.0.1",
        "names on --port",
    ),
    "watch has lost the engine": (
        lambda w: w.resolver.answers.update({"vault.docker.test": Reply(problem="SERVFAIL")}),
        "names.direct",
        "the port says SERVFAIL, the engine 172.28.0.3",
        "macnet watch",
    ),
    "an old address": (
        lambda w: w.resolver.answers.update(
            {"vault.docker.test": Reply((IPAddress("172.82.0.9"),))}
        ),
        "names.direct",
        "the port says 172.82.0.9",
        "macnet watch",
    ),
    "the system asks others": (
        lambda w: setattr(w.resolver, "system", Reply(problem="Name or service not known")),
        "names.system",
        "Name or service not known",
        "names on --domain docker.home.arpa",
    ),
    "a provider that answers what there is not": (
        lambda w: setattr(w.resolver, "system", Reply((IPAddress("9.9.9.9"),))),
        "names.system",
        "it got 9.9.9.9",
        "--domain",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_cause_one_failure(world: World, name: str) -> None:
    world.names_on()
    fault, expected, words, fix = FAULTS[name]
    fault(world)
    report = world.check()
    (failure,) = report.failures
    assert failure.id == expected
    assert words in failure.evidence
    assert fix in (failure.fix or "")
    assert {r.cause for r in report.results if r.outcome is Outcome.SKIP} <= {expected}


def test_a_program_that_holds_udp_alone_is_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing, or no DNS; `macnet watch` may well run."""
    world.names_on()
    world.names_owner = None
    world.resolver.silence = Reply(problem="no answer within 2 s")
    monkeypatch.setattr(ports, "find_udp_holder", PortOwner)
    (failure,) = world.check().failures
    assert failure.id == "names.port"
    assert "another program has 127.0.0.1:13153" in failure.evidence
    assert "no answer within 2 s" in failure.evidence
    assert "names on --port" in (failure.fix or "")


def test_off_they_say_nothing(world: World) -> None:
    report = world.check()
    assert all_ok(report)
    assert names_results(report) == {}
    assert world.resolver.asked == []


def test_on_and_well(world: World) -> None:
    world.names_on()
    report = world.check()
    assert all_ok(report)
    assert list(names_results(report)) == [i for i in check_ids() if i.startswith("names.")]


def test_they_need_no_engine_but_for_the_comparison(world: World) -> None:
    world.names_on()
    world.kill_engine()
    report = world.check()
    assert {failure.id for failure in report.failures} == {"engine.reachable"}
    found = names_results(report)
    assert found.pop("names.direct") is Outcome.SKIP
    assert set(found.values()) == {Outcome.OK}


def test_a_system_that_the_user_tells(world: World) -> None:
    world.names_on()
    told(SystemState.MANUAL)(world)
    world.names_system.steps = ("sudo resolvectl dns tun0 127.0.0.1:13153", "do this")
    assert all_ok(world.check())
    world.resolver.system = Reply(problem="unknown")
    (failure,) = world.check().failures
    assert failure.fix == "`sudo resolvectl dns tun0 127.0.0.1:13153`; do this"


def test_the_fix_for_an_older_systemd_can_be_typed(world: World) -> None:
    world.names_on()
    told(SystemState.MANUAL)(world)
    world.resolver.system = Reply(problem="unknown")
    entry = world.facts().names_entry
    world.names_system.steps = ByHand(resolved=True).instructions(entry)
    (failure,) = world.check().failures
    assert "`sudo resolvectl dns utun4 127.0.0.1:13153`" in (failure.fix or "")
    assert "INTERFACE" not in (failure.fix or "")
    world.interfaces.pop()
    found = names._not_asking(world.facts(), "docker.test", Reply())
    assert "`macnet status` shows" in (found.fix or "")


def test_a_named_target_is_asked_for(world: World) -> None:
    world.names_on()
    report = world.check("web", "vault")
    subjects = {r.subject for r in report.results if r.id == "names.direct"}
    assert subjects == {"web.docker.test", "vault.docker.test"}
    world.resolver.answers.clear()
    failed = {r.subject for r in world.check("vault").failures}
    assert failed == {"vault.docker.test"}


def test_a_container_with_only_ipv6_is_asked_for_that(world: World) -> None:
    world.names_on()
    row = world.engine.containers_[1]["NetworkSettings"]["Networks"]["app"]
    row |= {"IPAddress": "", "GlobalIPv6Address": "fd00:82::9"}
    world.engine.networks_[0]["IPAM"]["Config"].append({"Subnet": "fd00:82::/64"})
    facts = world.facts("redis")
    found = facts.zone.names["redis.docker.test"].addresses
    assert [str(address) for address in found] == ["fd00:82::9"]
    world.check("redis")
    assert ("redis.docker.test", 6) in world.resolver.asked


def test_containers_are_not_inspected_for_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hundreds of them that would take seconds."""
    world.names_on()
    inspected: list[str] = []
    monkeypatch.setattr(world.engine, "inspect", inspected.append)
    assert all_ok(world.check("redis"))
    assert inspected == []


def test_no_container_is_no_fault(world: World) -> None:
    world.names_on()
    world.engine.containers_ = [row for row in world.engine.containers_ if "Labels" in row]
    assert names_results(world.check())["names.direct"] is Outcome.SKIP
    assert world.check().ok


def owning(world: World, *further: Further) -> Facts:
    """A cluster has its own domain, and these are reached."""
    world.state = replace(world.state, names=replace(NAMES, cluster="kind"))
    save_state(world.paths.state, world.state)
    facts = world.facts()
    reached = select_networks(with_further((), further), include=("*",), exclude=())
    facts.selected = (*facts.selected, *reached)
    assert KIND.dns is not None
    world.resolver.clusters[KIND.dns] = Reply((IPAddress("10.96.0.1"),))
    world.resolver.answers[CLUSTER_NAME] = Reply((IPAddress("10.96.0.1"),))
    return facts


def test_a_clusters_own_domain_is_looked_at_too(world: World) -> None:
    facts = owning(world, KIND)
    for found in (names.port(facts), names.system(facts)):
        assert found.outcome is Outcome.OK
        assert "docker.test and cluster.local" in found.evidence
    cluster, *_ = names.direct(facts)
    assert (cluster.outcome, cluster.subject) == (Outcome.OK, CLUSTER_NAME)
    world.resolver.answers[CLUSTER_NAME] = Reply(problem="SERVFAIL")
    cluster, *_ = names.direct(facts)
    assert cluster.outcome is Outcome.FAIL
    assert "the port says SERVFAIL, the cluster 10.96.0.1" in cluster.evidence
    # Its resolver has a check of its own.
    world.resolver.clusters.clear()
    assert names.direct(facts)[0].outcome is Outcome.SKIP


def test_a_cluster_with_ipv6_is_asked_for_that(world: World) -> None:
    server, net = IPAddress("fd00:10:96::a"), IPNetwork("fd00:10:96::/112")
    facts = owning(world, replace(KIND, subnets=(net,), dns=server))
    world.resolver.clusters[server] = Reply((IPAddress("fd00:10:96::1"),))
    world.resolver.answers[CLUSTER_NAME] = Reply((IPAddress("fd00:10:96::1"),))
    cluster, *_ = names.direct(facts)
    assert cluster.outcome is Outcome.OK
    assert (CLUSTER_NAME, 6) in world.resolver.asked


def test_a_cluster_that_is_gone_still_has_its_domain(world: World) -> None:
    cluster, *_ = names.direct(owning(world))
    assert cluster.outcome is Outcome.FAIL
    assert "kind, which has cluster.local, is not reached" in cluster.evidence
    assert "`macnet names on --no-cluster`" in (cluster.fix or "")


def test_a_system_that_passes_over_local(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = owning(world, KIND)

    def ask(name: str) -> Reply:
        lost = name.endswith(".local")
        return Reply(problem="no such name") if lost else Reply((IPAddress("127.0.0.1"),))

    monkeypatch.setattr(world.resolver, "ask_system", ask)
    found = names.system(facts)
    assert found.outcome is Outcome.FAIL
    assert "does not ask it for cluster.local" in found.evidence
    assert "local network" in (found.fix or "")


def test_a_watch_of_before_does_not_know_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = owning(world, KIND)

    def ask(name: str, port: int, *, version: int = 4) -> Reply:
        lost = name.endswith(".local")
        return Reply(problem="REFUSED") if lost else Reply((IPAddress("127.0.0.1"),))

    monkeypatch.setattr(world.resolver, "ask_port", ask)
    found = names.port(facts)
    assert found.outcome is Outcome.FAIL
    assert "does not answer for cluster.local: REFUSED" in found.evidence
