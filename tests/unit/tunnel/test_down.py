"""A tunnel is taken away: all that is its own, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from macnet import files
from macnet.errors import Busy, ClientBusy, EngineUnreachable, NotSetUp
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


@pytest.mark.parametrize("purge", [False, True])
def test_down_removes_the_helper_even_if_the_client_does_not_end(world: World, purge: bool) -> None:
    world.tunnel().setup()
    world.client.error = ClientBusy("Tunnelblick does not answer", hint="answer its dialog")
    with pytest.raises(ClientBusy):
        world.tunnel().down(purge=purge)
    assert world.engine.made == {}
    # What still runs needs its files to be ended later.
    assert world.paths.profile.exists()
    world.client.error = None
    assert world.tunnel().down(purge=purge).disconnected
    assert world.paths.profile.exists() is not purge


def test_disconnect_waits_for_a_connect_that_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("macnet.tunnel.tunnel._LOCK_WAIT_S", 0.0)
    world.tunnel().setup()
    with files.lock(world.paths.lock), pytest.raises(Busy):
        world.tunnel().disconnect()
    assert world.client.used is not None
    assert world.tunnel().disconnect()


def test_commands_without_a_tunnel_make_no_folder(world: World) -> None:
    done = world.tunnel().down(purge=True)
    assert (done.containers, done.files) == ((), ())
    world.tunnel().down()
    assert not world.tunnel().disconnect()
    with pytest.raises(NotSetUp):
        world.tunnel().regenerate()
    assert not world.paths.root.exists()


def test_the_clients_log_is_followed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FOLLOW_S", 0.0)
    log = world.paths.client_log
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("one\ntwo\nthr")
    lines = world.tunnel().logs("client", tail=1, follow=True)
    assert next(lines) == "two"
    with log.open("a") as file:
        file.write("ee\nfour\n")
    assert [next(lines), next(lines)] == ["three", "four"]
    log.write_text("new\n")
    assert next(lines) == "new"


def test_logs(world: World) -> None:
    with pytest.raises(NotSetUp, match="no container macnet-relay"):
        list(world.tunnel().logs("relay", tail=5, follow=False))
    with pytest.raises(NotSetUp, match="no log yet"):
        list(world.tunnel().logs("client", tail=5, follow=False))
    world.tunnel().setup()
    assert list(world.tunnel().logs("relay", tail=5, follow=False)) == ["macnet-relay said this"]
    world.paths.client_log.write_text("one\ntwo\nthree\n")
    assert list(world.tunnel().logs("client", tail=2, follow=False)) == ["two", "three"]


def test_lines_of_a_container_have_this_machines_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tunnel().setup()
    said = ["2026-03-01T12:00:01.123456789Z it works", "no time at all"]
    monkeypatch.setattr(world.engine, "logs", lambda *_, **__: iter(said))
    local = datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC).astimezone()
    assert list(world.tunnel().logs("relay", tail=5, follow=False)) == [
        f"{local:%Y-%m-%d %H:%M:%S} it works",
        "no time at all",
    ]
