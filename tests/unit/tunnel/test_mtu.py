"""setup tries one packet that fills the tunnel's MTU, and falls back by itself."""

from __future__ import annotations

import pytest

from macnet.state import load_state
from macnet.values import DEFAULT_TUN_MTU, FALLBACK_TUN_MTU
from tests.unit.tunnel.world import World


def mtu_in_effect(world: World) -> int:
    """What the profile that the client has says."""
    lines = world.paths.profile.read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("tun-mtu ")]
    return int(line.split()[1])


@pytest.mark.parametrize("largest", [DEFAULT_TUN_MTU, None], ids=["passes", "nobody may try"])
def test_the_default_stays_where_such_a_packet_is_not_lost(
    world: World, largest: int | None
) -> None:
    world.largest_packet = largest
    world.setup_tunnel().setup()
    assert mtu_in_effect(world) == DEFAULT_TUN_MTU
    assert world.diary.warnings == []


def test_a_packet_that_is_lost_makes_the_mtu_smaller(world: World) -> None:
    world.largest_packet = DEFAULT_TUN_MTU - 1
    result = world.setup_tunnel().setup()
    assert (result.changed, mtu_in_effect(world)) == (True, FALLBACK_TUN_MTU)
    (warning,) = world.diary.warnings
    assert f"a packet of {DEFAULT_TUN_MTU} bytes does not get through" in warning
    assert "macnet setup --unset tun-mtu" in warning
    assert world.stored_tunnel().settings.tun_mtu == FALLBACK_TUN_MTU

    # It is remembered like an option, so the next setup does not try again.
    again = world.setup_tunnel()
    assert again.resolved.remembered == (f"--tun-mtu {FALLBACK_TUN_MTU}",)
    assert not again.setup().changed
    assert not world.stored_tunnel().regenerate().changed
    assert load_state(world.paths.state, world.diary).options == {"tun_mtu": FALLBACK_TUN_MTU}


def test_an_mtu_that_was_asked_for_is_not_changed(world: World) -> None:
    world.largest_packet = 1500
    world.setup_tunnel(tun_mtu=20000).setup()
    assert mtu_in_effect(world) == 20000
    assert world.diary.warnings == []
