"""What a tunnel is put together from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self

from macnet.carriers import Carrier, Here
from macnet.clients.base import Client
from macnet.contexts import EngineAddress
from macnet.engine import Engine
from macnet.helper import Helper
from macnet.paths import TunnelPaths
from macnet.progress import Progress
from macnet.settings import Resolved, Settings
from macnet.state import TunnelState, load_state
from macnet.tunnel.observe import Host


class TunnelParts:
    """Settings, files, engine, client and this machine: what the steps of a tunnel work with."""

    def __init__(
        self,
        *,
        resolved: Resolved,
        paths: TunnelPaths,
        open_engine: Callable[[], Engine],
        make_client: Callable[[str], Client],
        client: Client,
        client_reason: str,
        host: Host,
        progress: Progress,
        find_carrier: Callable[[], Carrier] | None = None,
        opened: TunnelState | None = None,
    ) -> None:
        """Nothing is asked or changed yet. ``make_client`` makes the client of a given name.

        ``opened`` is the record that the settings were resolved with.

        ``open_engine`` connects by the carrier that runs; without ``find_carrier`` the engine is
        on this machine.
        """
        self.resolved = resolved
        self.paths = paths
        self.client = client
        self.client_reason = client_reason
        self.host = host
        self.progress = progress
        self._open_engine = open_engine
        self.make_client = make_client
        self._find_carrier = find_carrier
        self._opened = opened
        self._engine: Engine | None = None
        self._carrier: Carrier | None = None

    @property
    def carrier(self) -> Carrier:
        """The way to the engine. Raises `macnet.errors.MacnetError` where there is none."""
        if self._carrier is None:
            find = self._find_carrier
            self._carrier = find() if find is not None else Here(EngineAddress("", ""))
        return self._carrier

    @property
    def settings(self) -> Settings:
        """The settings in effect."""
        return self.resolved.settings

    @property
    def engine(self) -> Engine:
        """The engine, connected on first use. Raises `macnet.errors.EngineError`."""
        if self._engine is None:
            self._engine = self._open_engine()
        return self._engine

    def on(self, engine: Engine | None) -> Self:
        """This tunnel, with an engine that is connected already."""
        self._engine = engine or self._engine
        return self

    def open_engine(self) -> Engine:
        """Another connection to the engine, for a thread of its own."""
        return self._open_engine()

    @property
    def helper(self) -> Helper:
        """The helper's containers on the engine."""
        return Helper(self.engine, self.settings.name)

    def state(self) -> TunnelState:
        """The tunnel's record; an empty one where there is none."""
        return load_state(self.paths.state, self.progress)

    def former_clients(self, state: TunnelState) -> Iterator[Client]:
        """Clients other than the present one that may still be connected.

        A record of macnet 0.1 does not name the client; only openvpn can then be asked without
        a dialog, and it belongs to root, so nobody else ends it.
        """
        name = state.client or "openvpn"
        if name not in {self.client.name, "none"}:
            yield self.make_client(name)
