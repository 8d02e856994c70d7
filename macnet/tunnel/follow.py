"""Follows an engine through its restarts, and says when it is time to look at it.

One look puts everything right, so nothing depends on having seen each event: a look is due at the
start, after every change, after a jump of the clock (the machine slept), and once in a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

from macnet.engine import Engine, EngineEvent, EventStream
from macnet.errors import CarrierUnreachable, MacnetError
from macnet.helper import LABEL_ROLE
from macnet.helper.spec import RELAY, SERVER
from macnet.tunnel.tunnel import Tunnel

#: Changes that come within this many seconds are one (a compose file makes several networks).
SETTLE_S = 0.1
SETTLE_LIMIT_S = 1.0
#: A container that has ended may be starting again: then its joiner changes once, not twice. Where
#: another one can lend the way at once, that is worth more than the second change costs.
RESTART_S = 0.5
#: One of the helper's would be made anew, while `docker restart` or the engine starts it.
RESTART_HELPER_S = 1.5
#: Seconds between looks when nothing happens, and between signs of life.
LOOK_S = 60.0
ALIVE_S = 10.0
#: Seconds to wait for a lost engine: from, doubled up to; the last one after a minute without it.
#: For a machine that does not answer it stays short: to fail there costs little, and whoever opens
#: the lid of a Mac waits. A login that is refused is not tried so often: it may get one locked out.
RETRY_S, RETRY_SOON_S, RETRY_LIMIT_S = 0.5, 2.0, 10.0
SOON_S = 60.0
#: Seconds that wall clock and monotonic clock may drift apart before it counts as a jump.
JUMP_S = 5.0


def follow(
    open_tunnel: Callable[[], Tunnel],
    work: Callable[[Tunnel, EventStream], None],
    lost: Callable[[MacnetError], None],
) -> None:
    """Call ``work`` with the engine's events, and again after each error, for ever.

    ``open_tunnel`` makes a tunnel whose engine is not connected yet. ``lost`` is told what ended
    the work: the engine is away, or a context is gone while its VM is rebuilt, or a file is being
    edited; each may be right again at the next try.
    """
    delay, seen = RETRY_S, time.monotonic()
    while True:
        away, began = False, time.monotonic()
        try:
            tunnel = open_tunnel()
            # Subscribed before the first look: no change falls between the two.
            with closing(tunnel.engine.follow(["network", "container"])) as events:
                delay = RETRY_S
                try:
                    work(tunnel, events)
                finally:
                    seen = time.monotonic()
        except MacnetError as error:
            away = isinstance(error, CarrierUnreachable)
            lost(error)
        # A try that had to wait for the machine has paused already: it may be back by now.
        waited = time.monotonic() - began if away else 0.0
        time.sleep(max(delay - waited, 0.0))
        soon = away or time.monotonic() - seen < SOON_S
        delay = min(delay * 2, RETRY_SOON_S if soon else RETRY_LIMIT_S)


def looks(
    events: EventStream,
    engine: Engine,
    matters: Callable[[EngineEvent], bool],
    note: Callable[[EngineEvent], None] = lambda _: None,
    slept: Callable[[], object] = lambda: None,
    replaceable: Callable[[EngineEvent], bool] = lambda _: False,
) -> Iterator[bool]:
    """Yield True whenever a look is due, at once for the first time, and False about each second.

    ``matters`` says which events are a change; each event goes to ``note``. ``slept`` is
    called after a jump of the clock, before the look. ``replaceable`` says of a container that has
    ended whether to look without waiting for its restart. Raises `EngineError` when the events end
    or the engine gives no sign of life.
    """
    yield True
    looked = alive = time.monotonic()
    for change in _changes(events, matters, note, slept, replaceable):
        now = time.monotonic()
        if change or now - looked > LOOK_S:
            yield True
            looked = alive = time.monotonic()
            continue
        if now - alive > ALIVE_S:
            engine.ping()
            alive = now
        yield False


def _changes(
    events: EventStream,
    matters: Callable[[EngineEvent], bool],
    note: Callable[[EngineEvent], None],
    slept: Callable[[], object],
    replaceable: Callable[[EngineEvent], bool],
) -> Iterator[bool]:
    """Yield True after a settled change or a jump of the clock, False about once a second."""
    skew = time.time() - time.monotonic()
    while True:
        event = events.get(1.0)
        if event is not None:
            note(event)
        if event is not None and matters(event):
            # Engines tell a stop before the end or after it, and `docker restart` is both.
            waits = event.action in {"die", "stop"} and not replaceable(event)
            if not waits or _await_restart(events, matters, note, event):
                _settle(events, matters, note)
            yield True
            continue
        moved = time.time() - time.monotonic() - skew
        skew += moved
        jumped = abs(moved) > JUMP_S
        if jumped:
            slept()
        yield jumped


def _await_restart(
    events: EventStream,
    matters: Callable[[EngineEvent], bool],
    note: Callable[[EngineEvent], None],
    ended: EngineEvent,
) -> bool:
    """Wait until what has ended has started again; False where some of it has not in time.

    For a container of the helper that is removed nobody has to wait.
    """
    gone = {ended.id}
    until = time.monotonic() + _restart_s(ended)
    limit = time.monotonic() + max(SETTLE_LIMIT_S, 2 * RESTART_HELPER_S)
    while gone and (event := _next(events, note, until)) is not None:
        if event.action == "start" or (event.action == "destroy" and of_helper(event)):
            gone.discard(event.id)
        elif event.action == "die" and matters(event):
            gone.add(event.id)
            until = max(until, min(time.monotonic() + _restart_s(event), limit))
    return not gone


def of_helper(event: EngineEvent) -> bool:
    """Whether an event is about a server or a relay."""
    return event.labels.get(LABEL_ROLE) in {SERVER, RELAY}


def _restart_s(ended: EngineEvent) -> float:
    return RESTART_HELPER_S if of_helper(ended) else RESTART_S


def _settle(
    events: EventStream,
    matters: Callable[[EngineEvent], bool],
    note: Callable[[EngineEvent], None],
) -> None:
    """Wait until no more changes come; what is none, such as health checks, is not waited for."""
    until = time.monotonic() + SETTLE_S
    limit = time.monotonic() + SETTLE_LIMIT_S
    while (event := _next(events, note, until)) is not None:
        if matters(event):
            until = min(time.monotonic() + SETTLE_S, limit)


def _next(
    events: EventStream, note: Callable[[EngineEvent], None], until: float
) -> EngineEvent | None:
    """The next event, which goes to ``note``; None where none comes in time."""
    left = until - time.monotonic()
    event = events.get(left) if left > 0 else None
    if event is not None:
        note(event)
    return event
