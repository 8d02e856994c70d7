"""Follows the engine's events and keeps the tunnel's routes right, whatever the engine does.

One look (`Tunnel.follow`) puts everything right, so nothing depends on having seen each event:
a look is taken at the start, after every change, after a jump of the clock (the machine slept),
and once in a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum

from netaddr import IPNetwork

from macnet.engine import EngineEvent, EventStream
from macnet.errors import Busy, EngineError, MacnetError
from macnet.helper import LABEL_NAME
from macnet.tunnel import FollowResult, Tunnel

#: Changes that come within this many seconds are one (a compose file makes several networks).
SETTLE_S = 0.1
SETTLE_LIMIT_S = 1.0
#: Seconds between looks when nothing happens, and between signs of life.
LOOK_S = 60.0
ALIVE_S = 10.0
#: Seconds to wait for a lost engine: from, doubled up to.
RETRY_S, RETRY_LIMIT_S = 0.5, 10.0
#: Seconds that wall clock and monotonic clock may drift apart before it counts as a jump.
JUMP_S = 5.0
#: Seconds to wait while another macnet changes the tunnel.
BUSY_S = 0.5

_NETWORK_ACTIONS = frozenset({"create", "destroy"})
_HELPER_ACTIONS = frozenset({"destroy"})


class WatchKind(StrEnum):
    """What a line of watch is about."""

    READY = "ready"
    ROUTES = "routes"
    REPAIRED = "repaired"
    STALE = "stale"
    LEFT_OUT = "left_out"
    NOT_SET_UP = "not_set_up"
    ENGINE_LOST = "engine_lost"
    ENGINE_BACK = "engine_back"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class WatchLine:
    """One thing that happened, in words and as data."""

    kind: WatchKind
    text: str
    added: tuple[IPNetwork, ...] = ()
    removed: tuple[IPNetwork, ...] = ()


Report = Callable[[WatchLine], None]


class _Moved(Exception):
    """The settings name another engine."""


class Watch:
    """Runs until it is interrupted; each line that it reports is a change."""

    def __init__(self, open_tunnel: Callable[[], Tunnel], report: Report) -> None:
        """``open_tunnel`` makes a tunnel whose engine is not connected yet."""
        self._open_tunnel = open_tunnel
        self._report = report
        self._last: tuple[object, ...] = ()
        self._lost = False
        self._greeted = False

    def once(self) -> FollowResult:
        """Take one look. Raises what goes wrong."""
        result = self._open_tunnel().follow()
        for line in lines_of(result):
            self._report(line)
        return result

    def run(self) -> None:
        """Follow the engine for ever, also through its restarts."""
        delay = RETRY_S
        while True:
            tunnel = self._open_tunnel()
            try:
                # Subscribed before the first look: no change falls between the two.
                with closing(tunnel.engine.follow(["network", "container"])) as events:
                    self._found()
                    delay = RETRY_S
                    self._follow(tunnel, events)
            except _Moved:
                self._greeted = False
                continue
            except EngineError as error:
                if not self._lost:
                    self._lost = True
                    self._report(
                        WatchLine(WatchKind.ENGINE_LOST, f"waiting for the engine: {error}")
                    )
            time.sleep(delay)
            delay = min(delay * 2, RETRY_LIMIT_S)

    def _found(self) -> None:
        if self._lost:
            self._report(WatchLine(WatchKind.ENGINE_BACK, "the engine is back"))
        elif not self._greeted:
            self._report(WatchLine(WatchKind.READY, "following the engine"))
        self._lost, self._greeted = False, True

    def _follow(self, tunnel: Tunnel, events: EventStream) -> None:
        looked = alive = time.monotonic()
        self._look(tunnel)
        for change in _changes(events, tunnel):
            now = time.monotonic()
            if change or now - looked > LOOK_S:
                self._look(tunnel)
                looked = alive = time.monotonic()
            elif now - alive > ALIVE_S:
                tunnel.engine.ping()
                alive = now

    def _look(self, tunnel: Tunnel) -> None:
        """One look; a problem that is not the engine's is reported and watching goes on.

        With the settings of now: a setup or the user may have changed them.
        """
        while True:
            try:
                now = self._open_tunnel()
                if now.config.context != tunnel.config.context:
                    raise _Moved
                lines = list(lines_of(now.follow(tunnel.engine)))
            except Busy:
                time.sleep(BUSY_S)
                continue
            except EngineError:
                raise
            except MacnetError as error:
                lines = [WatchLine(WatchKind.PROBLEM, str(error))]
            break
        # Standing remarks are told once, changes each time.
        for line in lines:
            if line.kind in {WatchKind.ROUTES, WatchKind.REPAIRED} or line not in self._last:
                self._report(line)
        self._last = tuple(lines)


def _changes(events: EventStream, tunnel: Tunnel) -> Iterator[bool]:
    """Yield True after a settled change or a jump of the clock, False about once a second."""
    skew = time.time() - time.monotonic()
    while True:
        event = events.get(1.0)
        if event is not None and matters(event, tunnel.config.name):
            _settle(events)
            yield True
            continue
        moved = time.time() - time.monotonic() - skew
        skew += moved
        yield abs(moved) > JUMP_S


def _settle(events: EventStream) -> None:
    limit = time.monotonic() + SETTLE_LIMIT_S
    while events.get(SETTLE_S) is not None and time.monotonic() < limit:
        continue


def matters(event: EngineEvent, name: str) -> bool:
    """Whether an event can change the routes, or takes a container of ours away."""
    if event.type == "network":
        return event.action in _NETWORK_ACTIONS
    return event.action in _HELPER_ACTIONS and event.labels.get(LABEL_NAME) == name


def lines_of(result: FollowResult) -> Iterator[WatchLine]:
    """What there is to tell about one look."""
    if not result.set_up:
        yield WatchLine(WatchKind.NOT_SET_UP, "there is no tunnel: `macnet setup` makes one")
        return
    for name in result.repaired:
        yield WatchLine(WatchKind.REPAIRED, f"{name} was missing and runs again")
    names = {subnet.cidr: item.network.name for item in result.networks for subnet in item.subnets}
    for net in result.routes.removed:
        yield WatchLine(WatchKind.ROUTES, f"- {net}", removed=(net,))
    for net in result.routes.added:
        name = f" {names[net]}" if net in names else ""
        yield WatchLine(WatchKind.ROUTES, f"+ {net}{name}", added=(net,))
    for net in result.stale:
        text = f"{net} is gone but still in the profile: `macnet regenerate` takes it out"
        yield WatchLine(WatchKind.STALE, text)
    for warning in result.warnings:
        yield WatchLine(WatchKind.LEFT_OUT, warning)
