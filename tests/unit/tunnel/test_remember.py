"""Setup stores its settings, which every other command reads, and keeps its options."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import IPNetwork

from macnet.engine import ContainerSpec, ExecResult
from macnet.errors import (
    Busy,
    EngineRefused,
    HelperFailed,
    ImageBuildFailed,
    PortTaken,
    SubnetConflict,
)
from macnet.models import Interface
from macnet.state import TunnelState, load_state, save_state
from macnet.values import DEFAULT_TUN_MTU
from tests.unit.tunnel.world import World

APP, EXTRA = IPNetwork("172.82.0.0/24"), IPNetwork("172.18.0.0/16")
HOME = Interface("en0", (IPNetwork("172.82.0.9/24"),))
FIRST = IPNetwork("10.192.0.0/24")
RECORDS = Path(__file__).parents[2] / "data/state"


def state(world: World) -> TunnelState:
    return load_state(world.paths.state, world.diary)


# Settings


def test_options_are_remembered(world: World) -> None:
    world.setup_tunnel(port=13199, networks=["app"]).setup()
    assert state(world).options == {"port": 13199, "networks": ["app"]}
    assert state(world).port == 13199
    again = world.setup_tunnel(exclude=["x"])
    assert again.resolved.remembered == ("--port 13199", "--network app")
    done = again.setup()
    assert done.remembered == ("--port 13199", "--network app")
    assert state(world).options["exclude"] == ["x"]


def test_a_variable_at_setup_holds_for_later_commands(world: World) -> None:
    """Commands in other shells, and watch, do not have it."""
    world.environ = {"MACNET_EXCLUDE": "app", "MACNET_TUN_MTU": "1500"}
    world.setup_tunnel().setup()
    assert APP not in world.carried()
    world.environ = {}
    tunnel = world.stored_tunnel()
    assert tunnel.settings.tun_mtu == 1500
    assert tunnel.resolved.sources["tun_mtu"] == "MACNET_TUN_MTU"
    assert not tunnel.regenerate().changed
    done = world.stored_tunnel().sync()
    assert done is not None
    assert not done.changed
    assert APP not in world.carried()
    # Not for the next setup, which looks at the environment again.
    world.setup_tunnel().setup()
    assert APP in world.carried()


def test_the_file_counts_from_the_next_setup_on(world: World) -> None:
    world.setup_tunnel().setup()
    world.config_file.write_text('exclude = ["app"]\n')
    assert world.stored_tunnel().settings.exclude == ()
    assert not world.stored_tunnel().regenerate().changed
    world.setup_tunnel().setup()
    assert world.stored_tunnel().settings.exclude == ("app",)


def test_settings_that_fail_are_not_kept(world: World) -> None:
    world.setup_tunnel(exclude=["x"]).setup()
    before = world.paths.state.read_bytes()

    def refuse(spec: ContainerSpec) -> None:
        raise EngineRefused(f"no {spec.name}")

    world.engine.refuse = refuse
    with pytest.raises(EngineRefused):
        world.setup_tunnel(tun_mtu=1500).setup()
    assert json.loads(before)["options"] == state(world).options == {"exclude": ["x"]}
    assert world.stored_tunnel().settings.tun_mtu == DEFAULT_TUN_MTU


def test_a_port_that_fails_is_not_kept(world: World) -> None:
    """Neither the next look of watch nor the next setup may ask for it again."""
    world.setup_tunnel().setup()

    def refuse(spec: ContainerSpec) -> None:
        if spec.publish.get(1194) == ("127.0.0.1", 80):
            raise PortTaken("port is already allocated")

    world.engine.start = refuse
    with pytest.raises(PortTaken):
        world.setup_tunnel(port=80).setup()
    assert (state(world).port, state(world).options) == (13194, {})
    done = world.stored_tunnel().sync()
    assert done is not None
    assert (done.port, done.repaired) == (13194, ("macnet-server",))
    with pytest.raises(PortTaken):
        world.setup_tunnel(port=80).setup()
    world.diary.warnings.clear()
    assert world.setup_tunnel().setup().port == 13194
    assert world.diary.warnings == []


def test_nor_is_that_of_a_setup_that_ends_before_it_is_tried(world: World) -> None:
    world.setup_tunnel().setup()
    world.engine.images.clear()
    world.engine.build_error = ImageBuildFailed("no registry")
    with pytest.raises(ImageBuildFailed):
        world.setup_tunnel(port=80).setup()
    assert state(world).port == 13194


def test_nor_is_that_of_a_first_setup(world: World) -> None:
    """Its server may have been made, and what fails comes later."""
    world.engine.says["subnets.sh"] = ExecResult(1, "no such table")
    with pytest.raises(HelperFailed):
        world.setup_tunnel(port=80).setup()
    assert state(world).port is None
    del world.engine.says["subnets.sh"]
    assert world.setup_tunnel().setup().port == 13194


def test_where_the_record_is_lost_the_port_before_is_that_of_the_server(world: World) -> None:
    world.setup_tunnel(port=13200).setup()
    world.stored_tunnel().disconnect()
    world.paths.state.unlink()

    def refuse(_: ContainerSpec) -> None:
        raise PortTaken("port is already allocated")

    world.engine.start = refuse
    with pytest.raises(PortTaken):
        world.setup_tunnel(port=80).setup()
    assert state(world).port == 13200


def test_settings_that_the_server_does_not_take_are_not_kept(world: World) -> None:
    world.setup_tunnel(exclude=["x"]).setup()
    world.engine.says["subnets.sh"] = ExecResult(1, "no NETMAP")
    with pytest.raises(HelperFailed):
        world.setup_tunnel(remap=["172.82.0.0/24=10.201.0.0/24"]).setup()
    assert state(world).options == {"exclude": ["x"]}
    del world.engine.says["subnets.sh"]
    assert world.setup_tunnel().setup().verified is not None


def test_a_command_that_has_read_older_settings_does_not_bring_them_back(world: World) -> None:
    world.setup_tunnel().setup()
    late, same = world.stored_tunnel(), world.setup_tunnel(exclude=["x"])
    world.setup_tunnel(exclude=["x"]).setup()
    with pytest.raises(Busy, match="another setup has just changed the settings"):
        late.regenerate()
    with pytest.raises(Busy):
        late.sync()
    same.setup()
    world.stored_tunnel().regenerate()
    assert state(world).options == {"exclude": ["x"]}


def test_the_record_of_an_older_macnet_goes_on(world: World) -> None:
    """Its options count, and the first command that changes the tunnel stores the settings."""
    world.paths.root.mkdir(parents=True)
    shutil.copy(RECORDS / "tunnel-0.1.0.json", world.paths.state)
    tunnel = world.stored_tunnel()
    assert (tunnel.settings.exclude, tunnel.settings.tun_mtu) == (("admin",), 1500)
    assert tunnel.resolved.sources["tun_mtu"] == "last setup"
    assert world.setup_tunnel().setup().port == 13195
    assert str(state(world).token).startswith("0123456789abcdef")
    assert state(world).settings is not None
    assert world.stored_tunnel().settings.tun_mtu == 1500


def test_a_vpn_that_comes_later_does_not_end_a_tunnel_that_was_asked_for(world: World) -> None:
    subnet = IPNetwork("10.99.0.0/24")
    world.setup_tunnel(tunnel_subnet=str(subnet)).setup()
    world.extra_interfaces.append(Interface("utun4", (IPNetwork("10.99.3.7/16"),)))
    world.network("new", "10.77.0.0/24")
    done = world.stored_tunnel().sync()
    assert done is not None and done.routes.added == (IPNetwork("10.77.0.0/24"),)
    world.stored_tunnel().regenerate()
    assert world.setup_tunnel().setup().tunnel_subnet == subnet


# Remaps


@pytest.fixture
def home(world: World) -> World:
    """The network `app` collides with the network of en0."""
    world.extra_interfaces.append(HOME)
    return world


def test_what_auto_chose_is_kept_and_held_to(home: World) -> None:
    home.setup_tunnel(remap=["auto"]).setup()
    assert state(home).remaps == ((APP, FIRST),)
    # Also when the collision is over.
    home.extra_interfaces.clear()
    done = home.setup_tunnel().setup()
    assert FIRST in done.routes.kept
    assert not home.setup_tunnel().setup().changed
    assert not home.config_file.exists()


def test_what_an_older_macnet_wrote_into_the_file_is_taken_over_once(home: World) -> None:
    shutil.copy(RECORDS / "config-0.1.0.toml", home.config_file)
    home.setup_tunnel().setup()
    chosen = IPNetwork("10.201.5.0/24")
    assert state(home).remaps == ((APP, chosen),)
    # From now on the record counts, and the file stays as it is.
    before = home.config_file.read_bytes()
    home.config_file.write_text(home.config_file.read_text().replace("10.201.5", "10.202.5"))
    assert chosen in home.setup_tunnel().setup().routes.kept
    home.config_file.write_bytes(before)
    home.stored_tunnel().down(purge=True)
    assert home.config_file.read_bytes() == before


def test_a_remap_of_the_file_holds_for_the_tunnel(home: World) -> None:
    home.config_file.write_text(f'remap = ["{APP}=10.201.5.0/24"]\n')
    assert IPNetwork("10.201.5.0/24") in home.setup_tunnel().setup().routes.added
    # An option takes it back.
    home.setup_tunnel(remap=[""]).setup()
    assert home.carried() and APP not in home.carried()
    assert IPNetwork("10.201.5.0/24") not in home.carried()
    assert not home.setup_tunnel().setup().changed


def test_a_range_that_is_taken_meanwhile_is_replaced(home: World) -> None:
    home.setup_tunnel(remap=["auto"]).setup()
    home.extra_interfaces.append(Interface("utun9", (IPNetwork("10.192.0.7/16"),)))
    home.stored_tunnel().regenerate()
    assert state(home).remaps == ((APP, IPNetwork("10.193.0.0/24")),)


def test_a_network_that_comes_back_has_its_range_again(home: World) -> None:
    home.network("shop", "172.82.0.128/25")  # as app, within the home network
    home.setup_tunnel(remap=["auto"]).setup()
    chosen = state(home).remaps or ()
    assert len(chosen) == 2
    home.remove_network("app")
    home.network("other", "172.82.0.64/26")
    home.stored_tunnel().regenerate()
    now = state(home).remaps or ()
    assert now[:2] == chosen
    assert len({seen for _, seen in now}) == 3


def test_watch_keeps_what_it_chose(home: World) -> None:
    home.extra_interfaces.append(Interface("utun9", (IPNetwork("10.77.0.9/24"),)))
    home.setup_tunnel(remap=["auto"]).setup()
    home.network("new", "10.77.0.0/24")
    home.stored_tunnel().sync()
    other = (IPNetwork("10.77.0.0/24"), IPNetwork("10.192.1.0/24"))
    assert state(home).remaps == ((APP, FIRST), other)


def test_pairs_are_kept_and_end(home: World) -> None:
    home.setup_tunnel(remap=[f"{APP}=10.201.5.0/24"]).setup()
    assert state(home).options == {"remap": [f"{APP}=10.201.5.0/24"]}
    assert state(home).remaps == ()
    assert not home.setup_tunnel().setup().changed
    home.setup_tunnel(remap=["auto"]).setup()
    assert state(home).remaps == ((APP, FIRST),)
    home.setup_tunnel(remap=[f"{EXTRA}=10.202.0.0/16"]).setup()
    assert state(home).remaps == ()


def test_a_remap_that_cannot_be_is_not_kept(home: World) -> None:
    home.setup_tunnel(remap=["auto"]).setup()
    before = home.paths.state.read_bytes()
    with pytest.raises(SubnetConflict):
        home.setup_tunnel(remap=[f"{EXTRA}=172.17.0.0/16"]).setup()
    assert home.paths.state.read_bytes() == before


def test_a_network_that_comes_later_does_not_end_a_tunnel_with_a_remap(world: World) -> None:
    """It lies in the range that was asked for: it alone is left out, and told."""
    asked, late = f"{APP}=10.201.0.0/24", IPNetwork("10.201.0.64/26")
    world.setup_tunnel(remap=[asked]).setup()
    world.network("late", str(late))
    world.network("new", "10.77.0.0/24")
    done = world.stored_tunnel().sync()
    assert done is not None
    assert done.routes.added == (IPNetwork("10.77.0.0/24"),)
    assert IPNetwork("10.201.0.0/24") in world.carried()
    assert late not in world.carried()
    for again in (world.stored_tunnel().regenerate(), world.setup_tunnel().setup()):
        [told] = again.warnings
        assert told.startswith(f"late ({late}) is not routed: it overlaps the remap of {APP};")
    assert any(item.reason == f"{late} overlaps the remap of {APP}" for item in again.networks)
    # As the first of all it is refused: nothing has been made that it could end.
    with pytest.raises(SubnetConflict, match="overlaps Docker's network late"):
        world.setup_tunnel(remap=[f"{EXTRA}=10.201.0.0/16"]).setup()


def test_a_pair_in_the_record_of_an_older_macnet_stops_nothing_either(world: World) -> None:
    world.setup_tunnel(remap=[f"{APP}=10.201.0.0/24"]).setup()
    save_state(world.paths.state, replace(state(world), settings=None))
    world.network("late", "10.201.0.64/26")
    assert world.stored_tunnel().sync() is not None
