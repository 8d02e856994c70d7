"""The helper on an engine in memory: made once, made anew when it must, changed while it runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from netaddr import IPNetwork

from macnet.engine import ContainerSpec, ExecResult
from macnet.errors import EngineRefused, ForeignContainer, HelperFailed, PortTaken
from macnet.helper import Helper
from macnet.helper import containers as module
from macnet.helper.spec import APPLIED_FILE, HelperRoutes, ServerRoutes, server_container
from tests.unit.helper.examples import APP, DEFAULT, ROUTES, SIX, SPEC, pki
from tests.unit.helper.model import NO_CLIENT, ONE_CLIENT, ModelEngine


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


def effect(helper: Helper) -> ServerRoutes:
    found = helper.in_effect()
    assert found is not None
    return found


def test_routes_are_changed_without_a_new_container(running: Helper, engine: ModelEngine) -> None:
    assert effect(running).subnets == ROUTES.subnets
    added = HelperRoutes(subnets=(DEFAULT, APP), pushed=(APP,))
    done = running.apply_routes(SPEC, added)
    assert (done.allowed, done.pushed) == (True, True)
    assert effect(running).subnets == (DEFAULT, APP)
    assert effect(running).pushed == (APP,)
    assert engine.log == ["files macnet-server"]
    again = running.apply_routes(SPEC, added)
    assert (again.allowed, again.pushed) == (False, False)
    assert engine.log == ["files macnet-server"]


def test_only_pushed_routes_leave_the_firewall_alone(running: Helper, engine: ModelEngine) -> None:
    engine.commands.clear()
    done = running.apply_routes(SPEC, replace(ROUTES, pushed=(APP,)))
    assert (done.allowed, done.pushed) == (False, True)
    assert engine.commands == []


def test_what_the_server_did_not_take_is_tried_again(running: Helper, engine: ModelEngine) -> None:
    """The file is written by then, so it says nothing about what is in effect."""
    wanted = HelperRoutes(subnets=(APP,))
    engine.says["subnets.sh"] = ExecResult(2, "iptables-restore: line 3 failed")
    with pytest.raises(HelperFailed):
        running.apply_routes(SPEC, wanted)
    found = running.in_effect()
    assert found is not None
    assert found.subnets == ROUTES.subnets
    with pytest.raises(HelperFailed):
        running.apply_routes(SPEC, wanted)
    del engine.says["subnets.sh"]
    assert running.apply_routes(SPEC, wanted).allowed
    assert not running.apply_routes(SPEC, wanted).allowed


def test_a_new_server_that_does_not_take_its_subnets(helper: Helper, engine: ModelEngine) -> None:
    engine.says["subnets.sh"] = ExecResult(2, "iptables-restore: line 3 failed")
    with pytest.raises(HelperFailed, match="did not take"):
        helper.ensure_server(SPEC, pki(), ROUTES)


def test_what_is_in_effect(running: Helper, engine: ModelEngine) -> None:
    seen = IPNetwork("10.200.1.0/24")
    running.apply_routes(SPEC, HelperRoutes((DEFAULT, APP), pushed=(SIX,), remaps=((seen, APP),)))
    assert running.in_effect() == ServerRoutes(
        subnets=(DEFAULT, seen),
        remaps=((seen, APP),),
        pushed=(SIX,),
        tunnel_subnet=SPEC.tunnel_subnet,
    )
    engine.stop("macnet-server")
    assert running.in_effect() is None


def test_what_carries_tcp(running: Helper, engine: ModelEngine) -> None:
    assert running.lane() == "kernel"
    engine.put_files("macnet-server", "/run", {"macnet/lane": (b"pasta\n", 0o644)})
    assert running.lane() == "pasta"
    running.remove()
    assert running.lane() is None


def test_a_helper_of_another_token_is_not_replaced(running: Helper, engine: ModelEngine) -> None:
    other = replace(SPEC, token="f" * 32)
    engine.log.clear()
    with pytest.raises(ForeignContainer, match="another MACNET_HOME") as caught:
        running.ensure_server(other, pki(), ROUTES)
    assert "macnet down" in str(caught.value.hint)
    with pytest.raises(ForeignContainer, match="another MACNET_HOME"):
        running.ensure_relay(other)
    assert engine.log == []
    foreign = replace(other, home="d" * 16)
    with pytest.raises(ForeignContainer, match="another user's"):
        running.ensure_server(foreign, pki(), ROUTES, take_over=True)
    with pytest.raises(ForeignContainer, match="another user's"):
        running.ensure_relay(foreign, take_over=True)
    assert engine.log == []
    assert running.ensure_server(other, pki(), ROUTES, take_over=True)
    assert running.ensure_relay(other, take_over=True)


def test_an_old_relay_gets_time_to_clean_up(running: Helper, engine: ModelEngine) -> None:
    running.ensure_relay(replace(SPEC, tun_mtu=1500))
    assert engine.graces["macnet-relay"] > 0


def test_a_server_that_ends_while_it_is_asked_shows_its_log(
    running: Helper, engine: ModelEngine
) -> None:
    engine.stop("macnet-server")
    with pytest.raises(HelperFailed, match=r"the server stopped \(status 137\)") as caught:
        running.clients()
    assert caught.value.detail == "macnet-server said this"


def test_subnets_that_the_server_does_not_take(running: Helper, engine: ModelEngine) -> None:
    engine.says["subnets.sh"] = ExecResult(2, "iptables-restore: line 3 failed")
    with pytest.raises(HelperFailed, match="did not take") as caught:
        running.apply_routes(SPEC, HelperRoutes(subnets=(APP,)))
    assert "line 3" in str(caught.value.detail)


def test_clients_are_asked_to_come_again(running: Helper, engine: ModelEngine) -> None:
    assert [client.cid for client in running.clients()] == [0]
    assert running.kick_clients() == 1
    assert engine.commands[-1][-1] == "client-kill 0"


@pytest.mark.parametrize("left", [ONE_CLIENT, None])
def test_a_client_that_is_not_kicked(
    running: Helper, engine: ModelEngine, left: str | None
) -> None:
    """It is a failure only if it is still there."""
    engine.says["client-kill"] = ExecResult(1, "ERROR: client-kill command failed")
    if left is None:
        answers = iter([ONE_CLIENT, NO_CLIENT])
        engine.status = lambda: next(answers)
        assert running.kick_clients() == 1
    else:
        with pytest.raises(HelperFailed, match="client-kill"):
            running.kick_clients()


def test_an_openvpn_that_does_not_answer(running: Helper, engine: ModelEngine) -> None:
    engine.says["macnet.relay.management"] = ExecResult(2, "no answer from OpenVPN\n")
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
    assert running.in_effect() is None


def test_routes_of_a_server_that_was_tampered_with_are_put_right(
    running: Helper, engine: ModelEngine
) -> None:
    engine.put_files("macnet-server", "/etc", {"macnet/subnets.applied": (b"0.0.0.0/0\n", 0o644)})
    assert effect(running).subnets == (IPNetwork("0.0.0.0/0"),)
    assert running.apply_routes(SPEC, ROUTES).allowed
    assert engine.read_file("macnet-server", APPLIED_FILE) == b"".join(
        f"{net}\n".encode() for net in ROUTES.subnets
    )


def test_a_container_that_is_removed_while_it_is_waited_for(
    helper: Helper, engine: ModelEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = engine.start_container

    def start_and_lose(name: str) -> None:
        start(name)
        monkeypatch.setattr(engine, "find_container", lambda _: None)

    monkeypatch.setattr(engine, "start_container", start_and_lose)
    with pytest.raises(HelperFailed, match=r"the server stopped \(status removed\)"):
        helper.ensure_server(SPEC, pki(), ROUTES)
