"""A tunnel is taken away: all that is its own, and nothing else."""

from __future__ import annotations

import pytest

from macnet.errors import EngineUnreachable, NotSetUp
from tests.unit.tunnel.world import World


def test_down_takes_away_the_helper_and_keeps_the_keys(world: World) -> None:
    world.tunnel().setup()
    done = world.tunnel().down()
    assert done.disconnected
    assert set(done.containers) == {"macnet-server", "macnet-relay"}
    assert done.images == 0
    assert world.paths.profile.exists()
    again = world.tunnel().down()
    assert (again.disconnected, again.containers) == (False, ())
    assert world.tunnel().setup().changed


def test_purge_leaves_nothing(world: World) -> None:
    world.tunnel().setup()
    done = world.tunnel().down(purge=True)
    assert done.images == 2  # with the base image, which the build fetched
    assert done.files
    assert world.engine.images == {}
    assert not world.paths.root.exists() or list(world.paths.root.iterdir()) == []


def test_down_works_without_any_record(world: World) -> None:
    world.tunnel().setup()
    for path in sorted(world.paths.root.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert len(world.tunnel().down().containers) == 2


def test_down_disconnects_even_if_the_engine_is_away(world: World) -> None:
    world.tunnel().setup()
    world.engine_error = EngineUnreachable("away")
    with pytest.raises(EngineUnreachable):
        world.tunnel().down()
    assert world.client.used is None


def test_logs(world: World) -> None:
    with pytest.raises(NotSetUp, match="no container macnet-relay"):
        list(world.tunnel().logs("relay", tail=5, follow=False))
    with pytest.raises(NotSetUp, match="no log yet"):
        list(world.tunnel().logs("client", tail=5, follow=False))
    world.tunnel().setup()
    world.paths.client_log.write_text("one\ntwo\nthree\n")
    assert list(world.tunnel().logs("client", tail=2, follow=False)) == ["two", "three"]
