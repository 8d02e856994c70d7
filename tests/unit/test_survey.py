"""What answers: the batches, the wait at setup's end, and what proves that no tunnel is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest
from netaddr import IPAddress, IPNetwork

from macnet import probe, survey
from macnet.errors import TunnelTimeout
from macnet.models import (
    Endpoint,
    Further,
    Interface,
    Network,
    Port,
    ReachKind,
    Route,
    Subnet,
)
from macnet.networks import Selected
from macnet.probe import PingResult, TcpOutcome, TcpResult
from macnet.runner import SystemRunner
from macnet.survey import Answer, Target

DEFAULT = Route(IPNetwork("0.0.0.0/0"), "en0", IPAddress("192.168.1.1"))
EN0 = Interface("en0", (IPNetwork("192.168.1.20/24"),))


@dataclass
class Wire:
    """Answers pings of ``alive`` and connects to ``doors``; ``later`` wake up one per round."""

    alive: set[str] = field(default_factory=set)
    doors: set[tuple[str, int]] = field(default_factory=set)
    later: list[str] = field(default_factory=list)
    pinged: list[list[str]] = field(default_factory=list)

    def ping_all(
        self, addresses: Sequence[IPAddress], *, timeout_s: float
    ) -> tuple[PingResult, ...]:
        self.pinged.append([str(address) for address in addresses])
        found = tuple(PingResult(a, str(a) in self.alive) for a in addresses)
        if self.later:
            self.alive.add(self.later.pop(0))
        return found

    def connect_all(
        self, targets: Sequence[tuple[IPAddress, int]], *, timeout_s: float
    ) -> tuple[TcpResult, ...]:
        return tuple(
            TcpResult(a, port, TcpOutcome.OPEN, 1.0)
            if (str(a), port) in self.doors
            else TcpResult(a, port, TcpOutcome.TIMEOUT)
            for a, port in targets
        )


def selected(
    name: str, cidr: str, *addresses: str, gateway: str | None = None, taken: bool = False
) -> Selected:
    """A bridge network with a container for each address; ``taken`` is one that is left out."""
    net = IPNetwork(cidr)
    subnet = Subnet(net, IPAddress(gateway) if gateway else IPAddress(net.first + 1))
    endpoints = tuple(
        Endpoint(f"c{n}", f"id{n}", name, (IPAddress(a),)) for n, a in enumerate(addresses)
    )
    network = Network(f"{name:0<64}", name, "bridge", "local", False, (subnet,), endpoints)
    if taken:
        return Selected(network, (), "in use", ((subnet, "the network of bridge100"),))
    return Selected(network, (subnet,))


def addresses(*texts: str) -> tuple[IPAddress, ...]:
    return tuple(map(IPAddress, texts))


class TestAsk:
    """One batch of pings, one of connects."""

    def test_what_cannot_be_tried_is_not(self) -> None:
        wire = Wire(alive={"10.0.0.2"}, doors={("10.0.0.2", 80)})
        good = Target("a", address=IPAddress("10.0.0.2"), ports=(Port(80), Port(53, "udp")))
        barred = Target("a", address=IPAddress("10.0.0.3"), blocked="reach.routes")
        gap = Target("a", address=IPAddress("10.0.0.4"), why_not="not routed")
        unknown = Target("a")
        found = survey.ask((good, barred, gap, unknown), wire, timeout_s=1)
        assert [answer.target for answer in found] == [good, barred, gap, unknown]
        assert [answer.reached for answer in found] == [True, False, False, False]
        assert [result.port for result in found[0].tcp] == [80]
        assert found[1:] == tuple(map(Answer, (barred, gap, unknown)))
        assert wire.pinged == [["10.0.0.2"]]

    def test_a_refusal_is_an_answer(self) -> None:
        target = Target("a", address=IPAddress("10.0.0.2"), ports=(Port(80),))
        refused = TcpResult(IPAddress("10.0.0.2"), 80, TcpOutcome.REFUSED, 0.5)
        assert Answer(target, PingResult(IPAddress("10.0.0.2"), False), (refused,)).reached

    def test_ports_that_were_asked_for_win(self) -> None:
        one = Target("a", address=IPAddress("10.0.0.2"), ports=(Port(80), Port(443)))
        asked = Target("a", address=IPAddress("10.0.0.2"), ports=(Port(81),), asked=True)
        for order in ((one, asked), (asked, one), (asked, asked, one)):
            (merged,) = survey.merge(order)
            assert (merged.tcp_ports, merged.asked) == ((81,), True)

    def test_landmarks_are_the_known_bridges_under_their_aliases(self) -> None:
        subnets = (
            Subnet(IPNetwork("172.18.0.0/16"), IPAddress("172.18.0.1")),
            Subnet(IPNetwork("172.19.0.0/16"), IPAddress("172.19.0.1"), IPNetwork("10.9.0.0/16")),
            Subnet(IPNetwork("172.20.0.0/16")),
            Subnet(IPNetwork("fd00::/64"), IPAddress("fd00::1")),
        )
        item = Selected(Network("i", "a", "bridge", "local", False, subnets), subnets)
        assert survey.landmarks([item]) == addresses("172.18.0.1", "10.9.0.1")
        mesh = Further("a", ReachKind.OVERLAY, tuple(subnet.cidr for subnet in subnets))
        beyond = replace(item, network=replace(item.network, further=mesh))
        assert survey.landmarks([beyond]) == ()


class TestWait:
    """The last step of setup."""

    @pytest.fixture(autouse=True)
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each look at the clock takes a second; nobody sleeps."""
        ticks: Iterator[float] = map(float, range(1000))
        monkeypatch.setattr("macnet.survey.time.monotonic", lambda: next(ticks))
        monkeypatch.setattr("macnet.survey.time.sleep", lambda seconds: None)

    def wait(self, wire: Wire, *wanted: str) -> tuple[IPAddress | None, tuple[IPAddress, ...]]:
        return survey.wait_until_answers(
            addresses(*wanted), timeout_s=5, ping_timeout_s=0.3, prober=wire
        )

    def test_nothing_to_wait_for(self) -> None:
        wire = Wire()
        assert self.wait(wire) == (None, ())
        assert wire.pinged == []

    def test_all_have_to_answer_and_only_the_silent_are_asked_again(self) -> None:
        wire = Wire(alive={"10.0.0.1"}, later=["10.0.1.1", "10.0.2.1"])
        found = self.wait(wire, "10.0.0.1", "10.0.1.1", "10.0.2.1")
        assert found == (IPAddress("10.0.0.1"), ())
        assert wire.pinged[1:] == [["10.0.1.1", "10.0.2.1"], ["10.0.2.1"]]

    def test_the_first_to_answer_is_kept(self) -> None:
        wire = Wire(later=["10.0.1.1", "10.0.0.1"])
        assert self.wait(wire, "10.0.0.1", "10.0.1.1")[0] == IPAddress("10.0.1.1")

    def test_those_that_stay_silent_are_told(self) -> None:
        found = self.wait(Wire(alive={"10.0.0.1"}), "10.0.0.1", "10.0.1.1")
        assert found == (IPAddress("10.0.0.1"), addresses("10.0.1.1"))

    def test_silence_of_all_is_an_error(self) -> None:
        with pytest.raises(TunnelTimeout, match=r"10\.0\.0\.1 does not answer within 5 s"):
            self.wait(Wire(), "10.0.0.1", "10.0.1.1")


class TestDirectWay:
    """Whether a tunnel is needed at all."""

    def find(
        self,
        items: Sequence[Selected],
        *,
        alive: Sequence[str] = (),
        interfaces: Sequence[Interface] = (),
        routes: Sequence[Route] = (),
        system: str = "macos",
        own: str | None = None,
    ) -> str | None:
        self.wire = Wire(alive=set(alive))
        return survey.find_direct_way(
            items,
            (EN0, *interfaces),
            (DEFAULT, *routes),
            system=system,
            prober=self.wire,
            own=own,
        )

    def test_an_answer_through_the_default_route_proves_nothing(self) -> None:
        items = [selected("app", "172.20.0.0/16", "172.20.0.2")]
        assert self.find(items, alive=["172.20.0.2"]) is None
        assert self.wire.pinged == []

    @pytest.mark.parametrize("wide", ["172.16.0.0/12", "128.0.0.0/1", "172.0.0.0/8"])
    def test_nor_does_one_through_a_vpn_of_wider_ranges(self, wide: str) -> None:
        items = [selected("app", "172.20.0.0/16", "172.20.0.2")]
        routes = [Route(IPNetwork(wide), "utun4", IPAddress("10.8.1.1"))]
        assert self.find(items, alive=["172.20.0.2"], routes=routes) is None

    def test_a_route_of_the_subnet_and_an_answer(self) -> None:
        items = [selected("app", "172.20.0.0/16", "172.20.0.2", "172.20.0.3", taken=True)]
        routes = [Route(IPNetwork("172.20.0.0/16"), "utun7")]
        why = self.find(items, alive=["172.20.0.3"], routes=routes)
        assert why == "172.20.0.3 answers without a tunnel, by utun7 (route 172.20.0.0/16)"
        assert self.find(items, routes=routes) is None
        assert self.find(items, alive=["172.20.0.3"], routes=routes, own="utun7") is None

    def test_a_scoped_route_is_none(self) -> None:
        items = [selected("app", "172.20.0.0/16", "172.20.0.2")]
        routes = [Route(IPNetwork("172.20.0.0/16"), "utun7", scoped=True)]
        assert self.find(items, alive=["172.20.0.2"], routes=routes) is None

    def test_every_network_with_containers_needs_its_way(self) -> None:
        items = [
            selected("app", "172.20.0.0/16", "172.20.0.2"),
            selected("back", "172.21.0.0/16", "172.21.0.2"),
        ]
        routes = [Route(IPNetwork("172.20.0.0/16"), "utun7")]
        assert self.find(items, alive=["172.20.0.2"], routes=routes) is None

    def test_a_vm_bridge_with_a_gateways_address_proves_nothing(self) -> None:
        """macOS gives its first VM bridge 192.168.64.1, and Docker has 192.168.64.0/20."""
        bridge = Interface("bridge100", (IPNetwork("192.168.64.1/24"),))
        route = Route(IPNetwork("192.168.64.0/24"), "bridge100")
        for cidr in ("192.168.64.0/20", "192.168.64.0/24"):
            items = [selected("shop", cidr, "192.168.64.2", gateway="192.168.64.1", taken=True)]
            assert (
                self.find(items, alive=["192.168.64.2"], interfaces=[bridge], routes=[route])
                is None
            )

    def test_the_network_around_this_machine_is_no_way(self) -> None:
        items = [selected("lan", "192.168.1.0/24", "192.168.1.2", taken=True)]
        route = Route(IPNetwork("192.168.1.0/24"), "en0")
        assert self.find(items, alive=["192.168.1.2"], routes=[route]) is None

    def test_orbstacks_own_reach_is_recognised(self) -> None:
        items = [selected("bridge", "192.168.215.0/24", "192.168.215.2", taken=True)]
        bridge = Interface("bridge101", (IPNetwork("192.168.215.254/24"),))
        route = Route(IPNetwork("192.168.215.0/24"), "bridge101")
        why = self.find(items, alive=["192.168.215.2"], interfaces=[bridge], routes=[route])
        assert "bridge101" in str(why) and "OrbStack" in str(why)
        assert self.find(items, interfaces=[bridge], routes=[route]) is None

    def test_orbstacks_bridges_tell_also_where_macos_forbids_to_ping(self) -> None:
        items = [
            selected(name, f"192.168.{number}.0/24", f"192.168.{number}.2", taken=True)
            for name, number in (("bridge", 215), ("app", 216))
        ]
        bridges = [
            Interface(f"bridge10{index}", (IPNetwork(f"192.168.{number}.254/24"),))
            for index, number in enumerate((215, 216))
        ]
        why = self.find(items, interfaces=bridges)
        assert "bridge100" in str(why) and "OrbStack" in str(why)
        assert self.find(items, interfaces=bridges[:1]) is None

    @pytest.mark.parametrize("containers", [(), ("192.168.215.2",)], ids=["fresh", "no pings"])
    def test_one_bridge_is_enough_of_orbstack_itself(self, containers: Sequence[str]) -> None:
        """At first it has the default bridge alone, and nothing that could answer."""
        items = [
            selected("bridge", "192.168.215.0/24", *containers, taken=True),
            selected("unused", "192.168.217.0/24"),
        ]
        bridge = Interface("bridge101", (IPNetwork("192.168.215.254/24"),))

        def find(*interfaces: Interface, routes: Sequence[Route] = ()) -> str | None:
            return survey.find_way_of_orbstack(items, (EN0, *interfaces), (DEFAULT, *routes))

        why = find(bridge)
        assert "bridge101" in str(why) and "OrbStack" in str(why)
        # The setting is off; a VM's own bridge; one that is down; the way to the Internet.
        assert find() is None
        assert find(replace(bridge, addresses=(IPNetwork("192.168.215.1/24"),))) is None
        assert find(replace(bridge, up=False)) is None
        assert find(replace(bridge, name="en7")) is None
        assert find(bridge, routes=[replace(DEFAULT, interface="bridge101")]) is None
        # A network with containers that has no bridge yet.
        items.append(selected("app", "192.168.216.0/24", "192.168.216.2"))
        assert find(bridge) is None

    def test_the_engines_bridges_on_linux(self) -> None:
        items = [selected("bridge", "172.17.0.0/16", "172.17.0.2")]
        docker0 = Interface("docker0", (IPNetwork("172.17.0.1/16"),))
        why = self.find(items, alive=["172.17.0.2"], interfaces=[docker0], system="linux")
        assert why == "the engine's bridges are on this host (docker0)"
        # The same bridge of another engine, while this one's containers are elsewhere.
        assert self.find(items, interfaces=[docker0], system="linux") is None

    def test_an_idle_engine_on_linux(self) -> None:
        docker0 = Interface("docker0", (IPNetwork("172.17.0.1/16"),))
        odd = Interface("virbr0", (IPNetwork("172.17.0.1/16"),))
        items = [selected("bridge", "172.17.0.0/16")]
        assert "docker0" in str(self.find(items, interfaces=[docker0], system="linux"))
        assert self.find(items, interfaces=[odd], system="linux") is None

    def test_a_bridge_with_the_networks_id_needs_no_answer(self) -> None:
        item = selected("app", "172.20.0.0/16", "172.20.0.2")
        bridge = Interface(f"br-{item.network.id[:12]}", (IPNetwork("172.20.0.1/16"),))
        assert "br-app" in str(self.find([item], interfaces=[bridge], system="linux"))


def test_where_nobody_may_ping_a_refusal_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    here, gone = IPAddress("172.17.0.1"), IPAddress("172.18.0.1")

    def ping_all(addresses: Sequence[IPAddress], **_: object) -> tuple[PingResult, ...]:
        return tuple(PingResult(address, False, error="no answer") for address in addresses)

    def connect_all(targets: Sequence[tuple[IPAddress, int]], **_: object) -> tuple[TcpResult, ...]:
        return tuple(
            TcpResult(address, port, TcpOutcome.REFUSED, rtt_ms=1.0)
            if address == here
            else TcpResult(address, port, TcpOutcome.UNREACHABLE)
            for address, port in targets
        )

    monkeypatch.setattr(probe, "ping_all", ping_all)
    monkeypatch.setattr(probe, "connect_all", connect_all)
    prober = survey.TcpToo(SystemRunner())
    answers = prober.ping_all([here, gone], timeout_s=0.1)
    assert [answer.ok for answer in answers] == [True, False]
    assert not prober.pinged
