"""What is tried and what is said about it: targets, ports, silence, many containers."""

from __future__ import annotations

import time

import pytest
from netaddr import IPNetwork

from macnet.checks import Outcome, Report, Result, run
from macnet.errors import BadValue, UnknownTarget
from macnet.models import Port, Route
from tests.unit.checks.fakes import container, network
from tests.unit.checks.world import World, all_ok


def of(report: Report, check: str) -> dict[str | None, Result]:
    """A check's results by their subject."""
    return {result.subject: result for result in report.results if result.id == check}


def test_every_running_container_is_tried(world: World) -> None:
    report = world.check()
    assert set(of(report, "reach.ping")) == {
        *("redis 172.82.0.100", "web 172.82.0.3", "web 172.17.0.3", "vault 172.28.0.3"),
    }
    assert set(of(report, "reach.tcp")) == {
        *("redis 172.82.0.100:6379", "web 172.82.0.3:80", "web 172.17.0.3:80"),
        "vault 172.28.0.3:8200",
    }


def test_ports_are_asked_for_only_where_the_listing_leaves_them_out(world: World) -> None:
    world.check()
    assert world.engine.calls == [f"{0xD3:064x}"]


def test_udp_ports_are_not_tried(world: World) -> None:
    world.engine.declared[f"{0xD3:064x}"] = (Port(53, "udp"),)
    assert "vault 172.28.0.3:53" not in of(world.check(), "reach.tcp")


def test_no_container_is_no_fault(world: World) -> None:
    del world.engine.containers_[1:]
    report = world.check()
    assert report.ok
    assert "no container" in of(report, "reach.targets")[None].evidence
    assert of(report, "reach.gateway")["app 172.82.0.0/24"].outcome is Outcome.OK
    assert of(report, "reach.ping")[None].outcome is Outcome.SKIP


def test_containers_that_are_not_routed_are_skipped_with_the_reason(world: World) -> None:
    world.engine.networks_.append(network("lan", "10.7.0.0/24", "10.7.0.1", Driver="macvlan"))
    world.engine.containers_.append(container(9, "printer", {"lan": "10.7.0.9"}))
    report = world.check()
    assert report.ok
    skipped = of(report, "reach.targets")["printer 10.7.0.9"]
    assert skipped.outcome is Outcome.SKIP
    assert "macvlan" in skipped.evidence


def test_a_silent_container_fails_once_for_all_its_ports(world: World) -> None:
    world.prober.silent.add("172.82.0.3")
    report = world.check()
    assert [r.subject for r in report.failures] == ["web 172.82.0.3"]
    port = of(report, "reach.tcp")["web 172.82.0.3:80"]
    assert (port.outcome, port.cause) == (Outcome.SKIP, "reach.ping")
    assert of(report, "reach.tcp")["web 172.17.0.3:80"].outcome is Outcome.OK


def test_a_container_that_only_ignores_ping_is_reached(world: World) -> None:
    world.prober.no_ping.add("172.82.0.100")
    report = world.check()
    assert report.ok
    assert "ports answer" in of(report, "reach.ping")["redis 172.82.0.100"].evidence


def test_no_bridge_is_judged_by_an_address_that_nobody_knows(world: World) -> None:
    for row in world.engine.networks_:
        row["IPAM"]["Config"] = [{"Subnet": row["IPAM"]["Config"][0]["Subnet"], "IPRange": "x"}]
    report = world.check()
    assert {r.outcome for r in of(report, "reach.gateway").values()} == {Outcome.OK}
    assert report.failures == ()
    assert {r.outcome for r in of(report, "reach.ping").values()} == {Outcome.OK}


def test_a_bridge_that_only_ignores_ping_is_passed(world: World) -> None:
    world.prober.no_ping.add("172.28.0.1")
    report = world.check()
    assert report.ok
    assert "behind it" in of(report, "reach.gateway")["sealed 172.28.0.0/16"].evidence


class TestUnknownBridge:
    """Where nobody knows the bridge's address, nothing is judged by it."""

    @pytest.fixture(autouse=True)
    def unknown(self, world: World) -> None:
        [config] = world.engine.networks_[2]["IPAM"]["Config"]
        del config["Gateway"]
        config["IPRange"] = "172.28.5.0/24"

    def test_its_containers_speak_for_it(self, world: World) -> None:
        report = world.check()
        assert all_ok(report)
        assert "containers answer" in of(report, "reach.gateway")["sealed 172.28.0.0/16"].evidence

    def test_without_containers_it_is_no_fault(self, world: World) -> None:
        del world.engine.containers_[3]
        report = world.check()
        assert report.ok
        assert of(report, "reach.gateway")["sealed 172.28.0.0/16"].outcome is Outcome.SKIP

    def test_a_silent_container_fails_for_itself(self, world: World) -> None:
        world.prober.silent.add("172.28.0.3")
        (failure,) = world.check("vault").failures
        assert (failure.id, failure.subject) == ("reach.ping", "vault 172.28.0.3")

    def test_the_relay_is_named_where_all_that_is_known_is_silent(self, world: World) -> None:
        world.prober.silent |= {"172.82.0.1", "172.82.0.100", "172.82.0.3"}
        world.prober.silent |= {"172.17.0.1", "172.17.0.3", "172.28.0.3"}
        (failure,) = world.check().failures
        assert failure.id == "reach.gateway"
        assert "none of 2 bridges" in failure.evidence


def test_a_containers_address_is_no_bridge(world: World) -> None:
    """In a /31 both addresses are containers', the first of them where a bridge would be."""
    tiny = network("tiny", "10.200.1.0/31", "")
    world.engine.networks_.append(tiny)
    world.engine.containers_.append(container(9, "left", {"tiny": "10.200.1.1"}, [80]))
    world.subnets = (*world.subnets, IPNetwork("10.200.1.0/31"))
    world.write_server(world.subnets)
    world.write_profile(world.subnets)
    world.routes.append(Route(IPNetwork("10.200.1.0/31"), "utun4"))
    world.prober.silent.add("10.200.1.1")
    (failure,) = world.check().failures
    assert (failure.id, failure.subject) == ("reach.ping", "left 10.200.1.1")


@pytest.mark.parametrize("cause", ["tunnel.subnets", "reach.routes", "reach.gateway"])
def test_a_broken_subnet_takes_only_its_own_containers(world: World, cause: str) -> None:
    if cause == "tunnel.subnets":
        world.write_profile(world.subnets[:2])
    elif cause == "reach.routes":
        world.routes.pop()
    else:
        world.prober.silent |= {"172.82.0.1", "172.82.0.100", "172.82.0.3"}
    report = world.check()
    assert [r.id for r in report.failures] == [cause]
    for check in ("reach.ping", "reach.tcp"):
        for subject, result in of(report, check).items():
            broken = "172.82.0." in (subject or "")
            assert result.outcome is (Outcome.SKIP if broken else Outcome.OK)
            assert result.cause == (cause if broken else None)


class TestTargets:
    """With targets only these are tried."""

    def test_one_container(self, world: World) -> None:
        report = world.check("redis")
        assert all_ok(report)
        assert set(of(report, "reach.ping")) == {"redis 172.82.0.100"}
        assert set(of(report, "reach.gateway")) == {"app 172.82.0.0/24"}

    def test_by_the_beginning_of_its_id(self, world: World) -> None:
        vault = world.engine.containers_[3]
        vault["Id"] = "feed" * 16
        assert set(of(world.check("feed"), "reach.ping")) == {"vault 172.28.0.3"}

    def test_all_addresses_of_a_container(self, world: World) -> None:
        assert set(of(world.check("web"), "reach.ping")) == {"web 172.82.0.3", "web 172.17.0.3"}

    def test_a_named_port_replaces_the_exposed_ones(self, world: World) -> None:
        world.prober.doors.add(("172.82.0.100", 1))
        assert set(of(world.check("redis:1"), "reach.tcp")) == {"redis 172.82.0.100:1"}

    def test_a_named_port_that_is_refused_fails(self, world: World) -> None:
        (failure,) = world.check("redis:81").failures
        assert (failure.id, failure.subject) == ("reach.tcp", "redis 172.82.0.100:81")
        assert "is reached" in failure.evidence

    def test_an_address_finds_its_container(self, world: World) -> None:
        report = world.check("172.17.0.3")
        assert set(of(report, "reach.tcp")) == {"web 172.17.0.3:80"}

    def test_an_address_without_a_container(self, world: World) -> None:
        world.prober.silent.add("172.82.0.77")
        (failure,) = world.check("172.82.0.77:80").failures
        assert (failure.id, failure.subject) == ("reach.ping", "172.82.0.77")
        assert "docker network inspect app" in (failure.fix or "")

    def test_the_same_address_twice_is_tried_once(self, world: World) -> None:
        report = world.check("redis:6379", "172.82.0.100:81", "redis:6379")
        assert set(of(report, "reach.tcp")) == {
            *("redis 172.82.0.100:81", "redis 172.82.0.100:6379"),
        }

    def test_the_server_itself_can_be_named(self, world: World) -> None:
        world.prober.doors.add(("172.17.0.2", 1194))
        assert set(of(world.check("macnet-server"), "reach.ping")) == {"macnet-server 172.17.0.2"}

    @pytest.mark.parametrize(
        ("state", "fix"),
        [
            ("exited", "docker start redis"),
            ("created", "docker start redis"),
            ("paused", "docker unpause redis"),
            ("restarting", "docker logs redis"),
        ],
    )
    def test_a_container_that_does_not_run(self, world: World, state: str, fix: str) -> None:
        world.engine.containers_[1]["State"] = state
        report = world.check("redis", "web")
        (failure,) = report.failures
        assert (failure.id, failure.subject) == ("reach.targets", "redis")
        assert "not running" in failure.evidence
        assert fix in (failure.fix or "")
        assert len(of(report, "reach.ping")) == 2

    def test_only_bad_targets_leave_nothing_to_try(self, world: World) -> None:
        report = world.check("old")
        assert {r.subject for r in report.failures} == {"old"}
        for check in ("reach.gateway", "reach.ping", "reach.tcp"):
            assert of(report, check)[None].cause == "reach.targets"

    def test_a_container_on_a_network_left_out(self, world: World) -> None:
        world.engine.networks_[2]["Driver"] = "overlay"
        world.write_server(world.subnets[:1] + world.subnets[2:])
        world.write_profile(world.subnets[:1] + world.subnets[2:])
        (failure,) = world.check("vault").failures
        assert failure.id == "reach.targets"
        assert "overlay" in failure.evidence

    def test_an_address_that_is_not_routed(self, world: World) -> None:
        world.engine.networks_[2]["Driver"] = "overlay"
        world.write_server(world.subnets[:1] + world.subnets[2:])
        world.write_profile(world.subnets[:1] + world.subnets[2:])
        (failure,) = world.check("172.28.0.9").failures
        assert "overlay" in failure.evidence

    def test_a_network_stands_for_its_containers(self, world: World) -> None:
        report = world.check("bridge:80")
        assert set(of(report, "reach.tcp")) == {"web 172.17.0.3:80"}
        assert set(of(report, "reach.gateway")) == {"bridge 172.17.0.0/16"}

    def test_a_network_without_containers(self, world: World) -> None:
        del world.engine.containers_[2]
        (failure,) = world.check("bridge").failures
        assert (failure.id, failure.subject) == ("reach.targets", "bridge")
        assert "no container runs" in failure.evidence

    def test_a_network_that_is_not_routed(self, world: World) -> None:
        world.engine.networks_.append(network("lan", "10.7.0.0/24", "10.7.0.1", Driver="macvlan"))
        (failure,) = world.check("lan").failures
        assert failure.evidence.startswith("it is not routed: macvlan")

    def test_a_url(self, world: World) -> None:
        report = world.check("redis://:secret@redis:6379/0")
        assert set(of(report, "reach.tcp")) == {"redis 172.82.0.100:6379"}
        assert "secret" not in str(report)

    @pytest.mark.parametrize("by", ["id", "name"])
    def test_a_shared_network_is_followed_to_its_owner(self, world: World, by: str) -> None:
        owner = f"{0xABC1:064x}" if by == "id" else "redis"
        mode = {"NetworkMode": f"container:{owner}"}
        world.engine.containers_.append(container(77, "side", {}, HostConfig=mode))
        report = world.check("side:6379")
        assert all_ok(report)
        assert "shares the network of redis" in of(report, "reach.targets")["side"].evidence
        assert set(of(report, "reach.tcp")) == {"redis 172.82.0.100:6379"}

    def test_a_shared_network_of_a_container_that_ended(self, world: World) -> None:
        mode = {"NetworkMode": "container:old"}
        world.engine.containers_.append(container(77, "side", {}, HostConfig=mode))
        (failure,) = world.check("side").failures
        assert (failure.subject, failure.fix) == ("old", "`docker start old`")

    @pytest.mark.parametrize("mode", ["host", "none"])
    def test_a_container_without_a_network_of_its_own(self, world: World, mode: str) -> None:
        row = container(77, "agent", {mode: ""}, HostConfig={"NetworkMode": mode})
        world.engine.containers_.append(row)
        (failure,) = world.check("agent").failures
        assert f"network mode {mode}" in failure.evidence
        assert "network connect" not in (failure.fix or "")

    def test_podman_says_host_of_every_container(self, world: World) -> None:
        for row in world.engine.containers_:
            row["HostConfig"] = {"NetworkMode": "host"}
        assert all_ok(world.check("redis"))

    def test_a_container_without_an_address(self, world: World) -> None:
        world.engine.containers_.append(container(77, "agent", {}))
        (failure,) = world.check("agent").failures
        assert "no address" in failure.evidence

    @pytest.mark.parametrize(
        ("targets", "error"),
        [
            (["redis", "nobody"], UnknownTarget),
            (["redis:http"], BadValue),
            (["9.9.9.9"], UnknownTarget),
        ],
    )
    def test_a_target_that_is_wrong_stops_before_any_check(
        self, world: World, targets: list[str], error: type[Exception]
    ) -> None:
        seen: list[Result] = []
        with pytest.raises(error):
            run(world.tunnel, targets, on_result=seen.append, prober=world.prober)
        assert not seen

    def test_ipv6(self, world: World) -> None:
        (row,) = (r for r in world.engine.containers_ if r["Names"] == ["/redis"])
        row["NetworkSettings"]["Networks"]["app"]["GlobalIPv6Address"] = "fd00:82::9"
        config = world.engine.networks_[0]["IPAM"]["Config"]
        config.append({"Subnet": "fd00:82::/64", "Gateway": "fd00:82::1"})
        report = world.check("[fd00:82::9]:6379")
        # The tunnel does not carry it yet, and IPv4 of the same network is none of its business.
        assert [(r.id, r.subject) for r in report.failures] == [
            ("tunnel.subnets", "app fd00:82::/64")
        ]
        assert of(report, "reach.tcp")[None].cause == "tunnel.subnets"
        world.write_server((*world.subnets, IPNetwork("fd00:82::/64")))
        world.write_profile((*world.subnets, IPNetwork("fd00:82::/64")))
        world.routes.append(Route(IPNetwork("fd00:82::/64"), "utun4"))
        world.prober.doors.add(("fd00:82::9", 6379))
        report = world.check("[fd00:82::9]:6379")
        assert all_ok(report)
        assert set(of(report, "reach.tcp")) == {"redis [fd00:82::9]:6379"}

    def test_routes_of_other_networks_do_not_matter(self, world: World) -> None:
        world.routes.pop()
        assert world.check("vault").ok
        assert [r.id for r in world.check("redis").failures] == ["reach.routes"]


def test_many_containers_take_a_few_batches(world: World) -> None:
    for number in range(200):
        address = f"172.17.1.{number}"
        row = container(0x1000 + number, f"c{number}", {"bridge": address}, [80, 443])
        world.engine.containers_.append(row)
        if number % 2:
            world.prober.silent.add(address)
        else:
            world.prober.doors |= {(address, 80), (address, 443)}
    begin = time.monotonic()
    report = world.check()
    assert time.monotonic() - begin < 2
    assert len(report.failures) == 100
    # The port of the tunnel, the server, all pings, all connects.
    assert world.prober.batches == [1, 1, 207, 404]
