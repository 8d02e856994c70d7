"""A chart that follows the engine: one look for each change, and answers asked for in between."""

from __future__ import annotations

import time
from collections.abc import Callable

from macnet.chart.chart import Chart, Sight, ask, chart_of, look
from macnet.engine import EngineEvent, EventStream
from macnet.errors import EngineError, MacnetError
from macnet.names.source import changes_names
from macnet.survey import Prober
from macnet.tunnel import Tunnel
from macnet.tunnel.follow import follow, looks
from macnet.tunnel.naming import NamedNetworks

#: Seconds between two rounds of questions to the containers; the engine is left alone by those.
ASK_S = 5.0


class LiveMap:
    """Runs until it is interrupted, and hands on a chart after each look and each round."""

    def __init__(
        self,
        open_tunnel: Callable[[], Tunnel],
        publish: Callable[[Chart], None],
        *,
        watched: Callable[[], bool],
        timeout_s: float = 1.0,
        prober: Prober | None = None,
    ) -> None:
        """Without anybody who has ``watched`` the chart, containers are asked after a look only.

        ``open_tunnel`` makes a tunnel whose engine is not connected yet.
        """
        self._open_tunnel = open_tunnel
        self._publish = publish
        self._watched = watched
        self._timeout_s = timeout_s
        self._prober = prober
        self._networks = NamedNetworks(open_tunnel)
        self._sight: Sight | None = None

    def run(self) -> None:
        """Follow the engine for ever, also through its restarts."""
        follow(self._open_tunnel, self._follow, self._lost)

    def _follow(self, tunnel: Tunnel, events: EventStream) -> None:
        asked = 0.0
        for due in looks(events, tunnel.engine, changes_map):
            if due:
                # With the settings of now: a setup may have changed them.
                tunnel = self._open_tunnel().on(tunnel.engine)
                self._sight = look(tunnel, self._networks)
            elif not self._watched() or time.monotonic() - asked < ASK_S:
                continue
            if self._sight is not None:
                self._publish(
                    ask(tunnel, self._sight, timeout_s=self._timeout_s, prober=self._prober)
                )
            asked = time.monotonic()

    def _lost(self, error: MacnetError) -> None:
        """Keep what was seen last, with the reason why nothing is known of now."""
        away = isinstance(error, EngineError)
        problem = f"waiting for the engine: {error}" if away else str(error)
        seen = self._sight
        self._publish(Chart((), problem) if seen is None else chart_of(seen, None, problem))


def changes_map(event: EngineEvent) -> bool:
    """Whether an event can change what the map shows."""
    return changes_names(event) or (event.type, event.action) == ("network", "create")
