"""The engine's events (``GET /events``), read in a thread so that the reader can wait or leave."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from macnet.contexts import EngineAddress
from macnet.engine.sdk import open_client
from macnet.engine.translate import translated
from macnet.errors import EngineError, EngineUnreachable

#: Seconds to wait for the connection.
TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """One event: type "network", action "create", and name and id of what it is about."""

    type: str
    action: str
    name: str
    labels: Mapping[str, str]
    id: str = ""


class EventStream:
    """A running subscription. Close it; it is also a context manager."""

    def __init__(self, address: EngineAddress, version: str, types: Sequence[str]) -> None:
        """Subscribe: events from now on are kept until they are read.

        Raises `EngineError`.
        """
        self._address = address
        self._queue: queue.SimpleQueue[EngineEvent | EngineError] = queue.SimpleQueue()
        with translated(address):
            # A connection of its own, without a limit on silence: an idle engine says nothing.
            self._api = open_client(address, timeout_s=TIMEOUT_S, version=version)
            self._api.timeout = None  # type: ignore[assignment]
            self._stream = self._api.events(decode=True, filters={"type": list(types)})
        self._thread = threading.Thread(target=self._read, name="engine events", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            with translated(self._address):
                for raw in self._stream:
                    self._queue.put(parse_event(raw))
            self._queue.put(EngineUnreachable("the engine has ended its stream of events"))
        except EngineError as error:
            self._queue.put(error)
        except (ValueError, AttributeError) as error:
            # What a stream that is closed from another thread makes of its own reader.
            self._queue.put(EngineUnreachable(f"the stream of events broke: {error}"))

    def get(self, timeout_s: float) -> EngineEvent | None:
        """The next event, None after ``timeout_s`` without one.

        Raises `EngineError` when the stream has ended.
        """
        try:
            item = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(item, EngineError):
            raise item
        return item

    def close(self) -> None:
        """End the subscription; nothing is wrong where the engine has ended it before."""
        # Of a connection that is gone macOS says ENOTCONN to `shutdown`.
        with suppress(OSError):
            self._stream.close()
        self._api.close()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def parse_event(raw: Mapping[str, Any]) -> EngineEvent:
    """Read one object of ``GET /events``; a container's attributes hold its labels."""
    actor = raw.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    return EngineEvent(
        type=str(raw.get("Type", "")),
        action=str(raw.get("Action", "")),
        name=str(attributes.get("name", "")),
        labels={key: str(value) for key, value in attributes.items()},
        id=str(actor.get("ID", "")),
    )
