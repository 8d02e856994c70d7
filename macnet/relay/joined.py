"""The ways through joiners: containers that each hold open the network namespace of another."""

from __future__ import annotations

import time
from pathlib import Path

from macnet.relay.allowlist import Home, Network
from macnet.relay.attachment import Attachment
from macnet.relay.attempts import Attempts
from macnet.relay.find import find_joiner
from macnet.relay.log import say
from macnet.relay.way import Passage

#: A file for each way that is there, named by its number, with the joiner's key in it.
WAYS = Path("/run/macnet/ways")
#: Seconds until the next try after one that failed, growing.
_FIRST_TRY_S, _LAST_TRY_S = 0.1, 1.0


class Joined:
    """Makes and ends these ways as the server's list says. None of them holds up the VM's."""

    def __init__(self, token: str) -> None:
        """Joiners are known by ``token`` and their keys."""
        self._token = token
        self._ways: dict[Home, Passage] = {}
        self._tries: dict[Home, Attempts] = {}
        self._pauses: dict[Home, float] = {}
        self._due: dict[Home, float] = {}

    def tend(self, attachment: Attachment) -> None:
        """Bring about what is lacking, and end what is not wanted or has lost its joiner."""
        wanted = attachment.homes()
        for home, way in list(self._ways.items()):
            if home not in wanted or not way.holder_runs():
                self._end(home)
        for home in [home for home in self._tries if home not in wanted]:
            self._forget(home)
        for home, subnets in wanted.items():
            if time.monotonic() >= self._due.get(home, 0):
                self._try(attachment, home, subnets)
        for way in self._ways.values():
            way.inform()

    def detach(self) -> None:
        """End all."""
        for home in list(self._ways):
            self._end(home)
        for home in list(self._tries):
            self._forget(home)

    def _try(self, attachment: Attachment, home: Home, subnets: tuple[Network, ...]) -> None:
        if self._runs(attachment, home, subnets):
            self._forget(home)
            return
        pause = min(self._pauses.get(home, _FIRST_TRY_S / 2) * 2, _LAST_TRY_S)
        self._pauses[home], self._due[home] = pause, time.monotonic() + pause

    def _runs(self, attachment: Attachment, home: Home, subnets: tuple[Network, ...]) -> bool:
        """Whether everything of this way runs now."""
        way = self._ways.get(home)
        tries = self._tries.get(home) or Attempts(f"joiner {home.lane}")
        if way is None:
            self._tries[home] = tries
            holder = find_joiner(self._token, home.key)
            if holder is None:
                tries.complain("waiting for it")
                return False
            way = self._ways[home] = attachment.way(home, holder)
        starts = way.lacking()
        if starts:
            self._tries[home] = tries
            _mark(home).unlink(missing_ok=True)
            if [start for start in starts if not tries.succeeds(start)]:
                return False
        if not tries.succeeds(lambda: way.route(subnets)):
            self._tries[home] = tries
            return False
        # Not only after a start: the routes may have failed then.
        if not _mark(home).exists():
            say(f"joiner {home.lane}: attached")
            WAYS.mkdir(parents=True, exist_ok=True)
            _mark(home).write_text(home.key)
        return True

    def _end(self, home: Home) -> None:
        say(f"joiner {home.lane}: ended")
        _mark(home).unlink(missing_ok=True)
        self._ways.pop(home).detach()

    def _forget(self, home: Home) -> None:
        for kept in (self._tries, self._pauses, self._due):
            kept.pop(home, None)


def _mark(home: Home) -> Path:
    return WAYS / str(home.lane)
