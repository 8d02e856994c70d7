"""What is tried and what is said about it: targets, ports, silence, many containers."""

from __future__ import annotations

import time

import pytest
from netaddr import IPNetwork

from macnet.checks import Outcome, Report, Result, run
from macnet.errors import BadValue, UnknownTarget
from macnet.models import Port, Route
from tests.unit.checks.fakes import container, network
from tests.unit.checks.world import World


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


def test_a_bridge_that_only_ignores_ping_is_passed(world: World) -> None:
    world.prober.no_ping.add("172.28.0.1")
    report = world.check()
    assert report.ok
    assert "behind it" in of(report, "reach.gateway")["sealed 172.28.0.0/16"].evidence


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
        assert report.worst is Outcome.OK
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
        report = world.check("old", "9.9.9.9")
        assert {r.subject for r in report.failures} == {"old", "9.9.9.9"}
        for check in ("reach.gateway", "reach.ping", "reach.tcp"):
            assert of(report, check)[None].cause == "reach.targets"

    def test_a_container_on_a_network_left_out(self, world: World) -> None:
        world.engine.networks_[2]["Driver"] = "overlay"
        world.write_server(world.subnets[:1] + world.subnets[2:])
        world.write_profile(world.subnets[:1] + world.subnets[2:])
        (failure,) = world.check("vault").failures
        assert failure.id == "reach.targets"
        assert "overlay" in failure.evidence

    @pytest.mark.parametrize(
        ("target", "words"), [("172.28.0.9", "overlay"), ("9.9.9.9", "outside")]
    )
    def test_an_address_that_is_not_routed(self, world: World, target: str, words: str) -> None:
        world.engine.networks_[2]["Driver"] = "overlay"
        world.write_server(world.subnets[:1] + world.subnets[2:])
        world.write_profile(world.subnets[:1] + world.subnets[2:])
        (failure,) = world.check(target).failures
        assert words in failure.evidence

    def test_a_container_of_the_hosts_network_has_no_address(self, world: World) -> None:
        world.engine.containers_.append(container(77, "agent", {}))
        (failure,) = world.check("agent").failures
        assert "no address" in failure.evidence

    @pytest.mark.parametrize(
        ("targets", "error"),
        [(["redis", "nobody"], UnknownTarget), (["redis:http"], BadValue)],
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
        assert report.worst is Outcome.OK
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
