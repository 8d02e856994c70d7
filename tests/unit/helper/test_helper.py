"""The helper on an engine in memory: made once, made anew when it must, changed while it runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from netaddr import IPNetwork

from macnet.engine import ContainerSpec, ExecResult
from macnet.errors import EngineRefused, ForeignContainer, HelperFailed, PortTaken
from macnet.helper import Helper
from macnet.helper import helper as module
from macnet.helper.spec import SUBNETS_FILE, HelperRoutes, server_container
from tests.unit.helper.examples import APP, DEFAULT, ROUTES, SPEC, pki
from tests.unit.helper.model import ModelEngine


@pytest.fixture
def engine() -> ModelEngine:
    return ModelEngine()


@pytest.fixture
def helper(engine: ModelEngine) -> Helper:
    return Helper(engine.as_engine(), "macnet")


@pytest.fixture
def running(helper: Helper, engine: ModelEngine) -> Helper:
    helper.ensure_server(SPEC, pki(), ROUTES)
    helper.ensure_relay(SPEC)
    engine.log.clear()
    return helper


def test_the_server_gets_its_files_before_it_starts(helper: Helper, engine: ModelEngine) -> None:
    assert helper.ensure_server(SPEC, pki(), ROUTES)
    assert engine.log == ["create macnet-server", "files macnet-server", "start macnet-server"]
    assert helper.status().server is not None
    assert not helper.status().running


def test_a_helper_that_runs_is_left_alone(running: Helper, engine: ModelEngine) -> None:
    assert running.status().running
    assert not running.ensure_server(SPEC, pki(), ROUTES)
    assert not running.ensure_relay(SPEC)
    assert engine.log == []


def test_another_spec_makes_new_containers(running: Helper, engine: ModelEngine) -> None:
    other = replace(SPEC, port=13195)
    assert running.ensure_server(other, pki(), ROUTES)
    assert running.ensure_relay(other)
    assert engine.log[:2] == ["remove macnet-server", "create macnet-server"]
    assert engine.log[-3:] == ["remove macnet-relay", "create macnet-relay", "start macnet-relay"]


@pytest.mark.parametrize("name", ["macnet-server", "macnet-relay"])
def test_a_container_that_ended_is_made_anew(
    running: Helper, engine: ModelEngine, name: str
) -> None:
    engine.stop(name)
    assert not running.status().running
    changed = [running.ensure_server(SPEC, pki(), ROUTES), running.ensure_relay(SPEC)]
    assert changed.count(True) == 1
    assert running.status().running


def test_a_container_of_somebody_else_is_not_touched(helper: Helper, engine: ModelEngine) -> None:
    engine.create_container(replace(server_container(SPEC), labels={}))
    engine.log.clear()
    with pytest.raises(ForeignContainer, match="macnet-server"):
        helper.ensure_server(SPEC, pki(), ROUTES)
    assert engine.log == []
    assert helper.remove() == ()


def test_a_container_that_does_not_start_is_not_left_behind(
    helper: Helper, engine: ModelEngine
) -> None:
    def taken(_: ContainerSpec) -> None:
        raise PortTaken("in use")

    engine.start = taken
    with pytest.raises(PortTaken):
        helper.ensure_server(SPEC, pki(), ROUTES)
    assert engine.made == {}


def test_a_kernel_without_ipv6_gets_a_server_without_its_switches(
    helper: Helper, engine: ModelEngine
) -> None:
    def no_ipv6(spec: ContainerSpec) -> None:
        if any("ipv6" in key for key in spec.sysctls):
            raise EngineRefused("open /proc/sys/net/ipv6/conf/all/forwarding: no such file")

    engine.start = no_ipv6
    assert helper.ensure_server(SPEC, pki(), ROUTES)
    (made,) = engine.made.values()
    assert made.spec.sysctls["net.ipv4.ip_forward"] == "1"
    assert not any("ipv6" in key for key in made.spec.sysctls)


def test_another_refusal_is_told(helper: Helper, engine: ModelEngine) -> None:
    def refuse(_: ContainerSpec) -> None:
        raise EngineRefused("not allowed")

    engine.refuse = refuse
    with pytest.raises(EngineRefused):
        helper.ensure_server(SPEC, pki(), ROUTES)


def test_a_server_that_ends_at_once_shows_its_log(helper: Helper, engine: ModelEngine) -> None:
    engine.starts_as = "exited"
    with pytest.raises(HelperFailed, match="the server stopped") as caught:
        helper.ensure_server(SPEC, pki(), ROUTES)
    assert caught.value.detail == "macnet-server said this"


def test_a_relay_that_is_never_ready(
    helper: Helper, engine: ModelEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READY_TIMEOUT_S", 0.0)
    engine.says["relay-health"] = ExecResult(1, "")
    with pytest.raises(HelperFailed, match="the relay did not become ready") as caught:
        helper.ensure_relay(SPEC)
    assert "macnet logs relay" in str(caught.value.hint)


def test_routes_are_changed_without_a_new_container(running: Helper, engine: ModelEngine) -> None:
    assert running.allowed_subnets() == ROUTES.subnets
    added = HelperRoutes(subnets=(DEFAULT, APP), pushed=(APP,))
    done = running.apply_routes(SPEC, added)
    assert (done.allowed, done.pushed) == (True, True)
    assert running.allowed_subnets() == (DEFAULT, APP)
    assert running.pushed_routes() == (APP,)
    assert engine.log == ["files macnet-server"]
    again = running.apply_routes(SPEC, added)
    assert (again.allowed, again.pushed) == (False, False)
    assert engine.log == ["files macnet-server"]


def test_only_pushed_routes_leave_the_firewall_alone(running: Helper, engine: ModelEngine) -> None:
    engine.commands.clear()
    done = running.apply_routes(SPEC, replace(ROUTES, pushed=(APP,)))
    assert (done.allowed, done.pushed) == (False, True)
    assert engine.commands == []


def test_subnets_that_the_server_does_not_take(running: Helper, engine: ModelEngine) -> None:
    engine.says["subnets.sh"] = ExecResult(2, "iptables-restore: line 3 failed")
    with pytest.raises(HelperFailed, match="did not take") as caught:
        running.apply_routes(SPEC, HelperRoutes(subnets=(APP,)))
    assert "line 3" in str(caught.value.detail)


def test_clients_are_asked_to_come_again(running: Helper, engine: ModelEngine) -> None:
    assert [client.cid for client in running.clients()] == [0]
    assert running.kick_clients() == 1
    assert engine.commands[-1][-1] == "client-kill 0"


def test_an_openvpn_that_does_not_answer(running: Helper, engine: ModelEngine) -> None:
    engine.says["management.pl"] = ExecResult(2, "no answer from OpenVPN\n")
    with pytest.raises(HelperFailed, match=r"no answer from OpenVPN$"):
        running.clients()


def test_all_of_the_tunnel_is_removed_and_nothing_else(
    running: Helper, engine: ModelEngine
) -> None:
    other = Helper(engine.as_engine(), "colima")
    other.ensure_server(replace(SPEC, name="colima"), pki(), ROUTES)
    assert set(running.remove()) == {"macnet-server", "macnet-relay"}
    assert [one.found.name for one in engine.made.values()] == ["macnet-colima-server"]
    assert running.remove() == ()
    assert running.allowed_subnets() == running.pushed_routes() == ()


def test_files_of_a_server_that_was_tampered_with_are_put_right(
    running: Helper, engine: ModelEngine
) -> None:
    engine.put_files("macnet-server", "/etc", {"macnet/subnets": (b"0.0.0.0/0\n", 0o644)})
    assert running.allowed_subnets() == (IPNetwork("0.0.0.0/0"),)
    assert running.apply_routes(SPEC, ROUTES).allowed
    assert engine.read_file("macnet-server", SUBNETS_FILE) == b"".join(
        f"{net}\n".encode() for net in ROUTES.subnets
    )
