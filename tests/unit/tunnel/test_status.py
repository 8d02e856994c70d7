"""Status: up only if traffic can pass everywhere, and it tells what it can while parts are away."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest
from netaddr import IPAddress, IPNetwork

from macnet.choices import ClientChoice
from macnet.clients.base import ClientState, ClientStatus
from macnet.contexts import EngineAddress
from macnet.engine import ExecResult
from macnet.errors import EngineError, EngineUnreachable, MacnetError
from macnet.models import Interface, Route
from macnet.pki import create_pki, load_pki, save_pki
from macnet.settings import Settings
from macnet.tunnel import EngineFound, RemapReport, Status, report_status
from macnet.values import DEFAULT_TUN_MTU
from tests.unit.helper.model import ONE_CLIENT
from tests.unit.tunnel.world import ModelClient, World

YEAR = timedelta(days=365)
APP = IPNetwork("172.82.0.0/24")
#: What OpenVPN in the server says while no client is connected.
NO_CLIENT = "\n".join(
    line for line in ONE_CLIENT.splitlines() if not line.startswith("CLIENT_LIST")
)


class Client(ModelClient):
    """It also tells by which interface it goes."""

    def status(self) -> ClientStatus:
        if self.used is None:
            return ClientStatus(ClientState.DISCONNECTED, "EXITING")
        address = IPAddress("192.168.255.2")
        return ClientStatus(ClientState.CONNECTED, "CONNECTED", address, "utun7", current=True)


@pytest.fixture
def up(world: World) -> World:
    """A tunnel that is up."""
    world.client = Client(world.paths)
    world.tunnel().setup()
    return world


def look(world: World, engine_error: EngineError | None = None) -> Status:
    tunnel = world.stored_tunnel()
    engine = None if engine_error else tunnel.engine
    return report_status(
        tunnel, EngineFound(engine, "unix:///docker.sock", "DOCKER_HOST", engine_error)
    )


@pytest.mark.parametrize("lane", ["kernel", "pasta"])
def test_what_carries_tcp(up: World, lane: str) -> None:
    up.engine.put_files("macnet-server", "/run", {"macnet/lane": (f"{lane}\n".encode(), 0o644)})
    assert look(up).lane == lane
    up.engine.stop("macnet-server")
    assert look(up).lane is None


def test_a_tunnel_that_is_up(up: World) -> None:
    before = len(up.engine.log)
    now = look(up)
    assert now.up
    assert (now.engine.error, now.engine.source) == (None, "DOCKER_HOST")
    assert [(one.role, one.name, one.state) for one in now.helpers] == [
        ("server", "macnet-server", "running"),
        ("relay", "macnet-relay", "running"),
    ]
    assert (now.client.state, now.client.interface) == ("connected", "utun7")
    assert (now.port, now.tunnel_subnet) == (13194, IPNetwork("192.168.255.0/24"))
    assert now.profile == str(up.paths.profile)
    assert APP in now.subnets
    assert (now.missing_routes, now.warnings) == ((), ())
    pki = load_pki(up.paths.pki)
    assert pki is not None
    assert now.certificates_expire == pki.expires
    settings = {setting.name: (setting.value, setting.source) for setting in now.settings}
    assert settings["tun_mtu"] == (str(DEFAULT_TUN_MTU), "default")
    assert settings["client"] == ("auto", "default")
    assert len(up.engine.log) == before


def test_health_restarts_and_versions_are_told(up: World) -> None:
    for one in up.engine.made.values():
        one.found = replace(one.found, health="healthy", restarts=3)
    now = look(up)
    assert [(one.health, one.restarts) for one in now.helpers] == [("healthy", 3)] * 2
    assert (now.engine.version, now.client.version) == ("28.5.2", "2.6.14")
    # What does not run has no health.
    up.engine.stop("macnet-server")
    assert [(one.health, one.restarts) for one in look(up).helpers] == [(None, 3), ("healthy", 3)]


def test_the_published_port_counts_and_else_the_recorded_one(up: World) -> None:
    [server] = [one for one in up.engine.made.values() if one.found.name == "macnet-server"]
    server.found = replace(server.found, published={1194: ("127.0.0.1", 13777)})
    assert look(up).port == 13777
    server.found = replace(server.found, published={})
    assert look(up).port == 13194


def test_nothing_is_set_up(world: World) -> None:
    now = look(world)
    assert not now.up
    assert {(one.state, one.health, one.restarts) for one in now.helpers} == {("missing", None, 0)}
    assert (now.port, now.tunnel_subnet, now.profile) == (None, None, None)
    assert (now.subnets, now.certificates_expire) == ((), None)


def test_without_the_engine(up: World) -> None:
    now = look(up, EngineUnreachable("no Docker engine answers"))
    assert not now.up
    assert now.helpers == ()
    assert (now.engine.version, now.engine.error) == (None, "no Docker engine answers")
    # What is on this machine is told all the same.
    assert now.port == 13194
    assert now.client.state == "connected"
    assert APP in now.subnets


def test_a_part_that_stopped(up: World) -> None:
    up.engine.stop("macnet-relay")
    now = look(up)
    assert not now.up
    assert now.helpers[1].state != "running"
    assert now.helpers[1].health is None


def test_a_client_that_is_not_connected_has_none_of_the_routes(up: World) -> None:
    up.client.used = None
    now = look(up)
    assert not now.up
    assert now.missing_routes == now.subnets != ()


def test_a_route_that_goes_elsewhere_is_missing(up: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def others() -> tuple[Route, ...]:
        return tuple(
            replace(route, interface="utun3") if route.destination == APP else route
            for route in World.routes(up)
        )

    monkeypatch.setattr(up, "routes", others)
    now = look(up)
    assert not now.up
    assert now.missing_routes == (APP,)


def test_a_table_that_cannot_be_read_is_no_proof(
    up: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable() -> tuple[Route, ...]:
        raise MacnetError("no netstat")

    monkeypatch.setattr(up, "routes", unreadable)
    now = look(up)
    assert not now.up
    assert now.missing_routes == now.subnets


def test_a_subnet_that_collides_is_told_with_its_owner(up: World) -> None:
    up.extra_interfaces.append(Interface("en0", (IPNetwork("172.82.0.9/24"),)))
    told = f"({APP}) is not routed: it overlaps the network of en0 ("
    assert any(told in warning for warning in look(up).warnings)


def test_networks_that_cannot_be_judged_are_a_warning(up: World) -> None:
    up.engine.networks = lambda: failing(EngineError("listing failed"))  # type: ignore[method-assign]
    [warning] = look(up).warnings
    assert warning == "macnet cannot judge the networks: listing failed"


def failing(error: MacnetError) -> NoReturn:
    raise error


def test_a_remap_is_told_with_both_subnets(up: World) -> None:
    up.extra_interfaces.append(Interface("en0", (IPNetwork("172.82.0.9/24"),)))
    up.setup_tunnel(remap=["auto"]).setup()
    assert look(up).remaps == (RemapReport(APP, IPNetwork("10.192.0.0/24")),)


def test_a_pushed_route_counts_too(up: World) -> None:
    up.network("new", "10.77.0.0/24")
    up.stored_tunnel().sync()
    now = look(up)
    assert IPNetwork("10.77.0.0/24") in now.subnets


def test_a_client_of_ones_own_is_up_when_the_server_serves_it(world: World) -> None:
    world.switch_client("none")
    world.tunnel(Settings(client=ClientChoice.NONE)).setup()
    world.engine.says["status"] = ExecResult(0, NO_CLIENT)
    assert not look(world).up
    world.own_client_connected = True
    del world.engine.says["status"]
    now = look(world)
    assert now.up
    assert (now.client.state, now.client.interface) == ("connected", "utun7")
    assert now.missing_routes == ()
    # Nobody knows where the server does not say.
    world.engine.says["status"] = ExecResult(1, "no")
    assert look(world).client.state == "unknown"
    world.engine.stop("macnet-server")
    assert look(world).client.state == "disconnected"


@pytest.mark.parametrize(
    ("left", "words"), [(40, None), (20, r"expire in (19|20) days"), (-2, "have expired")]
)
def test_certificates_that_end_soon(up: World, left: int, words: str | None) -> None:
    now = datetime.now(UTC)
    made = create_pki("macnet", now=now + timedelta(days=left, hours=12) - YEAR, days=YEAR.days)
    save_pki(up.paths.pki, made)
    found = look(up)
    assert found.certificates_expire == made.expires
    assert len(found.warnings) == (0 if words is None else 1)
    for warning in found.warnings:
        assert re.search(str(words), warning)
        assert "macnet regenerate --keys" in warning


@pytest.mark.parametrize("orbstack", [True, False])
def test_one_bridge_of_macos_collides_unless_the_engine_is_orbstacks(
    up: World, orbstack: bool
) -> None:
    """Whichever command looks."""
    if orbstack:
        url = "unix:///Users/ann/.orbstack/run/docker.sock"
        up.engine.address = EngineAddress(url, "the current context", "orbstack")
    up.extra_interfaces.append(Interface("bridge100", (IPNetwork("172.82.0.253/24"),)))
    [app] = [item for item in up.stored_tunnel().networks() if item.network.name == "app"]
    assert app.routed is orbstack
    told = [up.stored_tunnel().plan(force=True).warnings, look(up).warnings]
    assert [any("overlaps the network of bridge100" in w for w in some) for some in told] == (
        [not orbstack] * 2
    )
