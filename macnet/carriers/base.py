"""What macnet asks of a carrier; `Here`, for an engine of this machine."""

from __future__ import annotations

from abc import ABC, abstractmethod

from macnet.contexts import EngineAddress
from macnet.progress import Progress
from macnet.state import Way


class Carrier(ABC):
    """The way to one engine. Every verb may be repeated; by default nothing is needed for it."""

    def __init__(self, address: EngineAddress) -> None:
        """Nothing is started yet."""
        self.address = address

    @property
    @abstractmethod
    def way(self) -> Way:
        """What the plan, the profile and the record need to know of it."""

    def start(self, progress: Progress, *, ask: bool) -> bool:
        """Bring the engine's API here; False = it was. With ``ask`` the user may be asked.

        Raises `macnet.errors.EngineError`.
        """
        return False

    def engine_address(self) -> EngineAddress:
        """The engine's address with the way there. Raises `macnet.errors.CarrierDown`."""
        return self.address

    def carry(self, port: int) -> bool:
        """Make ``port`` of the engine's 127.0.0.1 one of this machine's; False = it was.

        Raises `macnet.errors.CarrierFailed`, or `macnet.errors.PortTaken` where it is in use.
        """
        return False

    def drop_if_dead(self) -> bool:
        """End what carries the engine if the other machine answers no more; False = it goes on.

        Starts nothing. For after a sleep of this machine: by itself a carrier notices later.
        """
        return False

    def holds(self, port: int) -> bool:
        """Whether it is this carrier that listens on ``port`` of this machine."""
        return False


class Here(Carrier):
    """An engine of this machine: its published ports are on 127.0.0.1 already."""

    @property
    def way(self) -> Way:
        """No way at all."""
        return Way()
