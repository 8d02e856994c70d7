"""Break one thing in a healthy world: one failure, with a fix, and nothing else fails."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from netaddr import IPNetwork

from macnet.checks import CHECKS, Outcome, check_ids, run
from macnet.choices import ClientChoice
from macnet.clients.base import ClientState
from macnet.errors import ConfigError, EngineUnreachable
from macnet.models import Interface, PortOwner, Route
from macnet.pki import save_pki
from macnet.routes import UnreadableRoutes
from macnet.state import save_state
from tests.unit.checks.world import PORT, World, all_ok, make_pki

Fault = Callable[[World], object]


def set_state(world: World, state: ClientState, detail: str) -> None:
    """The client is in another state, and what hangs on that is gone."""
    world.client.state, world.client.detail = state, detail
    if state is not ClientState.CONNECTED:
        del world.interfaces[1]
        world.routes = [route for route in world.routes if route.interface != "utun4"]
        world.prober.silent |= {"192.168.255.1", "172.82.0.1", "172.17.0.1", "172.28.0.1"}


def close_port(world: World, owner: PortOwner | None) -> None:
    """The forwarding of the published port is gone."""
    world.prober.doors.discard(("127.0.0.1", PORT))
    world.port_owner = owner
    set_state(world, ClientState.CONNECTING, "RECONNECTING")


def foreign_container(world: World) -> None:
    """Somebody else's container has the server's name."""
    world.change_part("server", labels={})


def other_keys(world: World) -> None:
    """The stored keys are not those of profile and containers."""
    world.pki = make_pki(366)
    (world.paths.pki / "pki.json").unlink()
    save_pki(world.paths.pki, world.pki)


def no_relay(world: World) -> None:
    """The relay is attached, but lets nothing through."""
    world.prober.silent |= {
        *("172.82.0.1", "172.17.0.1", "172.28.0.1"),
        *("172.82.0.100", "172.82.0.3", "172.17.0.3", "172.28.0.3"),
    }


def remove_port(world: World) -> None:
    """A record from an interrupted setup."""
    save_state(world.paths.state, replace(world.state, port=None))


FAULTS: dict[str, tuple[Fault, str, str]] = {
    "engine down": (World.kill_engine, "engine.reachable", "no Docker engine"),
    "no such context": (
        lambda w: setattr(w, "engine_error", ConfigError("no context", hint="choose")),
        "engine.reachable",
        "no context",
    ),
    "routes unreadable": (
        lambda w: setattr(w, "route_error", UnreadableRoutes("cannot read")),
        "host.routes",
        "cannot read",
    ),
    "never set up": (lambda w: w.paths.state.unlink(), "tunnel.setup", "no tunnel yet"),
    "setup interrupted": (lambda w: w.paths.profile.unlink(), "tunnel.setup", "not ended"),
    "record incomplete": (remove_port, "tunnel.setup", "setup has not ended"),
    "record of the future": (
        lambda w: w.paths.state.write_text('{"version": 99}'),
        "tunnel.setup",
        "newer",
    ),
    "keys damaged": (
        lambda w: (w.paths.pki / "pki.json").write_text("{}"),
        "tunnel.certificates",
        "damaged",
    ),
    "keys gone": (
        lambda w: (w.paths.pki / "pki.json").unlink(),
        "tunnel.certificates",
        "there are none",
    ),
    "keys expired": (World.expire, "tunnel.certificates", "expired"),
    "keys exchanged": (other_keys, "tunnel.profile", "other certificates"),
    "profile for another port": (
        lambda w: w.write_profile(w.subnets, port=9),
        "tunnel.profile",
        "127.0.0.1 9",
    ),
    "server gone": (lambda w: w.engine.parts.clear(), "helper.server", "no container"),
    "server ended": (
        lambda w: w.change_part("server", status="exited", exit_code=3),
        "helper.server",
        "exit code 3",
    ),
    "server restarts for ever": (
        lambda w: w.change_part("server", status="restarting", restarts=8),
        "helper.server",
        "it went wrong",
    ),
    "server is not ours": (foreign_container, "helper.server", "did not create"),
    "openvpn mute": (
        lambda w: setattr(w.engine, "openvpn_answers", False),
        "helper.server.answers",
        "does not answer",
    ),
    "relay gone": (
        lambda w: w.engine.parts.pop("macnet-relay"),
        "helper.relay",
        "no container macnet-relay",
    ),
    "relay ended": (
        lambda w: w.change_part("relay", status="exited", exit_code=137),
        "helper.relay",
        "exit code 137",
    ),
    "relay not attached": (
        lambda w: setattr(w.engine, "attached", False),
        "helper.relay.attached",
        "relay0",
    ),
    "port closed": (lambda w: close_port(w, None), "tunnel.port", "nobody listens"),
    "port held": (
        lambda w: close_port(w, PortOwner(PORT, 42, "mysqld")),
        "tunnel.port",
        "mysqld (pid 42)",
    ),
    "client not installed": (
        lambda w: setattr(w.client, "installed", False),
        "client.installed",
        "not installed",
    ),
    "client disconnected": (
        lambda w: set_state(w, ClientState.DISCONNECTED, "not running"),
        "client.connected",
        "not running",
    ),
    "client reconnecting": (
        lambda w: set_state(w, ClientState.CONNECTING, "RECONNECTING"),
        "client.connected",
        "RECONNECTING",
    ),
    "address gone": (lambda w: w.interfaces.pop(), "client.address", "192.168.255.2"),
    "route gone": (lambda w: w.routes.pop(), "reach.routes", "no route by utun4"),
    "foreign route": (
        lambda w: w.routes.append(Route(IPNetwork("172.82.0.0/25"), "utun7")),
        "reach.routes",
        "utun7",
    ),
    "server not reached": (
        lambda w: w.prober.silent.add("192.168.255.1"),
        "reach.server",
        "no answer",
    ),
    "relay lets nothing through": (no_relay, "reach.gateway", "none of 3 bridges"),
    "one bridge dead": (
        lambda w: w.prober.silent.update({"172.28.0.1", "172.28.0.3"}),
        "reach.gateway",
        "172.28.0.1",
    ),
    "one container silent": (
        lambda w: w.prober.silent.add("172.82.0.100"),
        "reach.ping",
        "no answer",
    ),
    "one port filtered": (
        lambda w: w.prober.filtered.add(("172.82.0.100", 6379)),
        "reach.tcp",
        "timeout",
    ),
    "network not yet allowed": (
        lambda w: w.write_server(w.subnets[:2]),
        "tunnel.subnets",
        "does not let it through",
    ),
    "network not yet routed": (
        lambda w: w.write_profile(w.subnets[:2]),
        "tunnel.subnets",
        "no route for it",
    ),
}


def test_a_foreign_server_is_told_by_its_own_check_alone(world: World) -> None:
    """Also where the routes of another VPN are looked at, for which our interface counts."""
    foreign_container(world)
    world.routes.append(Route(IPNetwork("172.16.0.0/12"), "utun9"))
    failed = [result.id for result in world.check().failures]
    assert failed == ["helper.server"]


@pytest.mark.parametrize("lost", ["port", "tunnel_subnet", "token"])
def test_a_record_that_lacks_a_part_is_no_setup(world: World, lost: str) -> None:
    lacking: dict[str, Any] = {lost: None}
    world.state = replace(world.state, **lacking)
    save_state(world.paths.state, world.state)
    [found] = [r for r in world.check().results if r.id == "tunnel.setup"]
    assert found.outcome is Outcome.FAIL
    said = "no tunnel yet" if lost == "token" else "setup has not ended"
    assert said in found.evidence


def test_where_no_tunnel_is_needed_none_is_advised(world: World) -> None:
    """Setup would say that too, and do nothing."""
    world.paths.state.unlink()
    for number, net in enumerate(world.subnets):
        held = IPNetwork(f"{net.ip + 77}/{net.prefixlen}")
        world.interfaces.append(Interface(f"bridge10{number}", (held,)))
    (found,) = world.check().failures
    assert (found.id, found.fix) == (
        "tunnel.setup",
        "none; `macnet setup --force` makes a tunnel all the same",
    )
    assert "none is needed: by bridge100, bridge101, bridge102 the engine itself" in found.evidence


def test_the_tunnels_own_subnet_is_that_of_the_record(world: World) -> None:
    """Wherever the tunnel has moved to, and whatever the settings ask for by now."""
    moved = IPNetwork("10.99.0.0/24")
    world.settings = replace(world.settings, tunnel_subnet=IPNetwork("10.98.0.0/24"))
    save_state(world.paths.state, replace(world.state, tunnel_subnet=moved))
    assert world.facts().own_subnets[0] == moved
    save_state(world.paths.state, replace(world.state, tunnel_subnet=None))
    assert world.facts().own_subnets[0] == IPNetwork("10.98.0.0/24")


@pytest.mark.parametrize("name", FAULTS)
def test_one_cause_one_failure(world: World, name: str) -> None:
    fault, expected, words = FAULTS[name]
    fault(world)
    report = world.check()
    (failure,) = report.failures
    assert failure.id == expected
    assert words in failure.evidence
    assert failure.fix
    assert {r.cause for r in report.results if r.outcome is Outcome.SKIP} <= {expected}
    assert not report.ok


def test_healthy_is_ok_everywhere(world: World) -> None:
    world.names_on()
    report = world.check()
    assert {result.outcome for result in report.results} == {Outcome.OK}
    # Those of `--also` and of other machines are for what there is.
    some = ("also.", "kubernetes.", "swarm.", "carrier.")
    always = [identity for identity in check_ids() if not identity.startswith(some)]
    assert [*dict.fromkeys(result.id for result in report.results)] == always


def _contents(folder: Path) -> dict[str, str]:
    return {
        str(path): f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", ["healthy", *FAULTS])
def test_checks_change_nothing(world: World, name: str) -> None:
    if name != "healthy":
        FAULTS[name][0](world)
    before = _contents(world.paths.root)
    world.check()
    assert _contents(world.paths.root) == before


class TestManualClient:
    """The user's own client tells nothing; the server knows whether one is connected."""

    @pytest.fixture(autouse=True)
    def manual(self, world: World) -> None:
        world.settings = replace(world.settings, client=ClientChoice.NONE)
        world.client.state, world.client.detail = ClientState.UNKNOWN, "not managed by macnet"

    def test_connected(self, world: World) -> None:
        assert all_ok(world.check())

    def test_not_connected(self, world: World) -> None:
        world.engine.clients = 0
        (failure,) = world.check().failures
        assert failure.id == "client.connected"
        assert str(world.paths.profile) in (failure.fix or "")


def test_a_stopped_relay_is_not_explained_by_what_it_passed(world: World) -> None:
    world.engine.log = ("2026-03-01T12:00:00Z NDP: received NS from :: on tap",)
    world.change_part("relay", status="exited", exit_code=0)
    (failure,) = world.check().failures
    assert failure.title == "Relay"
    assert "NDP" not in failure.evidence
    assert "`macnet setup`" in (failure.fix or "")
    assert "`macnet logs relay`" in (failure.fix or "")


def test_two_causes_give_two_failures(world: World) -> None:
    world.kill_engine()
    world.client.installed = False
    assert {r.id for r in world.check().failures} == {"engine.reachable", "client.installed"}


def test_an_engine_that_is_away_is_asked_once(world: World) -> None:
    opened = []

    def refuse() -> None:
        opened.append(1)
        raise EngineUnreachable("no")

    tunnel = world.tunnel
    tunnel._open_engine = refuse  # type: ignore[assignment]
    report = run(tunnel, ["redis"], prober=world.prober)
    assert report.failures[0].id == "engine.reachable"
    assert len(opened) == 1


def test_every_check_documents_itself() -> None:
    for check in CHECKS:
        assert check.title
        assert check.title[0].isupper()
        assert check.about.endswith(".")
        assert check.fix
    assert len(set(check_ids())) == len(CHECKS)
