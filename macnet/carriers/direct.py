"""The server's port on an address of the engine's machine, which this machine reaches by itself."""

from __future__ import annotations

from macnet.carriers.base import Carrier
from macnet.choices import CarrierKind
from macnet.contexts import EngineAddress
from macnet.state import Way
from macnet.values import ANY_ADDRESS


class Direct(Carrier):
    """Published on a network: only tls-crypt and both certificates are between it and others."""

    def __init__(self, address: EngineAddress, publish: str) -> None:
        """``publish`` is the address on which the engine's machine publishes the port."""
        super().__init__(address)
        self._publish = publish

    @property
    def way(self) -> Way:
        """By the address itself; where it stands for all of them, by the engine's host name."""
        machine = self.address.machine or ""
        remote = machine if self._publish == ANY_ADDRESS else self._publish
        return Way(CarrierKind.DIRECT, machine, self._publish, remote)
