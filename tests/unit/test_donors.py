"""Which containers lend their network, which cannot, and which events can change that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from netaddr import IPNetwork

from macnet.donors import NOT_TOLD, concerns, find
from macnet.engine import EngineEvent
from macnet.models import Donor, Further, ReachKind
from macnet.values import PARSERS, AlsoRequest
from macnet.watch import matters

STARTED = "2026-11-27T10:00:00.123456789Z"
ROUTER = "4fa6e0f0c678" + "0" * 52


def also(*words: str) -> AlsoRequest:
    found = PARSERS["also"](list(words))
    assert isinstance(found, AlsoRequest)
    return found


def row(name: str, identity: str = ROUTER, **labels: str) -> dict[str, Any]:
    return {"Id": identity, "Names": [f"/{name}"], "Labels": labels}


@dataclass
class Asked:
    """An engine that is asked about single containers."""

    mode: str = "bridge"
    running: bool = True
    gone: bool = False
    questions: list[str] = field(default_factory=list)

    def inspect(self, identity: str) -> Mapping[str, Any] | None:
        self.questions.append(identity)
        if self.gone:
            return None
        state = {"Running": self.running, "StartedAt": STARTED}
        return {"State": state, "HostConfig": {"NetworkMode": self.mode}}

    def read_file(self, identity: str, path: str) -> bytes | None:
        raise AssertionError(f"{identity}: {path}")

    def containers(self, *, everything: bool = False) -> Sequence[Mapping[str, Any]]:
        raise AssertionError(f"they are known already: {everything}")


def found(
    request: AlsoRequest, *rows: dict[str, Any], asked: Asked | None = None
) -> tuple[Further, ...]:
    return find(request, [], rows, asked or Asked(), None)


@pytest.mark.parametrize("name", ["router", ROUTER, ROUTER[:4]])
def test_a_container_by_name_or_id(name: str) -> None:
    asked, net, other = Asked(), IPNetwork("10.20.0.0/16"), IPNetwork("fd00:20::/64")
    request = also(f"{net}={name}", f"{other}={name}")
    donor = Donor(ROUTER, "router", STARTED)
    assert found(request, row("other", "7" * 64), row("router"), asked=asked) == (
        Further("10.20.0.0/16", ReachKind.CIDR, (net,), donor),
        Further("fd00:20::/64", ReachKind.CIDR, (other,), donor),
    )
    assert asked.questions == [ROUTER], "once for both"


@pytest.mark.parametrize(
    ("asked", "rows", "reason"),
    [
        (Asked(), [], "no container router runs"),
        # The start of two ids, or too little of one, names nobody.
        (Asked(), [row("a", "router1"), row("b", "router2")], "no container router runs"),
        (Asked(gone=True), [row("router")], "the container router does not run"),
        (Asked(running=False), [row("router")], "the container router does not run"),
        (Asked(mode="none"), [row("router")], "router has no network"),
        (Asked(mode="host"), [row("router")], "router has the engine's own network"),
        (Asked(mode="container:5"), [row("router")], "router has the network of another"),
        (Asked(), [row("router", **{"io.macnet.name": "x"})], "router is macnet's own"),
    ],
)
def test_why_there_is_none(asked: Asked, rows: list[dict[str, Any]], reason: str) -> None:
    [item] = found(also("10.20.0.0/16=router"), *rows, asked=asked)
    assert item.donor is None
    assert item.reason.startswith(reason)
    assert item.subnets == (IPNetwork("10.20.0.0/16"),)


def test_a_range_of_the_host_is_what_it_has_routes_for() -> None:
    routes = [
        IPNetwork(net) for net in ("10.0.0.0/12", "10.244.0.0/24", "10.244.1.0/24", "fd00::/8")
    ]
    request = also("10.1.0.0/16", "10.244.0.0/16", "10.96.0.0/16", "fd00:20::/64")
    told = {item.name: item for item in find(request, [], [], Asked(), routes)}
    assert [*map(str, told["10.1.0.0/16"].subnets)] == ["10.1.0.0/16"]
    assert [*map(str, told["10.244.0.0/16"].subnets)] == ["10.244.0.0/24", "10.244.1.0/24"]
    assert [*map(str, told["fd00:20::/64"].subnets)] == ["fd00:20::/64"]
    assert told["10.96.0.0/16"].reason.startswith("the engine's host has no route for it")
    assert not any(told[name].reason for name in ("10.1.0.0/16", "10.244.0.0/16", "fd00:20::/64"))
    assert {item.reason for item in find(request, [], [], Asked(), None)} == {NOT_TOLD}


def test_a_route_of_dockers_own_bridge_costs_the_others_nothing() -> None:
    """It is routed anyway, and what overlaps it would be left out as a whole."""
    shop = {
        "Id": "1",
        "Name": "shop",
        "Driver": "bridge",
        "IPAM": {"Config": [{"Subnet": "192.168.0.0/20"}]},
    }
    far = {**shop, "Id": "2", "Name": "far", "Driver": "macvlan"}
    routes = [IPNetwork("192.168.0.0/20"), IPNetwork("192.168.122.0/24")]
    [item] = find(also("192.168.0.0/16"), [shop], [], Asked(), routes)
    assert [*map(str, item.subnets)] == ["192.168.122.0/24"]
    [item] = find(also("192.168.0.0/16"), [far], [], Asked(), routes)
    assert [*map(str, item.subnets)] == ["192.168.0.0/20", "192.168.122.0/24"]
    # With nothing over it stays, and what goes first is told.
    [item] = find(also("192.168.0.0/16"), [shop], [], Asked(), routes[:1])
    assert [*map(str, item.subnets)] == ["192.168.0.0/20"]


@pytest.mark.parametrize(
    ("request_", "event", "told"),
    [
        (also("10.20.0.0/16=router"), ("container", "start", "router", ROUTER), True),
        (also("10.20.0.0/16=router"), ("container", "die", "router", ROUTER), True),
        (also(f"10.20.0.0/16={ROUTER[:12]}"), ("container", "die", "router", ROUTER), True),
        (also("10.20.0.0/16=router"), ("container", "die", "router2", "5" * 64), False),
        (also("10.20.0.0/16=router"), ("container", "exec_start: sh", "router", ROUTER), False),
        (also("10.20.0.0/16=router"), ("network", "start", "router", ROUTER), False),
        (also("10.20.0.0/16"), ("container", "start", "router", ROUTER), False),
        (also("kubernetes"), ("container", "start", "anything", ROUTER), True),
        (also("kubernetes=kind"), ("container", "die", "anything", ROUTER), True),
        (also("overlays"), ("container", "start", "anything", ROUTER), True),
        (also(""), ("container", "start", "anything", ROUTER), False),
    ],
)
def test_events(request_: AlsoRequest, event: tuple[str, str, str, str], told: bool) -> None:
    kind, action, name, identity = event
    assert concerns(request_, EngineEvent(kind, action, name, {}, identity)) is told
    ours = EngineEvent(kind, action, name, {"io.macnet.name": "macnet"}, identity)
    assert not concerns(request_, ours)


@pytest.mark.parametrize(
    ("request_", "action", "driver", "told"),
    [
        (also("overlays"), "connect", "overlay", True),
        (also("overlays"), "disconnect", "overlay", True),
        # macnet's own containers are connected to bridges: a look that makes one must cause none.
        (also("overlays"), "connect", "bridge", False),
        (also("overlays"), "remove", "overlay", False),
        (also("kubernetes", "10.20.0.0/16=router"), "connect", "overlay", False),
        (also(""), "connect", "overlay", False),
    ],
)
def test_who_is_on_an_overlay_is_followed(
    request_: AlsoRequest, action: str, driver: str, told: bool
) -> None:
    """With the attributes that engines give such an event."""
    attributes = {"container": ROUTER, "name": "spread", "type": driver}
    event = EngineEvent("network", action, "spread", attributes, "y0mfr3y")
    assert concerns(request_, event) is told
    assert matters(event, "macnet", request_) is told
