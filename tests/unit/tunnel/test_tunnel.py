"""A tunnel is made, kept, changed and taken away; each step is named where it fails."""

from __future__ import annotations

import pytest
from netaddr import IPNetwork

from macnet.config import ClientChoice, Config
from macnet.engine import ContainerSpec, ExecResult
from macnet.errors import (
    ClientFailed,
    ClientMissing,
    HelperFailed,
    ImageBuildFailed,
    MacnetError,
    NotSetUp,
    PortTaken,
    SubnetConflict,
    TunnelTimeout,
)
from macnet.models import Interface
from macnet.state import load_state
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


def test_options_are_remembered(world: World) -> None:
    world.options = {"port": 13199, "networks": ["app"]}
    world.tunnel(Config(port=13199, networks=("app",))).setup()
    state = load_state(world.paths.state, world.diary)
    assert state.options == world.options
    assert state.port == 13199
    assert state.token is not None


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


def test_without_a_client_nothing_is_made(world: World) -> None:
    world.client.installed = False
    with pytest.raises(ClientMissing):
        world.tunnel().setup()
    assert world.engine.made == {}


def test_a_client_of_ones_own_gets_a_profile_and_no_traffic_is_awaited(world: World) -> None:
    world.client.name = "none"
    world.client.install(world.paths.profile, world.diary)
    done = world.tunnel(Config(client=ClientChoice.NONE)).setup()
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


def test_a_port_that_was_asked_for_is_not_replaced_by_another(world: World) -> None:
    def taken(_: ContainerSpec) -> None:
        raise PortTaken("port is already allocated")

    world.engine.start = taken
    with pytest.raises(PortTaken):
        world.tunnel(Config(port=13194)).setup()


def test_no_tunnel_where_containers_answer_without_one(world: World) -> None:
    world.direct.add("172.82.0.100")
    done = world.tunnel().setup()
    assert done.already_reachable == "172.82.0.100 answers without a tunnel"
    assert not done.changed
    assert world.engine.made == {}
    assert world.tunnel().setup(force=True).changed


def test_no_tunnel_where_the_bridges_are_here(world: World) -> None:
    world.extra_interfaces.append(Interface("docker0", (IPNetwork("172.17.0.1/16"),)))
    done = world.tunnel().setup()
    assert "bridges are on this host (docker0)" in str(done.already_reachable)


def test_strict_refuses_a_collision_before_anything_is_made(world: World) -> None:
    world.extra_interfaces.append(Interface("en0", (IPNetwork("172.82.0.9/24"),)))
    with pytest.raises(SubnetConflict, match=r"172\.82\.0\.0/24"):
        world.tunnel().setup(strict=True)
    assert world.engine.made == {}
    assert world.tunnel().setup().changed


# Afterwards


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


def test_following_touches_neither_client_nor_profile(world: World) -> None:
    assert not world.tunnel().follow().set_up
    world.tunnel().setup()
    before = world.client.used
    world.client.log.clear()
    world.network("new", "10.77.0.0/24")
    world.remove_network("app")
    found = world.tunnel().follow()
    assert found.routes.added == (IPNetwork("10.77.0.0/24"),)
    assert found.routes.removed == (APP,)
    assert found.stale == (APP,)
    assert world.client.used == before
    assert world.client.log == []
    world.engine.stop("macnet-relay")
    assert world.tunnel().follow().repaired == ("macnet-relay",)


def test_connect_and_disconnect(world: World) -> None:
    with pytest.raises(NotSetUp):
        world.tunnel().connect()
    world.tunnel().setup()
    assert not world.tunnel().connect()
    assert world.tunnel().disconnect()
    assert not world.tunnel().disconnect()
    assert world.tunnel().connect()


def test_networks_are_listed_with_no_tunnel(world: World) -> None:
    found = {item.network.name: item for item in world.tunnel().networks()}
    assert found["app"].routed
    assert found["host"].reason
