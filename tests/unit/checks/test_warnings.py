"""Break one thing a little: one warning, and everything else is looked at all the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from netaddr import IPAddress, IPNetwork

from macnet.checks import Outcome, Report
from macnet.models import Interface, Route
from tests.unit.checks.fakes import network
from tests.unit.checks.world import World, all_ok

Fault = Callable[[World], object]
CLASSIC = Route(IPNetwork("172.16.0.0/12"), "utun9", IPAddress("192.168.255.5"))


def _warning(report: Report) -> tuple[str, str, str]:
    (found,) = [r for r in report.results if r.outcome is Outcome.WARN]
    assert report.ok
    assert not [r for r in report.results if r.outcome is Outcome.SKIP]
    return found.id, found.evidence, found.fix or ""


def classic_without_gateway(world: World) -> None:
    """As macOS shows it where the route names the interface."""
    world.routes.append(replace(CLASSIC, gateway=None))
    world.interfaces.append(Interface("utun9", (IPNetwork("192.168.255.6/32"),)))


WARNINGS: dict[str, tuple[Fault, str, str, str]] = {
    "expires soon": (
        lambda w: setattr(w, "now", w.pki.expires - timedelta(days=29)),
        "tunnel.certificates",
        "expire in 29 days",
        "regenerate --keys",
    ),
    "old engine": (
        lambda w: setattr(w.engine, "info_", replace(w.engine.info_, api_version="1.40")),
        "engine.version",
        "1.41",
        "update",
    ),
    "rootless": (
        lambda w: setattr(w.engine, "info_", replace(w.engine.info_, rootless=True)),
        "engine.rootful",
        "rootless",
        "--context",
    ),
    "classic tunnel": (
        lambda w: w.routes.append(CLASSIC),
        "host.routes",
        "docker-mac-network",
        "disconnect",
    ),
    "classic tunnel by its interface": (
        classic_without_gateway,
        "host.routes",
        "docker-mac-network",
        "disconnect",
    ),
    "clock behind": (
        lambda w: setattr(w.engine, "clock", lambda: w.now - timedelta(hours=7)),
        "engine.clock",
        "7 hours behind",
        "restart the engine",
    ),
    "clock ahead": (
        lambda w: setattr(w.engine, "clock", lambda: w.now + timedelta(seconds=61)),
        "engine.clock",
        "61 seconds ahead",
        "restart the engine",
    ),
    "server restarts": (
        lambda w: w.change_part("server", restarts=3),
        "helper.server",
        "it went wrong",
        "logs server",
    ),
    "other settings": (
        lambda w: w.change_part("relay", labels={"io.macnet.role": "relay"}),
        "helper.current",
        "relay",
        "regenerate",
    ),
    "profile of the client is old": (
        lambda w: setattr(w.client, "current", False),
        "client.current",
        "older profile",
        "regenerate",
    ),
    "profile edited": (
        lambda w: w.paths.profile.write_text(w.paths.profile.read_text() + "verb 9\n"),
        "tunnel.profile",
        "other settings",
        "regenerate",
    ),
    "profile readable by others": (
        lambda w: w.paths.profile.chmod(0o644),
        "tunnel.profile",
        "0644",
        "chmod 600",
    ),
    "network gone": (
        lambda w: w.write_server((*w.subnets, IPNetwork("10.9.0.0/16"))),
        "tunnel.subnets",
        "10.9.0.0/16",
        "regenerate",
    ),
    "wider route of another VPN": (
        lambda w: w.routes.append(Route(IPNetwork("172.82.0.0/16"), "utun7")),
        "engine.networks",
        "another VPN's route 172.82.0.0/16 (utun7)",
        "`macnet setup --remap auto`",
    ),
    "service does not listen": (
        lambda w: w.prober.doors.discard(("172.82.0.100", 6379)),
        "reach.tcp",
        "refused",
        "0.0.0.0:6379",
    ),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_warnings_block_nothing(world: World, name: str) -> None:
    fault, expected, words, fix = WARNINGS[name]
    fault(world)
    found = _warning(world.check())
    assert found[0] == expected
    assert words in found[1]
    assert fix in found[2]


def test_expiry_is_checked_to_the_second(world: World) -> None:
    world.now = world.pki.expires
    assert world.check().failures[0].id == "tunnel.certificates"
    world.now -= timedelta(seconds=1)
    assert _warning(world.check())[0] == "tunnel.certificates"


def test_a_pushed_route_counts_like_one_of_the_profile(world: World) -> None:
    world.write_profile(world.subnets[:1])
    world.write_server(world.subnets, pushed=world.subnets[1:])
    assert all_ok(world.check())


def test_a_full_tunnel_of_another_vpn_is_no_fault(world: World) -> None:
    world.routes += [Route(IPNetwork(net), "utun7") for net in ("0.0.0.0/1", "128.0.0.0/1")]
    report = world.check()
    assert all_ok(report)
    assert "another VPN" in next(r.evidence for r in report.results if r.id == "host.routes")


def test_the_tunnels_own_subnet_in_docker_is_moved_by_regenerate(world: World) -> None:
    world.engine.networks_.append(network("clash", "192.168.255.0/24", "192.168.255.1"))
    found = _warning(world.check())
    assert found[0] == "engine.networks"
    assert "moves the tunnel" in found[2]


def test_a_companys_vpn_is_not_taken_for_docker_mac_network(world: World) -> None:
    world.interfaces.append(Interface("utun9", (IPNetwork("10.8.1.7/32"),)))
    world.routes.append(Route(CLASSIC.destination, "utun9", IPAddress("10.8.1.1")))
    report = world.check()
    assert report.ok
    # It is a route like any other, which the Docker networks in it collide with.
    found = {r.id for r in report.results if r.outcome is Outcome.WARN}
    assert found == {"engine.networks"}
    assert "docker-mac-network" not in str(report)


@pytest.mark.parametrize("seconds", [-60, 0, 60])
def test_clocks_may_differ_a_little(world: World, seconds: int) -> None:
    world.engine.clock = lambda: world.now + timedelta(seconds=seconds)
    assert all_ok(world.check())


def test_an_engine_that_does_not_tell_its_time(world: World) -> None:
    world.engine.clock = None
    (skipped,) = [r for r in world.check().results if r.outcome is not Outcome.OK]
    assert (skipped.id, skipped.outcome) == ("engine.clock", Outcome.SKIP)
