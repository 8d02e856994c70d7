"""A tunnel is made, kept, changed and taken away; each step is named where it fails."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from netaddr import IPNetwork

from macnet.choices import ClientChoice
from macnet.engine import ContainerSpec, ExecResult
from macnet.errors import (
    BadValue,
    ClientFailed,
    ClientMissing,
    EngineError,
    EngineRefused,
    HelperFailed,
    ImageBuildFailed,
    ImageMissing,
    MacnetError,
    NotSetUp,
    PortTaken,
    SubnetConflict,
    TunnelTimeout,
)
from macnet.helper import LABEL_NAME, containers
from macnet.models import Interface, Route
from macnet.settings import Settings
from macnet.state import TunnelState, load_state, save_state
from macnet.tunnel import converge
from tests.unit.tunnel.world import World

APP = IPNetwork("172.82.0.0/24")


def test_the_steps_come_in_this_order(world: World) -> None:
    done = world.tunnel().setup()
    assert world.diary.stages == [
        "looking at the engine",
        "preparing keys",
        "building the helper image",
        "starting the server",
        "setting the server's routes",
        "starting the relay",
        "writing the profile",
        "connecting openvpn",
        "waiting for traffic",
        "trying the largest packet",
    ]
    assert done.changed
    assert done.verified is not None
    assert done.port == 13194


def test_setup_twice_changes_nothing(world: World) -> None:
    world.tunnel().setup()
    before = {path: path.stat().st_mtime_ns for path in world.paths.root.rglob("*")}
    world.engine.log.clear()
    world.client.log.clear()
    done = world.tunnel().setup()
    assert not done.changed
    assert world.engine.log == []
    assert world.client.log == []
    changed = {p for p in world.paths.root.rglob("*") if p.stat().st_mtime_ns != before.get(p)}
    assert changed <= {world.paths.lock}


def failing_build(world: World) -> MacnetError:
    world.engine.build_error = ImageBuildFailed("no network")
    return world.engine.build_error


def failing_create(world: World, role: str) -> MacnetError:
    error = HelperFailed("no")

    def refuse(spec: ContainerSpec) -> None:
        if spec.name == f"macnet-{role}":
            raise error

    world.engine.refuse = refuse
    return error


def failing_client(world: World) -> MacnetError:
    world.client.error = ClientFailed("no")
    return world.client.error


@pytest.mark.parametrize(
    ("stage", "prepare"),
    [
        ("building the helper image", failing_build),
        ("starting the server", lambda world: failing_create(world, "server")),
        ("starting the relay", lambda world: failing_create(world, "relay")),
        ("connecting openvpn", failing_client),
    ],
)
def test_an_error_carries_its_stage_and_the_next_setup_goes_on(
    world: World, stage: str, prepare: object
) -> None:
    assert callable(prepare)
    error = prepare(world)
    with pytest.raises(type(error)) as caught:
        world.tunnel().setup()
    assert caught.value.stage == stage
    assert str(caught.value).startswith(f"{stage}: ")
    assert world.diary.failures == [stage]
    world.engine.build_error = None
    world.engine.refuse = lambda _: None
    world.client.error = None
    assert world.tunnel().setup().verified is not None


def test_routes_that_the_server_does_not_take_are_a_stage_too(world: World) -> None:
    world.tunnel().setup()
    world.network("new", "10.77.0.0/24")
    world.engine.says["subnets.sh"] = ExecResult(1, "no")
    with pytest.raises(HelperFailed) as caught:
        world.tunnel().setup()
    assert caught.value.stage == "setting the server's routes"


def test_a_rootless_engine_is_refused_at_once(world: World) -> None:
    world.engine.info_ = replace(world.engine.info_, rootless=True)
    for attempt in (world.setup_tunnel().setup, world.setup_tunnel().plan):
        with pytest.raises(EngineRefused, match="is rootless") as caught:
            attempt()
        assert "runs as root" in str(caught.value.hint)
    assert not world.engine.made
    assert not world.engine.images


def test_an_engine_without_a_default_bridge_gets_a_network_for_each_tunnel(world: World) -> None:
    world.remove_network("bridge")
    world.tunnel().setup()
    world.tunnel(Settings(name="colima")).setup()
    assert set(world.engine.own_networks) == {"macnet", "macnet-colima"}


def test_no_answer_in_time(world: World) -> None:
    world.silent |= {str(IPNetwork(net)[1]) for net in world.tunnel().plan().subnets}
    with pytest.raises(TunnelTimeout, match="does not answer") as caught:
        world.tunnel().setup()
    assert caught.value.stage == "waiting for traffic"
    assert "macnet check" in str(caught.value.hint)


def test_one_silent_bridge_is_a_warning(world: World) -> None:
    world.silent.add("172.82.0.1")
    assert world.tunnel().setup().verified is not None
    assert any("no answer from 172.82.0.1" in text for text in world.diary.warnings)


def test_setup_waits_for_a_relay_that_is_still_attaching_and_sync_does_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "READY_TIMEOUT_S", 0.0)
    world.setup_tunnel().setup()
    world.engine.says["relay-health.sh"] = ExecResult(1, "not attached")
    assert world.stored_tunnel().sync() is not None
    with pytest.raises(HelperFailed) as caught:
        world.setup_tunnel().setup()
    assert caught.value.stage == "starting the relay"


def test_a_bridge_that_answers_late_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converge, "TRAFFIC_TIMEOUT_S", 60.0)
    monkeypatch.setattr("macnet.survey.time.sleep", lambda _: world.silent.clear())
    world.silent.add("172.82.0.1")
    assert world.tunnel().setup().verified is not None
    assert world.diary.warnings == []
    # Whoever has answered is not asked again.
    assert world.pinged.count("172.82.0.1") == 2
    assert world.pinged.count("172.17.0.1") == 1


def test_without_a_client_all_but_the_connection_is_made(world: World) -> None:
    world.client.installed = False
    with pytest.raises(ClientMissing) as caught:
        world.tunnel().setup()
    assert "`macnet setup` goes on" in str(caught.value.hint)
    assert len(world.engine.made) == 2
    assert world.paths.profile.exists()
    world.client.installed = True
    world.diary.changed.clear()
    assert world.tunnel().setup().verified is not None
    assert world.diary.changed == ["connecting openvpn"]


def test_another_client_that_is_missing_leaves_the_connected_one_alone(world: World) -> None:
    world.tunnel().setup()
    before = dict(world.engine.made)
    used = world.client.used
    world.network("new", "10.77.0.0/24")
    world.switch_client("tunnelblick")
    world.client.installed = False
    with pytest.raises(ClientMissing):
        world.tunnel().setup()
    assert world.engine.made == before
    assert world.others["openvpn"].used == used == world.paths.profile.read_bytes()


def test_a_client_of_ones_own_gets_a_profile_and_no_traffic_is_awaited(world: World) -> None:
    world.switch_client("none")
    done = world.tunnel(Settings(client=ClientChoice.NONE)).setup()
    assert done.verified is None
    assert "waiting for traffic" not in world.diary.stages
    assert world.paths.profile.stat().st_mode & 0o777 == 0o600
    assert world.tunnel().profile_text().count("BEGIN PRIVATE KEY") == 1


def test_the_engine_cannot_publish_the_port(world: World) -> None:
    def taken(spec: ContainerSpec) -> None:
        if spec.publish.get(1194) == ("127.0.0.1", 13194):
            raise PortTaken("port is already allocated")

    world.engine.start = taken
    done = world.tunnel().setup()
    assert done.port == 13195
    assert load_state(world.paths.state, world.diary).port == 13195
    assert "remote 127.0.0.1 13195" in world.tunnel().profile_text()
    assert any("13195" in text for text in world.diary.warnings)


def test_watch_does_not_move_the_port_under_a_client_that_stays(world: World) -> None:
    """The engine gives the port back late, and the profile names it."""
    world.tunnel().setup()
    world.engine.stop("macnet-server")

    def taken(spec: ContainerSpec) -> None:
        if spec.publish.get(1194) == ("127.0.0.1", 13194):
            raise PortTaken("port is already allocated")

    world.engine.start = taken
    with pytest.raises(PortTaken):
        world.tunnel().sync()
    assert load_state(world.paths.state, world.diary).port == 13194


def test_only_an_engine_without_a_default_bridge_gets_a_network(world: World) -> None:
    world.tunnel().setup()
    assert world.engine.own_networks == {}
    world.remove_network("bridge")
    world.tunnel().setup()
    assert world.engine.own_networks == {"macnet": {LABEL_NAME: "macnet"}}


def test_an_engine_that_publishes_no_port_is_asked_six_times(world: World) -> None:
    asked = []

    def taken(spec: ContainerSpec) -> None:
        asked.append(spec.publish[1194])
        raise PortTaken("port is already allocated")

    world.engine.start = taken
    with pytest.raises(PortTaken):
        world.tunnel().setup()
    assert asked == [("127.0.0.1", port) for port in range(13194, 13200)]
    # Nothing says later that it moves away from the last one that was tried.
    world.engine.start = lambda _: None
    world.diary.warnings.clear()
    assert world.tunnel().setup().port == 13194
    assert world.diary.warnings == []


def test_a_port_that_was_asked_for_is_not_replaced_by_another(world: World) -> None:
    def taken(_: ContainerSpec) -> None:
        raise PortTaken("port is already allocated")

    world.engine.start = taken
    with pytest.raises(PortTaken):
        world.tunnel(Settings(port=13194)).setup()
    assert load_state(world.paths.state, world.diary).port is None


def has_a_way(world: World) -> None:
    """Something else gives this machine a route to each of the engine's networks."""
    world.direct.add("172.82.0.100")
    sixteen = (f"172.{number}.0.0/16" for number in (17, 18, 19, 20))
    for net in (*sixteen, "172.82.0.0/24", "172.82.6.0/24"):
        world.extra_routes.append(Route(IPNetwork(net), "utun7"))


def test_no_tunnel_where_containers_answer_without_one(world: World) -> None:
    has_a_way(world)
    done = world.tunnel().setup()
    assert done.already_reachable == (
        "172.82.0.100 answers without a tunnel, by utun7 (route 172.82.0.0/24)"
    )
    assert not done.changed
    assert world.engine.made == {}
    assert not world.paths.root.exists()
    assert world.tunnel().setup(force=True).changed


def test_a_plan_says_that_no_tunnel_is_needed(world: World) -> None:
    has_a_way(world)
    assert "answers without a tunnel" in str(world.tunnel().plan().already_reachable)
    assert not world.tunnel().plan().changes
    assert world.tunnel().plan(force=True).changes


def test_a_host_with_a_containers_address_is_named(world: World) -> None:
    """It answers by the default route: that proves no way to the container."""
    world.direct.add("172.82.0.100")
    assert world.tunnel().setup().verified is not None
    [warning] = [text for text in world.diary.warnings if "172.82.0.100" in text]
    assert warning == (
        "another host answers at 172.82.0.100 now, and while the tunnel is up the container has "
        "that address: `macnet setup --remap 172.82.0.0/24=10.192.0.0/24` reaches both"
    )
    # Through the tunnel it is the container itself.
    world.diary.warnings.clear()
    world.tunnel().setup()
    assert world.diary.warnings == []


def test_the_tunnel_to_another_engine_is_no_way_to_this_one(world: World) -> None:
    """Engines have the same subnets, so a container of the other one answers."""
    has_a_way(world)
    other = world.paths.root.with_name("colima") / "tunnel.json"
    subnet = IPNetwork("10.99.0.0/24")
    save_state(other, TunnelState(tunnel_subnet=subnet))
    world.extra_interfaces.append(Interface("utun7", (IPNetwork("10.99.0.2/24"),)))
    assert world.tunnel().setup().already_reachable is None


def test_no_tunnel_where_the_bridges_are_here(world: World) -> None:
    world.extra_interfaces.append(Interface("docker0", (IPNetwork("172.17.0.1/16"),)))
    world.direct.add("172.17.0.3")
    world.system = "linux"
    done = world.tunnel().setup()
    assert "bridges are on this host (docker0)" in str(done.already_reachable)


def test_strict_refuses_a_collision_before_anything_is_made(world: World) -> None:
    world.extra_interfaces.append(Interface("en0", (IPNetwork("172.82.0.9/24"),)))
    with pytest.raises(SubnetConflict, match=r"172\.82\.0\.0/24"):
        world.tunnel().setup(strict=True)
    with pytest.raises(SubnetConflict, match=r"172\.82\.0\.0/24"):
        world.tunnel().plan(strict=True)
    assert world.engine.made == {}
    assert world.tunnel().setup().changed


# Afterwards


def test_offline_an_image_that_is_not_there_is_named_before_anything_is_made(world: World) -> None:
    for run in (world.tunnel().setup, world.tunnel().plan):
        with pytest.raises(ImageMissing, match="the engine has no image macnet-helper:"):
            run(offline=True)
    assert world.engine.log == []
    assert not world.paths.state.exists()
    world.tunnel().setup()
    assert not world.tunnel().setup(offline=True).changed


def test_regenerate_needs_a_tunnel(world: World) -> None:
    with pytest.raises(NotSetUp, match="no tunnel yet"):
        world.tunnel().regenerate()


def test_regenerate_takes_up_a_network_and_lets_one_go(world: World) -> None:
    world.tunnel().setup()
    world.network("new", "10.77.0.0/24")
    done = world.tunnel().regenerate()
    assert done.routes.added == (IPNetwork("10.77.0.0/24"),)
    assert IPNetwork("10.77.0.0/24") in world.carried()
    world.remove_network("app")
    done = world.tunnel().regenerate()
    assert done.routes.removed == (APP,)
    assert APP not in world.carried()
    assert not world.tunnel().regenerate().changed


def test_new_keys_make_a_new_profile_that_the_client_takes(world: World) -> None:
    world.tunnel().setup()
    before = world.tunnel().profile_text()
    assert world.tunnel().regenerate(keys=True).changed
    after = world.tunnel().profile_text()
    assert before != after
    assert world.client.used == after.encode()


def kicks(world: World) -> int:
    """How often the server has asked its client to connect again since the last look."""
    found = sum("client-kill" in " ".join(argv) for argv in world.engine.commands)
    world.engine.commands.clear()
    return found


def test_only_a_client_that_lacks_a_new_route_has_to_connect_again(world: World) -> None:
    assert world.tunnel().setup().new_profile
    assert kicks(world) == 0  # it has just connected
    assert not world.tunnel().setup().new_profile
    assert kicks(world) == 0  # nothing is new
    world.network("new", "10.77.0.0/24")
    assert not world.tunnel().regenerate().new_profile
    assert kicks(world) == 1
    world.tunnel().disconnect()
    world.network("newer", "10.78.0.0/24")
    assert not world.tunnel().regenerate().new_profile
    assert kicks(world) == 0


def test_a_client_that_was_not_told_of_a_lost_route_is_told_later(world: World) -> None:
    world.tunnel().setup()
    world.network("new", "10.77.0.0/24")
    world.tunnel().sync()
    kicks(world)
    world.remove_network("new")
    world.engine.says["client-kill"] = ExecResult(1, "busy")
    with pytest.raises(HelperFailed):
        world.tunnel().sync()
    del world.engine.says["client-kill"]
    kicks(world)
    world.tunnel().sync()
    assert kicks(world) == 1
    world.tunnel().sync()
    assert kicks(world) == 0


def test_a_client_of_ones_own_that_takes_no_routes_is_left_in_peace(world: World) -> None:
    world.switch_client("none")
    settings = Settings(client=ClientChoice.NONE)
    world.tunnel(settings).setup()
    world.own_client_connected = True
    world.network("new", "10.77.0.0/24")
    world.tunnel(settings).sync()
    world.takes_pushed = False
    kicks(world)
    world.tunnel(settings).sync()
    assert kicks(world) == 0


def test_a_sync_touches_neither_client_nor_profile(world: World) -> None:
    assert world.tunnel().sync() is None
    assert not world.paths.root.exists()
    world.tunnel().setup()
    before = world.client.used
    world.client.log.clear()
    world.diary.stages.clear()
    world.network("new", "10.77.0.0/24")
    world.remove_network("app")
    found = world.tunnel().sync()
    assert found is not None
    assert found.routes.added == (IPNetwork("10.77.0.0/24"),)
    assert found.routes.removed == (APP,)
    assert found.stale == (APP,)
    assert world.client.used == before
    assert world.client.log == world.diary.stages == []
    world.engine.stop("macnet-relay")
    found = world.tunnel().sync()
    assert found is not None
    assert found.repaired == ("macnet-relay",)


def test_a_sync_does_not_ask_the_client(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS may hold such a question until a person consents, and watch has none."""
    world.tunnel().setup()
    monkeypatch.setattr(world.client, "status", lambda: pytest.fail("it was asked"))
    assert world.tunnel().sync() is not None


def test_a_sync_makes_no_keys_and_no_profile(world: World) -> None:
    world.tunnel().setup()
    with pytest.raises(NotSetUp, match="profile does not fit"):
        world.tunnel(Settings(tun_mtu=1500)).sync()
    state = load_state(world.paths.state, world.diary)
    save_state(world.paths.state, replace(state, token=None))
    with pytest.raises(NotSetUp, match="gone or damaged"):
        world.tunnel().sync()
    save_state(world.paths.state, state)
    shutil.rmtree(world.paths.pki)
    with pytest.raises(NotSetUp, match="gone or damaged"):
        world.tunnel().sync()
    assert not world.paths.pki.exists()


def test_a_sync_leaves_alone_what_was_taken_down(world: World) -> None:
    world.tunnel().setup()
    world.tunnel().down()
    assert world.tunnel().sync() is None
    assert world.engine.made == {}


def test_connect_and_disconnect(world: World) -> None:
    with pytest.raises(NotSetUp):
        world.tunnel().connect()
    assert not world.paths.root.exists()
    world.tunnel().setup()
    assert not world.tunnel().connect()
    assert world.tunnel().disconnect()
    assert not world.tunnel().disconnect()
    assert world.tunnel().connect()


def test_connect_does_not_wait_for_a_server_that_is_not_there(world: World) -> None:
    world.tunnel().setup()
    world.tunnel().disconnect()
    world.engine.stop("macnet-server")
    with pytest.raises(HelperFailed, match="macnet-server does not run") as caught:
        world.tunnel().connect()
    assert "macnet setup" in str(caught.value.hint)
    world.tunnel().down()
    with pytest.raises(NotSetUp, match="macnet-server is missing"):
        world.tunnel().connect()
    assert world.client.used is None


# Steps that fail


def test_routes_that_were_not_taken_are_tried_again(world: World) -> None:
    """What is compared is what is in effect, not what was once written."""
    world.tunnel().setup()
    world.network("new", "10.77.0.0/24")
    world.engine.says["subnets.sh"] = ExecResult(1, "no")
    with pytest.raises(HelperFailed):
        world.tunnel().regenerate()
    with pytest.raises(HelperFailed):
        world.tunnel().regenerate()
    del world.engine.says["subnets.sh"]
    assert world.tunnel().regenerate().verified is not None


def full_disk(world: World) -> None:
    """The engine's disk is full when the relay is made."""

    def refuse(spec: ContainerSpec) -> None:
        if spec.name == "macnet-relay":
            raise EngineError("no space left on device")

    world.engine.refuse = refuse


def test_an_engine_error_at_the_relay_leaves_the_running_server(world: World) -> None:
    world.tunnel().setup()
    world.engine.remove_container(world.engine.as_engine().find_container("macnet-relay").id)  # type: ignore[union-attr]
    full_disk(world)
    with pytest.raises(EngineError, match="no space left"):
        world.tunnel().setup()
    server = world.engine.find_container("macnet-server")
    assert server is not None
    assert server.running


def test_a_refused_relay_takes_only_a_server_of_the_same_run_with_it(world: World) -> None:
    def refuse(spec: ContainerSpec) -> None:
        if spec.name == "macnet-relay":
            raise EngineRefused("host namespaces are not allowed")

    world.engine.refuse = refuse
    with pytest.raises(EngineRefused):
        world.tunnel().setup()
    assert world.engine.made == {}
    world.engine.refuse = lambda _: None
    world.tunnel().setup()
    relay = world.engine.find_container("macnet-relay")
    assert relay is not None
    world.engine.remove_container(relay.id)
    world.engine.refuse = refuse
    with pytest.raises(EngineRefused):
        world.tunnel().setup()
    assert world.engine.find_container("macnet-server") is not None


# Several clients


def test_another_client_ends_the_first_before_it_connects(world: World) -> None:
    world.tunnel().setup()
    first = world.client
    world.switch_client("tunnelblick")
    world.tunnel().setup()
    assert first.log == ["connect", "disconnect"]
    assert world.client.log == ["connect"]
    assert load_state(world.paths.state, world.diary).client == "tunnelblick"
    world.switch_client("openvpn")
    world.tunnel().setup()
    assert [world.client.used is not None, world.others["tunnelblick"].used] == [True, None]


def test_connect_ends_another_client_and_is_recorded(world: World) -> None:
    world.tunnel().setup()
    first = world.client
    world.switch_client("tunnelblick")
    world.tunnel().connect()
    assert (first.used, world.client.used is not None) == (None, True)
    assert load_state(world.paths.state, world.diary).client == "tunnelblick"


def test_a_dry_run_tells_of_a_client_that_would_be_ended(world: World) -> None:
    world.tunnel().setup()
    world.switch_client("none")
    planned = world.tunnel(Settings(client=ClientChoice.NONE)).plan()
    assert planned.disconnect == ("openvpn",)
    assert planned.changes
    assert world.tunnel(Settings(client=ClientChoice.NONE)).setup().changed
    assert not world.tunnel(Settings(client=ClientChoice.NONE)).plan().changes


def test_a_dry_run_raises_what_setup_would(world: World) -> None:
    world.tunnel().setup()
    world.switch_client("tunnelblick")
    world.client.installed = False
    with pytest.raises(ClientMissing):
        world.tunnel().plan()


def test_a_client_of_ones_own_ends_the_one_of_macnet(world: World) -> None:
    world.tunnel().setup()
    first = world.client
    world.switch_client("none")
    world.tunnel(Settings(client=ClientChoice.NONE)).setup()
    assert first.used is None
    # Nothing is left to end.
    world.tunnel(Settings(client=ClientChoice.NONE)).down(purge=True)
    assert first.log == ["connect", "disconnect"]


@pytest.mark.parametrize("purge", [False, True])
def test_down_ends_whichever_client_ran(world: World, purge: bool) -> None:
    world.tunnel().setup()
    first = world.client
    world.switch_client("none")
    done = world.tunnel(Settings(client=ClientChoice.NONE)).down(purge=purge)
    assert done.disconnected
    assert first.used is None


def test_a_record_that_names_no_client_means_openvpn_too(world: World) -> None:
    """As macnet 0.1 wrote it."""
    world.tunnel().setup()
    first = world.client
    state = load_state(world.paths.state, world.diary)
    save_state(world.paths.state, replace(state, client=None))
    world.switch_client("tunnelblick")
    world.tunnel().setup()
    assert first.used is None


# What is asked for


def test_hosts_with_containers_addresses_are_one_sentence(world: World) -> None:
    """Its command keeps the remaps that were asked for before."""
    world.direct |= {"172.82.0.100", "172.17.0.3"}
    remap = ["auto", "172.82.6.0/24=10.201.0.0/24"]
    world.setup_tunnel(remap=remap).setup()
    [warning] = [text for text in world.diary.warnings if "172.82.0.100" in text]
    command = warning.partition("`")[2].partition("`")[0]
    assert command == (
        "macnet setup --remap auto --remap 172.82.6.0/24=10.201.0.0/24 "
        "--remap 172.82.0.0/24=10.192.0.0/24 --remap 172.17.0.0/16=10.193.0.0/16"
    )


def test_a_remap_of_no_network_is_told(world: World) -> None:
    world.setup_tunnel(remap=["172.99.0.0/16=10.99.0.0/16"]).setup()
    [warning] = world.diary.warnings
    assert warning.startswith("--remap 172.99.0.0/16=10.99.0.0/16 changes nothing now")
    # It may be meant for a network that comes later; who asked for it once knows.
    world.diary.warnings.clear()
    world.setup_tunnel().setup()
    assert world.diary.warnings == []


def test_an_error_stands_alone(world: World) -> None:
    """No warning says the same before it."""
    with pytest.raises(BadValue, match="no network has such a name"):
        world.setup_tunnel(networks=["nosuch"]).setup()
    world.extra_routes.append(Route(IPNetwork("172.80.0.0/12"), "utun7"))
    with pytest.raises(SubnetConflict) as caught:
        world.setup_tunnel().setup(strict=True)
    assert caught.value.message.endswith("which overlap another VPN's route 172.80.0.0/12 (utun7)")
    assert "`macnet setup --remap auto`" in str(caught.value.hint)
    assert world.diary.warnings == []


def test_a_filter_that_matches_no_network_is_refused(world: World) -> None:
    world.tunnel().setup()
    before = world.carried()
    with pytest.raises(BadValue, match="no network has such a name") as caught:
        world.setup_tunnel(networks=["nosuch"]).setup()
    assert "app" in str(caught.value.hint)
    assert "--network '*'" in str(caught.value.hint)
    assert world.carried() == before
    with pytest.raises(BadValue):
        world.setup_tunnel(networks=["nosuch"]).plan()
    # A compose project that is down is no reason for a later command to fail.
    world.setup_tunnel(networks=["app"]).setup()
    world.remove_network("app")
    assert world.stored_tunnel().regenerate().routes.removed == (APP,)


def test_a_dry_run_says_what_setup_would(world: World) -> None:
    has_a_way(world)
    found = world.tunnel().plan()
    assert found.already_reachable == world.tunnel().setup().already_reachable is not None
    assert not found.changes
    world.direct.clear()
    world.extra_routes.clear()
    world.tunnel().setup()
    assert not world.tunnel().plan().changes
    world.network("new", "10.77.0.0/24")
    assert world.tunnel().plan().changes
    world.extra_interfaces.append(Interface("en0", (IPNetwork("172.82.0.9/24"),)))
    with pytest.raises(SubnetConflict, match=r"172\.82\.0\.0/24"):
        world.tunnel().plan(strict=True)


def test_networks_are_listed_with_no_tunnel(world: World) -> None:
    found = {item.network.name: item for item in world.tunnel().networks()}
    assert found["app"].routed
    assert found["host"].reason


HOST_RANGE, POD_NET, MORE = (
    IPNetwork(net) for net in ("10.42.0.0/16", "10.42.0.0/24", "10.42.1.0/24")
)


def host_has(world: World, *routes: IPNetwork) -> None:
    """What a running relay tells of the engine's host."""
    rows = json.dumps([{"dst": str(net), "dev": "cni0"} for net in routes])
    world.engine.says |= {"-4": ExecResult(0, rows), "-6": ExecResult(0, "[]")}


def test_setup_asks_its_first_relay_for_the_hosts_routes(world: World) -> None:
    host_has(world, POD_NET)
    done = world.setup_tunnel(also=[str(HOST_RANGE)]).setup()
    assert POD_NET in done.routes.added and APP in done.routes.added
    assert done.new_profile and done.repaired == ("macnet-server", "macnet-relay")
    assert POD_NET in world.carried()
    assert world.diary.warnings == []


def test_a_relay_that_is_started_again_costs_no_route(world: World) -> None:
    """No connection either: the client is not asked to connect again."""
    host_has(world, POD_NET)
    world.setup_tunnel(also=[str(HOST_RANGE)]).setup()
    kicks(world)
    world.engine.stop("macnet-relay")
    del world.engine.log[:]
    done = world.stored_tunnel().sync()
    assert done is not None
    assert done.repaired == ("macnet-relay",)
    assert not done.routes.changed and done.warnings == ()
    assert "files macnet-server" not in world.engine.log
    assert kicks(world) == 0


def test_a_relay_that_is_started_again_is_asked_at_once(world: World) -> None:
    host_has(world, POD_NET)
    world.setup_tunnel(also=[str(HOST_RANGE)]).setup()
    world.engine.stop("macnet-relay")
    host_has(world, MORE)
    done = world.stored_tunnel().sync()
    assert done is not None
    assert (done.routes.added, done.routes.removed) == ((MORE,), (POD_NET,))
    assert done.repaired == ("macnet-relay",)


def test_a_server_that_is_made_anew_gets_the_hosts_routes_in_the_same_look(world: World) -> None:
    host_has(world, POD_NET)
    world.setup_tunnel(also=[str(HOST_RANGE)]).setup()
    for name in ("macnet-server", "macnet-relay"):
        world.engine.stop(name)
    done = world.stored_tunnel().sync()
    assert done is not None and done.repaired == ("macnet-server", "macnet-relay")
    assert POD_NET in world.carried() and POD_NET not in done.routes.removed


def test_a_range_that_is_new_is_not_taken_for_one_without_a_route(world: World) -> None:
    world.tunnel().setup()
    world.engine.stop("macnet-relay")
    host_has(world, POD_NET)
    done = world.setup_tunnel(also=[str(HOST_RANGE)]).setup()
    assert POD_NET in done.routes.added and world.diary.warnings == []
