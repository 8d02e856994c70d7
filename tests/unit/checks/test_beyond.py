"""Checks of what `--also` reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MethodType, SimpleNamespace
from typing import Any, cast

from netaddr import IPAddress, IPNetwork

from macnet.checks import Outcome, beyond
from macnet.checks.base import Finding
from macnet.checks.facts import Facts, JoinerLane
from macnet.cli import views
from macnet.helper.spec import MAX_JOINERS, Joiner
from macnet.models import Donor, Further, Network, ReachKind, Subnet
from macnet.names.client import Reply
from macnet.networks import PRIVATE_BLOCKS, select_networks, with_further
from macnet.settings import Settings
from tests.unit.checks.fakes import FakeResolver, container
from tests.unit.checks.world import World

DONOR = Donor("id", "kind-control-plane", "2026-03-01T12:00:00Z")
DNS = IPAddress("10.96.0.10")
KIND = Further(
    "kind",
    ReachKind.CLUSTER,
    (IPNetwork("10.244.0.0/16"), IPNetwork("10.96.0.0/16")),
    DONOR,
    dns=DNS,
    domain="cluster.local",
    source="kind-control-plane:/etc/kubernetes/x",
)


def facts(
    *further: Further,
    joined: Mapping[str, JoinerLane] | None = None,
    answers: Mapping[IPAddress, Reply] | None = None,
    info: object = None,
    swarm: tuple[Sequence[Any], ...] = ((), (), ()),
    docker: Sequence[Network] = (),
    reserved: Sequence[tuple[IPNetwork, str]] = (),
    exclude: Sequence[str] = (),
) -> Facts:
    """``reserved`` is what this machine has, as `select_networks` gets it."""
    selected = select_networks(
        with_further(docker, further), include=("*",), exclude=exclude, reserved=reserved
    )
    found = SimpleNamespace(
        selected=selected,
        joined=joined or {},
        resolver=FakeResolver(0, clusters=dict(answers or {})),
        info=info,
        taken=tuple(net for net, _ in reserved),
        tunnel=SimpleNamespace(settings=Settings()),
        engine=SimpleNamespace(swarm=lambda: swarm),
    )
    found.why_not_joined = MethodType(Facts.why_not_joined, found)
    return cast(Facts, found)


def outcomes(found: Sequence[Finding]) -> list[Outcome]:
    return [one.outcome for one in found]


def test_a_cluster_is_told_with_its_ranges_and_where_they_were_read() -> None:
    (found,) = beyond.cluster(facts(KIND))
    assert (found.outcome, found.subject) == (Outcome.OK, "kind")
    for words in ("10.244.0.0/16, 10.96.0.0/16", "/etc/kubernetes/x", "kind-control-plane"):
        assert words in found.evidence


def test_a_cluster_that_is_not_reached_is_a_warning() -> None:
    unread = Further("b", ReachKind.CLUSTER, (), reason="there is no b:/etc/x")
    twice = replace(KIND, name="c")
    kind, first, second = beyond.cluster(facts(KIND, unread, twice))
    assert kind.outcome is Outcome.OK
    assert outcomes([first, second]) == [Outcome.WARN] * 2
    assert "/etc/x" in first.evidence
    assert second.fix is not None
    assert "--also kubernetes=" in second.fix


VPN = (IPNetwork("10.0.0.0/8"), "another VPN's route 10.0.0.0/8 (utun4)")
PODS_ONLY = (IPNetwork("10.244.0.0/14"), "another VPN's route 10.244.0.0/14 (utun4)")


def test_a_vpn_that_has_both_ranges_of_a_cluster_needs_another_range() -> None:
    """Choosing the cluster by name would change nothing."""
    (found,) = beyond.cluster(facts(KIND, reserved=[VPN]))
    assert (found.outcome, found.subject) == (Outcome.WARN, "kind")
    assert found.evidence.startswith("it is not reached: 10.244.0.0/16 overlaps another VPN")
    assert "10.96.0.0/16 overlaps" in found.evidence
    assert found.fix == "`macnet setup --remap auto` reaches it under other addresses"


def test_a_range_of_a_cluster_that_is_left_out_is_not_told_as_reached() -> None:
    (found,) = beyond.cluster(facts(KIND, reserved=[PODS_ONLY]))
    assert found.outcome is Outcome.WARN
    assert found.evidence.startswith("10.96.0.0/16, read from kind-control-plane:/etc")
    assert "; not reached: 10.244.0.0/16 overlaps another VPN's route" in found.evidence
    assert found.fix is not None
    assert "--remap auto" in found.fix


def test_where_no_range_is_free_for_a_cluster_it_needs_others_of_its_own() -> None:
    everything = [(net, "the network of en0") for net in PRIVATE_BLOCKS]
    (found,) = beyond.cluster(facts(KIND, reserved=everything))
    assert found.fix == "make the cluster again with other ranges"


def test_a_cluster_is_told_with_the_addresses_under_which_it_is_seen() -> None:
    fake = facts(KIND)
    (item,) = fake.selected
    pods, services = item.subnets
    seen = replace(pods, seen=IPNetwork("172.30.0.0/16"))
    fake.selected = (replace(item, subnets=(seen, services)),)
    (found,) = beyond.cluster(fake)
    assert found.outcome is Outcome.OK
    assert found.evidence.startswith("10.244.0.0/16 as 172.30.0.0/16, 10.96.0.0/16, read from")


def test_what_else_keeps_a_cluster_away_has_a_fix_that_helps() -> None:
    bridge = Network(
        "1", "app", "bridge", "local", internal=False, subnets=(Subnet(IPNetwork("10.96.5.0/24")),)
    )
    public = replace(KIND, donor=None, reason="8.8.0.0/16 is no private range: name it")
    stopped = replace(KIND, donor=None, reason="the container kind-control-plane does not run")
    cases = [
        (facts(KIND, docker=[bridge]), "`macnet setup --exclude`"),
        (facts(KIND, exclude=["kubernetes=*"]), "`macnet setup --unset exclude`"),
        (facts(public), "--also RANGE=CONTAINER"),
        (facts(stopped), "start the cluster"),
    ]
    for given, fix in cases:
        found = beyond.cluster(given)[-1]
        assert found.outcome is Outcome.WARN
        assert found.fix is not None
        assert fix in found.fix
        assert "kubernetes=NAME" not in found.fix


def test_a_range_of_a_cluster_that_is_not_private_is_told() -> None:
    source = "the command of s (without 2001:cafe:42::/56, which is no private range)"
    (found,) = beyond.cluster(facts(replace(KIND, source=source)))
    assert found.outcome is Outcome.WARN
    assert f"10.244.0.0/16, 10.96.0.0/16, read from {source}, through" in found.evidence
    assert found.fix == "`macnet setup --also RANGE=CONTAINER`, where the range is right"


def test_no_cluster_is_nothing_to_look_at() -> None:
    overlay = Further("spread", ReachKind.OVERLAY, (IPNetwork("10.0.1.0/24"),), DONOR)
    assert outcomes(beyond.cluster(facts(overlay))) == [Outcome.SKIP]
    assert outcomes(beyond.dns(facts(overlay))) == [Outcome.SKIP]
    assert outcomes(beyond.joiners(facts(replace(KIND, donor=None)))) == [Outcome.SKIP]


def test_a_joiner_is_compared_with_the_last_start_of_its_donor() -> None:
    key = Joiner(1, DONOR).key
    (good,) = beyond.joiners(facts(KIND, joined={"id": JoinerLane(1, key, attached=True)}))
    assert good.outcome is Outcome.OK
    (lost,) = beyond.joiners(facts(KIND))
    (old,) = beyond.joiners(facts(KIND, joined={"id": JoinerLane(1, "other", attached=True)}))
    (bare,) = beyond.joiners(facts(KIND, joined={"id": JoinerLane(1, key, attached=False)}))
    assert outcomes([lost, old, bare]) == [Outcome.FAIL] * 3
    assert "no joiner" in lost.evidence
    assert "started again" in old.evidence
    assert "no lane" in bare.evidence
    assert [one.fix for one in (lost, old)] == ["`macnet regenerate`"] * 2


def test_what_has_no_way_is_told_with_what_helps() -> None:
    def behind(net: str, reason: str, kind: ReachKind = ReachKind.CIDR) -> Further:
        return Further(net, kind, (IPNetwork(net),), reason=reason)

    lost = [
        behind("10.20.0.0/16", "no container router runs"),
        behind("10.21.0.0/16", "the container router does not run"),
        behind("10.22.0.0/16", "the engine's host has no route for it but its default one"),
        behind("10.23.0.0/16", "no container of this engine is on it", ReachKind.OVERLAY),
        Further("10.96.0.0/12", ReachKind.CIDR, (IPNetwork("10.96.0.0/12"),), DONOR),
    ]
    joined = {"id": JoinerLane(1, Joiner(1, DONOR).key, attached=True)}
    good, *found = beyond.joiners(facts(KIND, *lost, joined=joined))
    assert good.outcome is Outcome.OK
    assert outcomes(found) == [Outcome.WARN] * 5
    assert [one.subject for one in found] == [one.name for one in lost]
    assert "it is not reached: no container router runs" in found[0].evidence
    assert "10.96.0.0/12 overlaps kubernetes=kind" in found[4].evidence
    fixes = [one.fix or "" for one in found]
    assert fixes[0] == fixes[1] == "start the container, then `macnet regenerate`"
    assert "`macnet setup --also RANGE=CONTAINER`" in fixes[2]
    assert fixes[3].startswith("start a container of this engine on it")
    assert "`macnet setup --exclude`" in fixes[4]


def test_what_others_tell_is_not_told_twice() -> None:
    """What --exclude takes out, what a VPN has (`engine.networks`), and clusters."""
    one = Further("10.20.0.0/16", ReachKind.CIDR, (IPNetwork("10.20.0.0/16"),), DONOR)
    cluster = replace(KIND, donor=None, reason="the container kind-control-plane does not run")
    vpn = (IPNetwork("10.0.0.0/8"), "another VPN's route 10.0.0.0/8 (utun4)")
    for given in (facts(one, cluster, exclude=["10.20.*"]), facts(one, reserved=[vpn])):
        assert outcomes(beyond.joiners(given)) == [Outcome.SKIP]


def test_one_container_more_than_can_lend_their_network() -> None:
    many = [Donor(f"id-{n}", f"router-{n}", "then") for n in range(MAX_JOINERS + 1)]
    nets = [
        Further(net, ReachKind.CIDR, (IPNetwork(net),), donor)
        for n, donor in enumerate(many)
        for net in [f"10.{n}.0.0/16"]
    ]
    joined = {
        donor.container_id: JoinerLane(n, Joiner(n, donor).key, attached=True)
        for n, donor in enumerate(many[:-1], 1)
    }
    *good, last = beyond.joiners(facts(*nets, joined=joined))
    assert set(outcomes(good)) == {Outcome.OK}
    assert (last.outcome, last.subject) == (Outcome.FAIL, f"router-{MAX_JOINERS}")
    assert f"no more than {MAX_JOINERS} containers" in last.evidence
    assert last.fix != "`macnet regenerate`"


def test_one_joiner_may_serve_several_networks() -> None:
    nets = [
        Further(f"net{n}", ReachKind.OVERLAY, (IPNetwork(f"10.0.{n}.0/24"),), DONOR) for n in (1, 2)
    ]
    assert len(beyond.joiners(facts(*nets))) == 1


def test_the_resolver_of_a_cluster_is_asked() -> None:
    reply = Reply((IPAddress("10.96.0.1"),))
    (good,) = beyond.dns(facts(KIND, answers={DNS: reply}))
    assert good.outcome is Outcome.OK
    assert "kubernetes.default.svc.cluster.local is 10.96.0.1" in good.evidence
    (bad,) = beyond.dns(facts(KIND))
    assert bad.outcome is Outcome.FAIL
    assert "no answer" in bad.evidence


def test_why_a_resolver_is_not_asked_is_told_for_each_cluster() -> None:
    def other(number: int, name: str) -> Further:
        nets = (IPNetwork(f"10.{number}.0.0/16"),)
        return replace(KIND, name=name, subnets=nets, dns=IPAddress(f"10.{number}.0.10"))

    clusters = (
        other(1, "foo.bar"),
        replace(other(2, "a"), dns=None),
        replace(other(3, "b"), dns=IPAddress("10.99.0.10")),
        other(4, "kind"),
        replace(other(5, "gone"), reason="not now", donor=None),
    )
    asked, *found = beyond.dns(facts(KIND, *clusters, answers={DNS: Reply((DNS,))}))
    assert asked.outcome is Outcome.OK
    assert outcomes(found) == [Outcome.SKIP] * 4
    assert [(one.subject, one.evidence) for one in found] == [
        ("foo.bar", "its name is no label of DNS, so its services have no names here"),
        ("a", "nothing tells which resolver it has"),
        ("b", "its resolver 10.99.0.10 is in no range that is reached"),
        ("kind", "an older cluster of that name has its names"),
    ]


def test_the_resolver_of_a_cluster_with_ipv6_is_asked_for_that() -> None:
    server, net = IPAddress("fd00:10:96::a"), IPNetwork("fd00:10:96::/112")
    cluster = replace(KIND, subnets=(*KIND.subnets, net), dns=server)
    reply = Reply((IPAddress("fd00:10:96::1"),))
    (good,) = beyond.dns(facts(cluster, answers={server: reply}))
    assert good.outcome is Outcome.OK
    assert "kubernetes.default.svc.cluster.local is fd00:10:96::1" in good.evidence


def test_the_swarm_is_told_by_a_manager_only() -> None:
    def info(*, manager: bool, node: str = "n1") -> object:
        return SimpleNamespace(manager=manager, node=node)

    ready = {"Status": {"State": "ready"}, "Description": {"Hostname": "a"}}
    down = {"Status": {"State": "down"}, "Description": {"Hostname": "b"}}
    lost = {"Status": {"State": "running"}, "DesiredState": "shutdown"}
    tasks = [{"Status": {"State": "running"}}, {"Status": {"State": "shutdown"}}, lost]
    good = beyond.swarm(facts(info=info(manager=True), swarm=([ready], [{}], tasks)))
    assert (good.outcome, good.evidence) == (Outcome.OK, "1 node, 1 service, 1 running task")
    bad = beyond.swarm(facts(info=info(manager=True), swarm=([ready, down], [], [])))
    assert bad.outcome is Outcome.WARN
    assert bad.evidence.endswith("not ready: b")
    worker = beyond.swarm(facts(info=info(manager=False)))
    alone = beyond.swarm(facts(info=info(manager=False, node="")))
    assert outcomes([worker, alone]) == [Outcome.SKIP] * 2
    assert "worker" in worker.evidence


def test_what_is_there_and_not_asked_for_is_offered(world: World) -> None:
    labels = {"io.x-k8s.kind.cluster": "dev", "io.x-k8s.kind.role": "control-plane"}
    node = container(0xF5, "dev-control-plane", {"app": "172.82.0.9"}, Labels=labels)
    assert not any(result.offer for result in world.check().results)
    world.engine.containers_.append(node)
    (offer,) = [result for result in world.check().results if result.offer]
    assert (offer.id, offer.outcome) == ("engine.networks", Outcome.OK)
    assert "cluster dev runs here: `macnet setup --also kubernetes`" in offer.evidence
    shown = views.check(world.check(), every=False)
    assert str(shown[-1]).startswith("The Kubernetes cluster dev runs here")


def test_an_address_outside_every_network_leads_to_the_option(world: World) -> None:
    labels = {"created_by.minikube.sigs.k8s.io": "true", "name.minikube.sigs.k8s.io": "minikube"}
    world.engine.containers_.append(
        container(0xF5, "minikube", {"app": "172.82.0.9"}, Labels=labels)
    )
    (failed,) = world.check("10.244.0.5").failures
    assert failed.fix is not None
    assert "`macnet setup --also kubernetes`" in failed.fix
