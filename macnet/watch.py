"""Follows the engine's events and keeps the tunnel's routes right, whatever the engine does.

One look is `Tunnel.sync`; `macnet.tunnel.follow` says when it is due.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from netaddr import IPNetwork

from macnet.donors import concerns, has_spare
from macnet.engine import Engine, EngineEvent, EventStream
from macnet.errors import Busy, EngineError, MacnetError, NotSetUp
from macnet.helper import LABEL_NAME, LABEL_ROLE
from macnet.helper.spec import JOINER
from macnet.names.source import changes_names
from macnet.networks import Selected
from macnet.state import NamesChoice
from macnet.tunnel import SetupResult, Tunnel
from macnet.tunnel.follow import follow, looks, of_helper
from macnet.tunnel.naming import FreshZone
from macnet.values import NOTHING_ALSO, AlsoRequest

if TYPE_CHECKING:
    from macnet.names.server import NameServer

#: Seconds to wait while another macnet changes the tunnel.
BUSY_S = 0.5
#: Seconds until the next look after one that failed: from, doubled up to. Then as always.
AGAIN_S, AGAIN_LIMIT_S = 2.0, 16.0

_NETWORK_ACTIONS = frozenset({"create", "destroy"})
#: What ends by itself the engine starts again, but not after `docker stop` or `docker kill`.
_HELPER_ACTIONS = frozenset({"destroy", "stop", "die"})
#: The engine starts no joiner again; one that a setup has made tells that the settings are others.
_JOINER_ACTIONS = frozenset({"die", "start"})


class WatchKind(StrEnum):
    """What a line of watch is about."""

    READY = "ready"
    ROUTES = "routes"
    REPAIRED = "repaired"
    JOINED = "joined"
    STALE = "stale"
    LEFT_OUT = "left_out"
    NAMES = "names"
    NOT_SET_UP = "not_set_up"
    ENGINE_LOST = "engine_lost"
    ENGINE_BACK = "engine_back"
    PROBLEM = "problem"


_EACH_TIME = frozenset({WatchKind.ROUTES, WatchKind.REPAIRED, WatchKind.JOINED})


@dataclass(frozen=True, slots=True)
class WatchLine:
    """One thing that happened, in words and as data."""

    kind: WatchKind
    text: str
    added: tuple[IPNetwork, ...] = ()
    removed: tuple[IPNetwork, ...] = ()


Report = Callable[[WatchLine], None]


class Answering:
    """Answers for container names while they are on for the tunnel."""

    def __init__(self, open_tunnel: Callable[[], Tunnel], report: Report) -> None:
        """Nothing listens yet; ``open_tunnel`` makes a tunnel with the settings of now."""
        self._open_tunnel = open_tunnel
        self._report = report
        self._choice: NamesChoice | None = None
        self._settings: object = None
        self._zone: FreshZone | None = None
        self._server: NameServer | None = None
        self._problem: str | None = None

    def look(self, tunnel: Tunnel) -> None:
        """Listen where the record says so now; a port that is taken is told once."""
        state = tunnel.state()
        choice, settings = state.names, (state.settings, state.remaps)
        if choice == self._choice and (choice is None or self._server is not None):
            if settings != self._settings:
                self._settings = settings
                self.routes_changed()
            return
        self._settings = settings
        self.stop()
        self._choice = choice
        if choice is None:
            return
        from macnet.names.server import NameServer

        self._zone = FreshZone(self._open_tunnel, choice.domain, choice.cluster)
        server = NameServer(choice.domain, choice.port, self._zone, owner=choice.cluster)
        try:
            server.start()
        except MacnetError as error:
            if str(error) != self._problem:
                self._report(WatchLine(WatchKind.PROBLEM, str(error)))
            self._problem = str(error)
            return
        self._server, self._problem = server, None
        text = f"answering for {choice.shown} on 127.0.0.1:{choice.port}"
        self._report(WatchLine(WatchKind.NAMES, text))

    def note(self, event: EngineEvent) -> None:
        """Look at the engine where the event can change names."""
        if self._server is not None and changes_names(event):
            self._server.changed()

    def routes_changed(self) -> None:
        """Decide anew which networks are routed, and look at the engine."""
        if self._zone is not None and self._server is not None:
            self._zone.forget_selection()
            self._server.changed()

    def engine_lost(self) -> None:
        """The engine's events have ended."""
        if self._server is not None:
            self._server.engine_lost()

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.stop()
        self._server = self._zone = None


class Watch:
    """Runs until it is interrupted; each line that it reports is a change."""

    def __init__(self, open_tunnel: Callable[[], Tunnel], report: Report) -> None:
        """``open_tunnel`` makes a tunnel whose engine is not connected yet."""
        self._open_tunnel = open_tunnel
        self._report = report
        self._last: tuple[object, ...] = ()
        self._lost = False
        self._greeted = False
        self._names = Answering(open_tunnel, report)
        self._also = NOTHING_ALSO
        self._networks: tuple[Selected, ...] = ()

    def once(self) -> None:
        """Take one look. Raises what goes wrong."""
        for line in lines_of(self._open_tunnel().sync()):
            self._report(line)

    def run(self) -> None:
        """Follow the engine for ever, also through its restarts."""
        try:
            follow(self._carried, self._follow, self._wait_for)
        finally:
            self._names.stop()

    def _carried(self) -> Tunnel:
        """A tunnel whose engine is here, also where that takes an ssh that has ended."""
        tunnel = self._open_tunnel()
        # Before the engine is here: meanwhile a question fails, but not for want of an answer, and
        # nobody else takes the port.
        self._names.look(tunnel)
        if not tunnel.keep_carrier():
            raise NotSetUp("there is no tunnel: `macnet setup` makes one")
        return tunnel

    def _wait_for(self, error: MacnetError) -> None:
        """Report what keeps the engine from being followed, once."""
        self._names.engine_lost()
        if isinstance(error, EngineError):
            line = WatchLine(WatchKind.ENGINE_LOST, f"waiting for the engine: {error}")
            if not self._lost:
                self._report(line)
            self._lost = True
        elif (line := WatchLine(WatchKind.PROBLEM, str(error))) not in self._last:
            self._report(line)
            self._last = (line,)

    def _found(self) -> None:
        if self._lost:
            self._report(WatchLine(WatchKind.ENGINE_BACK, "the engine is back"))
        elif not self._greeted:
            self._report(WatchLine(WatchKind.READY, "following the engine"))
        self._lost, self._greeted = False, True

    def _follow(self, tunnel: Tunnel, events: EventStream) -> None:
        self._found()

        def changed(event: EngineEvent) -> bool:
            ours = matters(event, tunnel.settings.name, self._also)
            return ours and not comes_back(event, tunnel.engine)

        # What is in the way may be gone soon, and no event tells of that.
        again, pause = math.inf, AGAIN_S

        def replaceable(event: EngineEvent) -> bool:
            return has_spare(self._networks, event.id, tunnel.engine.containers)

        slept, note = tunnel.carrier.drop_if_dead, self._names.note
        for due in looks(events, tunnel.engine, changed, note, slept, replaceable):
            if not due and time.monotonic() < again:
                self._names.look(tunnel)
            elif self._look(tunnel):
                again, pause = math.inf, AGAIN_S
            elif pause > AGAIN_LIMIT_S:
                again = math.inf
            else:
                again, pause = time.monotonic() + pause, pause * 2

    def _look(self, tunnel: Tunnel) -> bool:
        """One look; a problem that is not the engine's is reported, and watching goes on.

        With the settings of now: a setup may have changed them. False where it failed.
        """
        failed = False
        while True:
            try:
                now = self._open_tunnel()
                self._also = now.settings.also
                result = now.sync(tunnel.engine)
                self._networks = () if result is None else result.networks
                lines = list(lines_of(result))
            except Busy:
                time.sleep(BUSY_S)
                continue
            except EngineError:
                raise
            except MacnetError as error:
                lines, failed = [WatchLine(WatchKind.PROBLEM, str(error))], True
            break
        self._names.look(tunnel)
        self._names.routes_changed()
        # Standing remarks are told once, changes each time.
        for line in lines:
            if line.kind in _EACH_TIME or line not in self._last:
                self._report(line)
        self._last = tuple(lines)
        return not failed


def matters(event: EngineEvent, name: str, also: AlsoRequest = NOTHING_ALSO) -> bool:
    """Whether an event can change the routes, or takes a container of ours away."""
    if event.type == "network":
        return event.action in _NETWORK_ACTIONS or concerns(also, event)
    if event.labels.get(LABEL_NAME) == name:
        joiner = event.labels.get(LABEL_ROLE) == JOINER
        return event.action in _HELPER_ACTIONS or (joiner and event.action in _JOINER_ACTIONS)
    return concerns(also, event)


def comes_back(event: EngineEvent, engine: Engine) -> bool:
    """Whether this is the end of a server or relay that needs nobody to start it again.

    The engine does so itself, after a moment, or has done so; one that is being removed has an
    event of its own for that.
    """
    if event.action not in {"die", "stop"} or not of_helper(event):
        return False
    found = engine.find_container(event.id)
    return found is None or found.running or found.status == "restarting"


def lines_of(result: SetupResult | None) -> Iterator[WatchLine]:
    """What there is to tell about one look."""
    if result is None:
        yield WatchLine(WatchKind.NOT_SET_UP, "there is no tunnel: `macnet setup` makes one")
        return
    for name in result.repaired:
        yield WatchLine(WatchKind.REPAIRED, f"{name} did not run; it is started again")
    for joiner in result.joined:
        nets = ", ".join(map(str, joiner.subnets))
        text = f"{joiner.name} joined the network of {joiner.donor}: {nets}"
        yield WatchLine(WatchKind.JOINED, text)
    names = {subnet.cidr: item.network.name for item in result.networks for subnet in item.subnets}
    for net in result.routes.removed:
        yield WatchLine(WatchKind.ROUTES, f"- {net}", removed=(net,))
    for net in result.routes.added:
        name = f" {names[net]}" if net in names else ""
        yield WatchLine(WatchKind.ROUTES, f"+ {net}{name}", added=(net,))
    if result.stale:
        nets = ", ".join(map(str, result.stale))
        text = f"the VPN client still has a route for {nets}: `macnet regenerate` takes it away"
        yield WatchLine(WatchKind.STALE, text)
    for warning in result.warnings:
        yield WatchLine(WatchKind.LEFT_OUT, warning)
