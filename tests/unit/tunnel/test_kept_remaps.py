"""Remaps are kept in config.toml: what was asked for, and what "auto" chose."""

from __future__ import annotations

from pathlib import Path

import pytest
from netaddr import IPNetwork

from macnet.config_file import read_config_file
from macnet.engine import ContainerSpec
from macnet.errors import EngineRefused, StateError, SubnetConflict
from macnet.models import Interface
from tests.unit.tunnel.world import World

APP, EXTRA = IPNetwork("172.82.0.0/24"), IPNetwork("172.18.0.0/16")
HOME = Interface("en0", (IPNetwork("172.82.0.9/24"),))
FIRST = "10.192.0.0/24"


@pytest.fixture
def home(world: World) -> World:
    """The network `app` collides with the network of en0."""
    world.extra_interfaces.append(HOME)
    return world


def kept(world: World) -> dict[str, object]:
    return dict(read_config_file(world.config_file).table("macnet"))


def test_what_auto_chose_is_kept_and_held_to(home: World) -> None:
    home.remapping(["auto"]).setup()
    assert kept(home) == {"remap": ["auto"], "remap_auto": [f"{APP}={FIRST}"]}
    before = home.config_file.read_bytes()
    # Also after the record was lost, and when the collision is over.
    home.tunnel().disconnect()
    home.paths.state.unlink()
    home.extra_interfaces.clear()
    done = home.remapping().setup()
    assert IPNetwork(FIRST) in done.routes.kept
    assert not home.remapping().setup().changed
    assert home.remapping(["auto"]).setup().routes.changed is False
    assert home.config_file.read_bytes() == before


def test_the_users_pair_is_taken(home: World) -> None:
    """The file may be changed by hand."""
    home.remapping(["auto"]).setup()
    text = home.config_file.read_text()
    home.config_file.write_text(text.replace(FIRST, "10.201.5.0/24"))
    done = home.remapping().regenerate()
    assert done.routes.added == (IPNetwork("10.201.5.0/24"),)
    assert done.routes.removed == (IPNetwork(FIRST),)


def test_a_range_that_is_taken_meanwhile_is_replaced(home: World) -> None:
    home.remapping(["auto"]).setup()
    home.extra_interfaces.append(Interface("utun9", (IPNetwork("10.192.0.7/16"),)))
    home.remapping().regenerate()
    assert kept(home)["remap_auto"] == [f"{APP}=10.193.0.0/24"]


def test_a_network_that_comes_back_has_its_range_again(home: World) -> None:
    home.network("shop", "172.82.0.128/25")  # as app, within the home network
    home.remapping(["auto"]).setup()
    choices = kept(home)["remap_auto"]
    assert isinstance(choices, list)
    assert len(choices) == 2
    home.remove_network("app")
    home.network("other", "172.82.0.64/26")
    home.remapping().regenerate()
    now = kept(home)["remap_auto"]
    assert isinstance(now, list)
    assert now[:2] == choices
    assert len({pair.partition("=")[2] for pair in now}) == 3


def test_watch_keeps_what_it_chose(home: World) -> None:
    home.extra_interfaces.append(Interface("utun9", (IPNetwork("10.77.0.9/24"),)))
    home.remapping(["auto"]).setup()
    home.network("new", "10.77.0.0/24")
    home.remapping().follow()
    assert kept(home)["remap_auto"] == [f"{APP}={FIRST}", "10.77.0.0/24=10.192.1.0/24"]


def test_pairs_are_kept_and_end(home: World) -> None:
    home.remapping([f"{APP}=10.201.5.0/24"]).setup()
    assert kept(home) == {"remap": [f"{APP}=10.201.5.0/24"]}
    assert not home.remapping().setup().changed
    home.remapping(["auto"]).setup()
    assert kept(home) == {"remap": ["auto"], "remap_auto": [f"{APP}={FIRST}"]}
    home.remapping([f"{EXTRA}=10.202.0.0/16"]).setup()
    assert kept(home) == {"remap": [f"{EXTRA}=10.202.0.0/16"]}


def test_what_fails_is_not_kept(home: World) -> None:
    mine = "# mine\nport = 13199\n"
    home.config_file.write_text(mine)

    def refuse(spec: ContainerSpec) -> None:
        raise EngineRefused(f"no {spec.name}")

    home.engine.refuse = refuse
    with pytest.raises(EngineRefused):
        home.remapping(["auto"]).setup()
    assert home.config_file.read_text() == mine
    with pytest.raises(SubnetConflict):
        home.remapping([f"{EXTRA}=172.17.0.0/16"]).setup()
    assert home.config_file.read_text() == mine


def test_a_file_that_cannot_be_written_stops_it_before_the_server(
    home: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, data: bytes) -> None:
        raise StateError(f"cannot write {path}: Permission denied")

    monkeypatch.setattr("macnet.config_file.replace_file", denied)
    with pytest.raises(StateError, match="starting the server: cannot write"):
        home.remapping(["auto"]).setup()
    assert home.engine.made == {}
    # With nothing to keep there is nothing to write.
    home.remapping().setup()


def test_purge_takes_them_out(home: World) -> None:
    home.config_file.write_text("# mine\nport = 13199\n")
    home.remapping(["auto"]).setup()
    home.remapping().down()
    assert kept(home)
    home.remapping().down(purge=True)
    assert home.config_file.read_text() == "# mine\nport = 13199\n"
