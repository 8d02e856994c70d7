"""What is decided: port, subnets, what is kept, made or replaced, and what is said about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from netaddr import IPAddress, IPNetwork

from macnet.choices import ClientChoice, CompLzo, RoutesChoice
from macnet.errors import PortTaken, SubnetConflict
from macnet.models import Interface, PortOwner, Route
from macnet.pki import create_pki, save_pki
from macnet.progress import Silent
from macnet.remaps import POOLS
from macnet.settings import Settings
from macnet.state import load_state, save_state
from macnet.tunnel import Action, PlanReport
from macnet.tunnel.decide import PortLookup, describe_owner, next_free_port
from macnet.values import RemapRequest
from tests.unit.tunnel.world import World

KEEP, CREATE, REPLACE = Action.KEEP, Action.CREATE, Action.REPLACE


def actions(plan: PlanReport) -> dict[str, Action]:
    names = ("keys", "image", "server", "relay", "profile")
    return {name: getattr(plan, name) for name in names}


def plan(world: World, **settings: object) -> PlanReport:
    return world.tunnel(replace(Settings(), **settings)).plan()  # type: ignore[arg-type]


# What is made


def test_another_engine_than_last_time_is_told_with_what_stays_there(world: World) -> None:
    world.engine.info_ = replace(world.engine.info_, id="ONE")
    world.tunnel().setup()
    assert plan(world).warnings == ()
    world.engine.info_ = replace(world.engine.info_, id="TWO")
    (warning,) = plan(world).warnings
    assert "another engine" in warning and "macnet down" in warning
    one = load_state(world.paths.state, Silent()).token
    world.tunnel().setup()
    assert plan(world).warnings == ()
    # Both engines may run on one kernel, where the relay knows its server by the token.
    assert load_state(world.paths.state, Silent()).token != one
    # And back: the helper that is there has yet another token.
    world.engine.info_ = replace(world.engine.info_, id="ONE")
    assert world.tunnel().setup().changed


def test_a_client_that_is_missing_is_told(world: World) -> None:
    world.client.installed = False
    (warning,) = plan(world).warnings
    assert warning.startswith("openvpn is not installed: setup makes all but the connection")
    assert "`brew install openvpn`" in warning


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


def test_expired_keys_replace_all_but_the_image(world: World) -> None:
    world.tunnel().setup()
    ended = datetime.now(UTC) - timedelta(days=2)
    save_pki(world.paths.pki, create_pki("macnet", now=ended - timedelta(days=10), days=10))
    found = plan(world)
    assert found.keys is REPLACE
    assert (found.server, found.relay, found.profile) == (REPLACE, REPLACE, REPLACE)
    assert found.image is KEEP


def test_a_record_without_its_token_makes_new_containers_with_the_same_keys(world: World) -> None:
    world.tunnel().setup()
    save_state(world.paths.state, replace(load_state(world.paths.state, Silent()), token=None))
    found = plan(world)
    assert (found.keys, found.server, found.relay) == (REPLACE, REPLACE, REPLACE)
    assert (found.profile, found.image) == (KEEP, KEEP)


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


def test_a_port_that_was_asked_for_once_is_given_up_with_its_option(world: World) -> None:
    world.setup_tunnel(port=8080).setup()
    assert world.setup_tunnel().plan().port == 8080
    found = world.setup_tunnel(port=0).plan()
    assert found.port == 13194
    assert found.warnings == ("the tunnel moves from port 8080 to 13194",)
    assert found.changes


def test_a_tunnel_that_moves_says_so(world: World) -> None:
    world.setup_tunnel().setup()
    found = world.setup_tunnel(port=8080).plan()
    assert found.warnings == ("the tunnel moves from port 13194 to 8080",)


def test_so_is_one_in_a_record_from_before_settings_were_stored(world: World) -> None:
    world.setup_tunnel(port=8080).setup()
    state = load_state(world.paths.state, Silent())
    save_state(world.paths.state, replace(state, settings=None))
    assert world.setup_tunnel().plan().port == 8080
    assert world.setup_tunnel(port=0).plan().port == 13194
    save_state(world.paths.state, replace(state, settings=None, options={}))
    assert world.setup_tunnel().plan().port == 8080


def test_the_next_free_port_is_among_the_99_that_follow() -> None:
    def all_but(free: int) -> PortLookup:
        return lambda port: None if port == free else PortOwner(port)

    assert next_free_port(13194, all_but(13195)) == 13195
    assert next_free_port(13194, all_but(13293)) == 13293
    assert next_free_port(13194, all_but(13294)) is None
    # There is none above 65535.
    assert next_free_port(65500, all_but(65535)) == 65535
    assert next_free_port(65500, all_but(65536)) is None


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        (PortOwner(80, 42, "nginx"), "nginx (pid 42)"),
        (PortOwner(80, 42), "a program (pid 42)"),
        (PortOwner(80), "another program"),
    ],
)
def test_whoever_holds_a_port_is_told_as_far_as_known(owner: PortOwner, words: str) -> None:
    assert describe_owner(owner) == words


def test_no_port_is_left(world: World) -> None:
    world.ports.update({port: PortOwner(port) for port in range(13194, 13300)})
    with pytest.raises(PortTaken, match=r"13194 to 13293 .*all in use"):
        plan(world)


# Addresses


def test_the_tunnels_addresses_move_away_from_docker_and_from_this_host(world: World) -> None:
    world.network("clash", "192.168.255.0/24")
    world.extra_interfaces.append(Interface("en0", (IPNetwork("192.168.254.7/24"),)))
    world.network("link", "100.64.0.0/16")
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
    [told] = [text for text in found.warnings if "not routed" in text]
    assert told.startswith("app (172.82.0.0/24)")
    assert "`macnet setup --remap auto`" in told
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
    gateway = IPAddress("192.168.255.5")
    world.extra_routes.append(Route(IPNetwork("172.16.0.0/12"), "utun2", gateway))
    found = plan(world)
    assert IPNetwork("172.17.0.0/16") in found.subnets
    (warning,) = found.warnings
    assert "docker-mac-network" in warning


def test_a_remap_gives_other_addresses(world: World) -> None:
    world.extra_interfaces.append(Interface("en0", (IPNetwork("172.82.0.9/24"),)))
    found = plan(world, remap=RemapRequest(auto=True))
    [subnet] = [s for item in found.networks for s in item.subnets if s.seen is not None]
    assert subnet.cidr == IPNetwork("172.82.0.0/24")
    assert subnet.seen is not None
    assert subnet.seen.prefixlen == 24
    assert subnet.seen in found.subnets
    assert subnet.cidr not in found.subnets
    assert found.warnings == ()


def test_no_way_out_is_advised_that_has_been_tried(world: World) -> None:
    for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"):
        world.extra_routes.append(Route(IPNetwork(net), "utun3"))
    world.network("one", "10.1.0.0/16")
    world.network("two", "10.2.0.0/16")
    found = plan(world, remap=RemapRequest(auto=True))
    # One range of that size is free; the tunnel has a part of the other.
    remapped = [s for item in found.networks for s in item.subnets if s.seen is not None]
    assert len(remapped) == 1
    assert "--remap auto" not in found.warnings[-1]
    assert "docker network create --subnet 198.19.0.0/24 NAME" in found.warnings[-1]


def test_pools_are_routed_whole_less_what_this_host_uses(world: World) -> None:
    world.extra_interfaces.append(Interface("en0", (IPNetwork("192.168.1.7/24"),)))
    found = plan(world, routes=RoutesChoice.POOLS)
    carried = found.profile_routes
    assert any(IPNetwork("172.25.0.0/16") in net for net in carried)
    assert IPNetwork("172.82.0.0/24") in carried
    assert not any(IPNetwork("192.168.1.7/32") in net for net in carried)
    assert not any(found.tunnel_subnet in net for net in carried)
    assert IPNetwork("172.25.0.0/16") not in found.subnets


def test_the_printed_way_out_can_be_run_where_no_range_is_free(world: World) -> None:
    world.extra_interfaces.append(Interface("en0", (IPNetwork("172.82.0.9/24"),)))
    world.extra_routes += [Route(pool, "utun5") for pool in POOLS[4]]
    assert not any("None" in text for text in plan(world).warnings)


def test_a_pushed_route_that_the_client_lacks_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tunnel().setup()
    world.network("new", "10.77.0.0/24")
    world.tunnel().sync()
    had = tuple(r for r in world.routes() if r.destination != IPNetwork("10.77.0.0/24"))
    monkeypatch.setattr(world, "routes", lambda: had)
    world.engine.commands.clear()
    world.tunnel().sync()
    assert any("client-kill" in " ".join(argv) for argv in world.engine.commands)


def test_a_filter_that_leaves_nothing_over_is_a_warning(world: World) -> None:
    found = plan(world, networks=("nosuch*",))
    assert found.subnets == ()
    assert any("--network nosuch* matches none" in text for text in found.warnings)
    assert plan(world, networks=("app",)).warnings == ()


def test_networks_are_chosen_by_name(world: World) -> None:
    found = plan(world, networks=("app", "ex*"), exclude=("extra",))
    assert found.subnets == (IPNetwork("172.82.0.0/24"),)
