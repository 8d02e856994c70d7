"""How the engine is asked: few calls, each container inspected once."""

from __future__ import annotations

from typing import Any

import pytest

from macnet.engine import EngineEvent
from macnet.models import Network
from macnet.names.claims import Json
from macnet.names.source import INSPECT_S, ZoneSource, changes_names, parse_aliases
from macnet.networks import Selected, select_networks
from tests.unit.names.samples import DOMAIN, NETWORKS, addresses, container, network


class World:
    """An engine that counts, and a clock on which each inspection takes a while."""

    def __init__(self) -> None:
        self.rows = [container("a", "app=172.20.0.2"), container("b", "app=172.20.0.3")]
        self.networks: list[Json] = list(NETWORKS)
        self.aliases = {"a": ["cache"], "b": ["db"]}
        self.calls: list[str] = []
        self.now = 0.0
        self.inspection_s = 0.0
        self.source = ZoneSource(
            DOMAIN,
            list_networks=lambda: self.networks,
            list_containers=lambda: self.rows,
            inspect=self.inspect,
            select=self.select,
            clock=lambda: self.now,
        )

    def inspect(self, identity: str) -> Json | None:
        self.now += self.inspection_s
        row = next((row for row in self.rows if row["Id"] == identity), None)
        if row is None:
            return None
        name = row["Names"][0][1:]
        self.calls.append(name)
        networks = {
            key: {"NetworkID": item["NetworkID"], "DNSNames": [name, *self.aliases.get(name, ())]}
            for key, item in row["NetworkSettings"]["Networks"].items()
        }
        return {"NetworkSettings": {"Networks": networks}}

    def select(self, networks: tuple[Network, ...]) -> tuple[Selected, ...]:
        self.calls.append("select")
        return select_networks(networks, include=("*",), exclude=())

    def counted(self) -> list[str]:
        calls, self.calls = self.calls, []
        return calls


def test_each_container_is_inspected_once_for_each_connection() -> None:
    world = World()
    zone = world.source()
    assert addresses(zone, "cache.app") == ["172.20.0.2"]
    assert world.counted() == ["select", "a", "b"]
    assert addresses(world.source(), "db.app") == ["172.20.0.3"]
    assert world.counted() == []
    world.rows[0] = container("a", "app=172.20.0.9")
    assert addresses(world.source(), "cache.app") == ["172.20.0.9"]
    assert world.counted() == ["a"]


def test_a_name_of_before_goes_with_a_rename() -> None:
    """Inspecting tells the container's own name too; one of that name may come after it."""
    world = World()
    renamed = world.rows[0] | {"Names": ["/old"]}
    assert addresses(world.source(), "a.app") == ["172.20.0.2"]
    world.rows[0] = renamed
    assert addresses(world.source(), "a.app") is None
    world.rows.append(container("a", "app=172.20.0.9") | {"Id": "another"})
    zone = world.source()
    assert addresses(zone, "a.app") == ["172.20.0.9"]
    assert addresses(zone, "old.app") == ["172.20.0.2"]


def podman(name: str, at: str) -> dict[str, Any]:
    """The row of a container on Podman: it has no ids of endpoints, and names for networks' ids."""
    row = container(name, at)
    for network_name, item in row["NetworkSettings"]["Networks"].items():
        item |= {"NetworkID": network_name, "EndpointID": ""}
    return row


@pytest.mark.parametrize("at", ["extra=172.21.0.2", "app=172.20.0.9"])
def test_a_container_of_podman_is_inspected_again_where_it_has_moved(at: str) -> None:
    world = World()
    world.rows = [podman("a", "app=172.20.0.2")]
    assert addresses(world.source(), "cache.app") == ["172.20.0.2"]
    world.counted()
    world.source()
    assert world.counted() == []
    world.rows, world.aliases = [podman("a", at)], {"a": ["store"]}
    name, _, address = at.partition("=")
    assert addresses(world.source(), f"store.{name}") == [address]
    assert world.counted() == ["a"]


def test_networks_are_judged_again_when_they_change_or_when_asked() -> None:
    world = World()
    world.source()
    world.counted()
    world.networks.append(network("new", "172.22.0.0/16"))
    world.rows.append(container("n", "new=172.22.0.2"))
    assert addresses(world.source(), "n") == ["172.22.0.2"]
    assert world.counted() == ["select", "n"]
    world.source.forget_selection()
    world.source()
    assert world.counted() == ["select"]


def test_many_new_containers_are_inspected_in_several_looks() -> None:
    world = World()
    world.inspection_s = INSPECT_S
    first = world.source()
    assert not first.complete
    assert addresses(first, "b") == ["172.20.0.3"]
    assert addresses(first, "db.app") is None
    second = world.source()
    assert second.complete
    assert addresses(second, "db.app") == ["172.20.0.3"]
    assert world.counted() == ["select", "a", "b"]


def test_a_container_that_is_gone_meanwhile_has_no_aliases() -> None:
    world = World()
    rows = world.rows
    world.source = ZoneSource(
        DOMAIN,
        list_networks=lambda: NETWORKS,
        list_containers=lambda: rows,
        inspect=lambda _: None,
        select=world.select,
    )
    zone = world.source()
    assert zone.complete
    assert addresses(zone, "a") == ["172.20.0.2"]


def test_aliases_of_old_and_new_engines() -> None:
    def inspected(**endpoint: object) -> Json:
        return {"NetworkSettings": {"Networks": {"app": {"NetworkID": "1", **endpoint}}}}

    assert parse_aliases(inspected(DNSNames=["a", "x"], Aliases=["y"])) == {"1": ("a", "x")}
    assert parse_aliases(inspected(DNSNames=None, Aliases=["y"])) == {"1": ("y",)}
    assert parse_aliases(inspected()) == {"1": ()}
    assert parse_aliases({}) == {}


@pytest.mark.parametrize(
    ("kind", "action", "counts"),
    [
        ("container", "start", True),
        ("container", "die", True),
        ("container", "rename", True),
        ("container", "exec_start: sh", False),
        ("container", "health_status: healthy", False),
        ("network", "connect", True),
        ("network", "disconnect", True),
        ("volume", "create", False),
    ],
)
def test_events_that_change_names(kind: str, action: str, counts: bool) -> None:
    assert changes_names(EngineEvent(kind, action, "x", {})) is counts
