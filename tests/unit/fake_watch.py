"""A clock, and an engine whose events are a script, for `macnet watch` to follow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import pytest
from netaddr import IPNetwork

from macnet.engine import Container, EngineEvent
from macnet.errors import EngineUnreachable, MacnetError
from macnet.models import Network, Subnet
from macnet.networks import Selected
from macnet.settings import Settings
from macnet.state import NamesChoice, TunnelState
from macnet.tunnel import RouteChanges, SetupResult, Tunnel
from macnet.watch import Watch, WatchLine

ONE, TWO = IPNetwork("10.1.0.0/16"), IPNetwork("10.2.0.0/16")
LOST = EngineUnreachable("no Docker engine answers")


class End(Exception):
    """The script is over."""


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall = 5000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.wall

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.pass_by(seconds)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    def machine_sleeps(self, seconds: float) -> None:
        """macOS stops the monotonic clock meanwhile."""
        self.wall += seconds


Step = EngineEvent | MacnetError | float | Callable[[], None]


class Opened:
    """The tunnel with the settings of one moment."""

    def __init__(self, world: World, config: Settings) -> None:
        self.engine = world
        self.settings = config

    @property
    def carrier(self) -> World:
        return self.engine

    def state(self) -> TunnelState:
        return TunnelState(names=self.engine.names)

    def keep_carrier(self) -> bool:
        return True

    def sync(self, engine: World | None = None) -> SetupResult | None:
        assert engine in {None, self.engine}
        return self.engine.look()

    def on(self, engine: World) -> Opened:
        assert engine is self.engine
        return self


class World:
    """An engine whose events are a script, and a tunnel that counts the looks at it.

    A step is an event, an error that ends the stream, seconds of silence, or something to do.
    Each list in ``streams`` is what one subscription brings; an error there refuses it.
    """

    def __init__(self, clock: Clock, streams: Iterable[list[Step] | MacnetError]) -> None:
        self.clock = clock
        self.streams = list(streams)
        self.steps: list[Step] = []
        self.results: list[SetupResult | MacnetError | None] = []
        self.looks: list[float] = []
        self.pings = 0
        self.woken: list[float] = []
        self.rows: list[Mapping[str, Any]] = []
        #: The helper's containers by their ids.
        self.parts: dict[str, Container] = {}
        self.closed = 0
        self.types: list[str] = []
        self.settings_now = Settings()
        self.names: NamesChoice | None = None
        #: What the settings are at each opening, then as they were.
        self.settings: list[Settings | MacnetError] = []
        #: What happens while a tunnel is opened.
        self.opening: Callable[[], None] = lambda: None
        self.told: list[WatchLine] = []

    # The tunnel.

    def look(self) -> SetupResult | None:
        self.looks.append(self.clock.now)
        result = self.results.pop(0) if self.results else changes()
        if isinstance(result, MacnetError):
            raise result
        return result

    # The engine.

    def follow(self, types: list[str]) -> World:
        self.types = types
        if not self.streams:
            raise End
        stream = self.streams.pop(0)
        if isinstance(stream, MacnetError):
            raise stream
        self.steps = stream
        return self

    def ping(self) -> None:
        self.pings += 1

    def containers(self) -> list[Mapping[str, Any]]:
        return self.rows

    def find_container(self, identity: str) -> Container | None:
        return self.parts.get(identity)

    # The carrier.

    def drop_if_dead(self) -> bool:
        self.woken.append(self.clock.now)
        return False

    # The stream.

    def get(self, timeout_s: float) -> EngineEvent | None:
        while self.steps:
            step = self.steps[0]
            if isinstance(step, float) and step > timeout_s:
                self.steps[0] = step - timeout_s
                break
            self.steps.pop(0)
            if isinstance(step, EngineEvent):
                return step
            if isinstance(step, MacnetError):
                raise step
            if isinstance(step, float):
                self.clock.pass_by(step)
                return None
            step()
        else:
            raise End
        self.clock.pass_by(timeout_s)
        return None

    def close(self) -> None:
        self.closed += 1

    # Watch.

    def watch(self) -> Watch:
        return Watch(self.open_tunnel, self.told.append)

    def open_tunnel(self) -> Tunnel:
        self.opening()
        now = self.settings.pop(0) if self.settings else self.settings_now
        if isinstance(now, MacnetError):
            raise now
        self.settings_now = now
        return cast(Tunnel, Opened(self, now))

    def run(self) -> list[str]:
        """What is told until the script ends."""
        with pytest.raises(End):
            self.watch().run()
        return [line.text for line in self.told]


def changes(
    added: tuple[IPNetwork, ...] = (),
    removed: tuple[IPNetwork, ...] = (),
    *,
    stale: tuple[IPNetwork, ...] = (),
    repaired: tuple[str, ...] = (),
    warnings: tuple[str, ...] = (),
) -> SetupResult:
    """What one look gives."""
    network = Network("1", "app", "bridge", "local", internal=False, subnets=(Subnet(ONE),))
    return SetupResult(
        changed=bool(added or removed or repaired),
        port=13194,
        tunnel_subnet=IPNetwork("192.168.255.0/24"),
        client="openvpn",
        client_reason="the default",
        profile="macnet.ovpn",
        verified=None,
        routes=RouteChanges(added, removed, ()),
        stale=stale,
        repaired=repaired,
        networks=(Selected(network, network.subnets),),
        warnings=warnings,
    )


def created(name: str = "app") -> EngineEvent:
    return EngineEvent("network", "create", name, {"name": name})
