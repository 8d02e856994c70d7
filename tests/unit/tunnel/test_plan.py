"""What is decided: port, subnets, what is kept, made or replaced, and what is said about it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from netaddr import IPNetwork

from macnet.config import ClientChoice, CompLzo, Config, RemapWish, RoutesChoice
from macnet.errors import PortTaken, SubnetConflict
from macnet.models import Interface, PortOwner, Route
from macnet.progress import Silent
from macnet.state import load_state, save_state
from macnet.tunnel import Action, Plan
from tests.unit.tunnel.world import World

KEEP, CREATE, REPLACE = Action.KEEP, Action.CREATE, Action.REPLACE


def actions(plan: Plan) -> dict[str, Action]:
    names = ("keys", "image", "server", "relay", "profile")
    return {name: getattr(plan, name) for name in names}


def plan(world: World, **settings: object) -> Plan:
    return world.tunnel(replace(Config(), **settings)).plan()  # type: ignore[arg-type]


# What is made


def test_another_engine_than_last_time_is_told_with_what_stays_there(world: World) -> None:
    world.engine.info_ = replace(world.engine.info_, id="ONE")
    world.tunnel().setup()
    assert plan(world).warnings == ()
    world.engine.info_ = replace(world.engine.info_, id="TWO")
    (warning,) = plan(world).warnings
    assert "another engine" in warning and "macnet down" in warning
    world.tunnel().setup()
    assert plan(world).warnings == ()


def test_at_first_everything_is_made(world: World) -> None:
    found = plan(world)
    assert set(actions(found).values()) == {CREATE}
    assert found.connect
    assert found.changes
    assert found.port == 13194
    assert str(found.tunnel_subnet) == "192.168.255.0/24"
    assert str(found.relay_subnet) == "100.64.0.0/30"
    assert found.server_network == "bridge"
    assert found.warnings == ()
    assert IPNetwork("172.82.0.0/24") in found.routes.added
    assert found.profile_routes == found.subnets
    assert found.pushed == ()


def test_a_plan_changes_nothing(world: World) -> None:
    plan(world)
    assert world.engine.log == []
    assert not world.paths.root.exists()


def test_after_setup_everything_is_kept(world: World) -> None:
    world.tunnel().setup()
    found = plan(world)
    assert set(actions(found).values()) == {KEEP}
    assert not found.changes
    assert not found.routes.changed


def test_a_new_network_is_pushed_and_the_profile_kept(world: World) -> None:
    world.tunnel().setup()
    world.network("new", "10.77.0.0/24")
    found = plan(world)
    assert found.profile is KEEP
    assert found.pushed == (IPNetwork("10.77.0.0/24"),)
    assert found.routes.added == (IPNetwork("10.77.0.0/24"),)


def test_a_network_that_went_needs_a_new_profile(world: World) -> None:
    world.tunnel().setup()
    world.remove_network("app")
    found = plan(world)
    assert found.profile is REPLACE
    assert found.connect
    assert found.routes.removed == (IPNetwork("172.82.0.0/24"),)
    assert actions(found)["server"] is KEEP


@pytest.mark.parametrize(
    "settings", [{"tun_mtu": 1500}, {"comp_lzo": CompLzo.YES}, {"port": 13200}]
)
def test_another_setting_replaces_what_depends_on_it(
    world: World, settings: dict[str, object]
) -> None:
    world.tunnel().setup()
    found = plan(world, **settings)
    assert actions(found) == {
        "keys": KEEP,
        "image": KEEP,
        "server": REPLACE,
        "relay": REPLACE,
        "profile": REPLACE,
    }


def test_new_keys_replace_all_but_the_image(world: World) -> None:
    world.tunnel().setup()
    found = world.tunnel().plan(renew_keys=True)
    assert found.keys is REPLACE
    assert (found.server, found.relay, found.profile) == (REPLACE, REPLACE, REPLACE)
    assert found.image is KEEP


@pytest.mark.parametrize("part", ["server", "relay"])
def test_a_container_that_ended_is_replaced(world: World, part: str) -> None:
    world.tunnel().setup()
    world.engine.stop(f"macnet-{part}")
    found = actions(plan(world))
    assert found.pop(part) is REPLACE
    assert set(found.values()) == {KEEP}


def test_a_client_of_ones_own_is_not_connected(world: World) -> None:
    world.tunnel().setup()
    world.client.used = None
    assert plan(world).connect
    assert not plan(world, client=ClientChoice.NONE).connect


def test_an_engine_without_a_default_bridge_gets_a_network_for_the_server(world: World) -> None:
    world.remove_network("bridge")
    assert plan(world).server_network == "macnet"


# The port


def test_a_taken_port_is_moved_and_its_owner_named(world: World) -> None:
    world.ports[13194] = PortOwner(13194, 42, "socat")
    world.ports[13195] = PortOwner(13195)
    found = plan(world)
    assert found.port == 13196
    assert found.warnings == ("port 13194 is in use by socat (pid 42); the tunnel uses 13196",)


def test_a_port_that_was_asked_for_is_not_moved(world: World) -> None:
    world.ports[14000] = PortOwner(14000)
    with pytest.raises(PortTaken, match=r"14000 .*in use by another program"):
        plan(world, port=14000)


def test_the_port_of_our_own_server_is_free_for_us(world: World) -> None:
    world.tunnel().setup()
    world.ports[13194] = PortOwner(13194, 1, "com.docker.backend")
    found = plan(world, port=13194)
    assert found.port == 13194
    assert found.server is KEEP


def test_the_port_of_the_last_setup_is_taken_again(world: World) -> None:
    world.ports[13194] = PortOwner(13194)
    world.tunnel().setup()
    world.ports.clear()
    assert plan(world).port == 13195


def test_no_port_is_left(world: World) -> None:
    world.ports.update({port: PortOwner(port) for port in range(13194, 13300)})
    with pytest.raises(PortTaken, match=r"13194 to 13293 .*all in use"):
        plan(world)


# Addresses


def test_the_tunnels_addresses_move_away_from_docker_and_from_this_host(world: World) -> None:
    world.network("clash", "192.168.255.0/24")
    world.extra_interfaces.append(Interface("en0", (IPNetwork("192.168.254.7/24"),)))
    world.extra_routes.append(Route(IPNetwork("100.64.0.0/16"), "utun3"))
    found = plan(world)
    assert str(found.tunnel_subnet) == "192.168.253.0/24"
    assert found.relay_subnet not in IPNetwork("100.64.0.0/16")
    assert found.relay_subnet in IPNetwork("100.64.0.0/10")


def test_addresses_that_were_asked_for_are_not_moved(world: World) -> None:
    world.network("clash", "10.9.0.0/16")
    with pytest.raises(SubnetConflict, match=r"10\.9\.8\.0/24 overlaps Docker's network clash"):
        plan(world, tunnel_subnet=IPNetwork("10.9.8.0/24"))
    assert str(plan(world, tunnel_subnet=IPNetwork("10.8.0.0/24")).tunnel_subnet) == "10.8.0.0/24"


def test_our_own_tunnel_is_no_reason_to_move(world: World) -> None:
    world.tunnel().setup()
    assert plan(world).tunnel_subnet == IPNetwork("192.168.255.0/24")
    assert plan(world).subnets == world.tunnel().plan().subnets


def test_our_own_tunnel_is_known_until_it_has_followed_to_another_subnet(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tunnel().setup()
    held, routed, moved = world.interfaces(), plan(world).subnets, IPNetwork("10.8.0.0/24")
    assert plan(world, tunnel_subnet=moved).subnets == routed
    state = load_state(world.paths.state, Silent())
    save_state(world.paths.state, state.move(moved, IPNetwork("100.64.0.0/30")))
    monkeypatch.setattr(world, "interfaces", lambda: held)
    assert plan(world).subnets == routed
    assert plan(world).tunnel_subnet == moved


@pytest.mark.parametrize(
    ("interface", "route"),
    [
        (Interface("en0", (IPNetwork("172.82.0.9/24"),)), None),
        (None, Route(IPNetwork("172.80.0.0/12"), "utun3")),
    ],
)
def test_a_network_that_this_host_uses_is_left_out_and_told(
    world: World, interface: Interface | None, route: Route | None
) -> None:
    world.extra_interfaces += [interface] if interface else []
    world.extra_routes += [route] if route else []
    found = plan(world)
    assert IPNetwork("172.82.0.0/24") not in found.subnets
    assert any("app (172.82.0.0/24) is not routed" in text for text in found.warnings)
    assert "--remap auto" in found.warnings[-1]


@pytest.mark.parametrize(
    "route",
    [
        Route(IPNetwork("0.0.0.0/0"), "en0"),
        Route(IPNetwork("0.0.0.0/1"), "utun3"),
        Route(IPNetwork("128.0.0.0/1"), "utun3"),
        Route(IPNetwork("172.82.0.0/16"), "en0", scoped=True),
    ],
)
def test_routes_beside_which_ours_go(world: World, route: Route) -> None:
    world.extra_routes.append(route)
    found = plan(world)
    assert IPNetwork("172.82.0.0/24") in found.subnets
    assert found.warnings == ()


def test_an_interface_that_is_down_uses_no_addresses(world: World) -> None:
    world.extra_interfaces.append(Interface("en5", (IPNetwork("172.82.0.9/24"),), up=False))
    assert plan(world).warnings == ()


def test_the_classic_tunnel_is_told_of_and_no_obstacle(world: World) -> None:
    world.extra_routes.append(Route(IPNetwork("172.16.0.0/12"), "utun2"))
    found = plan(world)
    assert IPNetwork("172.17.0.0/16") in found.subnets
    (warning,) = found.warnings
    assert "docker-mac-network" in warning


def test_a_remap_gives_other_addresses(world: World) -> None:
    world.extra_interfaces.append(Interface("en0", (IPNetwork("172.82.0.9/24"),)))
    found = plan(world, remap=RemapWish(auto=True))
    [(seen, _)] = found.helper_routes.remaps
    assert seen.prefixlen == 24
    assert seen in found.subnets
    assert IPNetwork("172.82.0.0/24") not in found.subnets
    assert found.helper_routes.remaps == ((seen, IPNetwork("172.82.0.0/24")),)
    assert found.warnings == ()


def test_pools_are_routed_whole_less_what_this_host_uses(world: World) -> None:
    world.extra_interfaces.append(Interface("en0", (IPNetwork("192.168.1.7/24"),)))
    found = plan(world, routes=RoutesChoice.POOLS)
    carried = found.profile_routes
    assert any(IPNetwork("172.25.0.0/16") in net for net in carried)
    assert IPNetwork("172.82.0.0/24") in carried
    assert not any(IPNetwork("192.168.1.7/32") in net for net in carried)
    assert not any(found.tunnel_subnet in net for net in carried)
    assert IPNetwork("172.25.0.0/16") not in found.subnets


def test_networks_are_chosen_by_name(world: World) -> None:
    found = plan(world, networks=("app", "ex*"), exclude=("extra",))
    assert found.subnets == (IPNetwork("172.82.0.0/24"),)
