"""Watch answers for names while they are on, and says once what keeps it from that."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from netaddr import IPAddress

from macnet import watch
from macnet.names import probe_name
from macnet.names.client import SystemResolver
from macnet.state import NamesChoice, TunnelState, save_state
from macnet.tunnel import Tunnel, converge, follow
from macnet.watch import Answering, WatchKind, WatchLine
from tests.unit import fake_watch
from tests.unit.fake_watch import LOST, Clock
from tests.unit.names.serving import until
from tests.unit.tunnel.world import World


class Opened:
    """A tunnel whose record has names, or not."""

    def __init__(self) -> None:
        self.names: NamesChoice | None = None
        self.stored: dict[str, dict[str, object]] = {}

    def state(self) -> TunnelState:
        return TunnelState(names=self.names, settings=self.stored)

    def open_engine(self) -> object:
        from macnet.errors import EngineUnreachable

        raise EngineUnreachable("away")


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_it_answers_while_names_are_on(port: int) -> None:
    told: list[WatchLine] = []
    tunnel = Opened()
    answering = Answering(lambda: cast(Tunnel, tunnel), told.append)
    answering.look(cast(Tunnel, tunnel))
    assert told == []
    tunnel.names = NamesChoice("docker.test", port)
    for _ in range(3):
        answering.look(cast(Tunnel, tunnel))
    assert [line.text for line in told] == [f"answering for docker.test on 127.0.0.1:{port}"]
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", port))
    tunnel.names = None
    answering.look(cast(Tunnel, tunnel))
    socket.create_server(("127.0.0.1", port)).close()


def test_a_port_that_is_taken_is_one_line_and_no_end() -> None:
    told: list[WatchLine] = []
    tunnel = Opened()
    answering = Answering(lambda: cast(Tunnel, tunnel), told.append)
    with socket.create_server(("127.0.0.1", 0)) as holder:
        tunnel.names = NamesChoice("docker.test", int(holder.getsockname()[1]))
        answering.look(cast(Tunnel, tunnel))
        answering.look(cast(Tunnel, tunnel))
    assert [line.kind for line in told] == [WatchKind.PROBLEM]
    answering.look(cast(Tunnel, tunnel))
    answering.stop()
    assert told[-1].kind is WatchKind.NAMES


class Asking(Clock):
    """Looks a name up, and one that only macnet answers, whenever watch waits; twice."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.seen: list[tuple[str | None, tuple[IPAddress, ...]]] = []

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        ask = SystemResolver().ask_port
        failure = ask("redis.docker.test", self.port).problem
        probe = probe_name("docker.test", "0" * 32)
        self.seen.append((failure, ask(probe, self.port).addresses))
        if len(self.seen) == 2:
            raise fake_watch.End


@pytest.mark.parametrize("carried", [True, False])
def test_an_engine_that_is_away_from_the_start(
    monkeypatch: pytest.MonkeyPatch, port: int, *, carried: bool
) -> None:
    """Questions fail at once, `macnet check` finds the watch, and nobody else gets the port."""

    def away(_: object) -> bool:
        raise LOST

    clock = Asking(port)
    for module in (watch, follow):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(fake_watch.Opened, "open_engine", away, raising=False)
    if not carried:
        monkeypatch.setattr(fake_watch.Opened, "keep_carrier", away)
    world = fake_watch.World(clock, [LOST, LOST])
    world.names = NamesChoice("docker.test", port)
    assert world.run() == [
        f"answering for docker.test on 127.0.0.1:{port}",
        f"waiting for the engine: {LOST}",
    ]
    assert clock.seen == [("SERVFAIL", (IPAddress("127.0.0.1"),))] * 2
    socket.create_server(("127.0.0.1", port)).close()


def test_a_setup_while_it_runs_counts_for_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    """Within the second in which watch looks at the record, though no event of the engine tells."""
    monkeypatch.setattr(converge, "TRAFFIC_TIMEOUT_S", 0.0)
    world = World(tmp_path, monkeypatch)
    world.setup_tunnel(exclude=["app"]).setup()
    tunnel = world.stored_tunnel()
    save_state(tunnel.paths.state, replace(tunnel.state(), names=NamesChoice("docker.test", port)))
    answering = Answering(world.stored_tunnel, lambda line: None)
    answering.look(tunnel)
    try:
        resolver, name = SystemResolver(), "redis.docker.test"
        until(lambda: resolver.ask_port(name, port).problem == "it has no such address")
        world.setup_tunnel(exclude=["another"]).setup()
        answering.look(tunnel)
        until(lambda: resolver.ask_port(name, port).addresses == (IPAddress("172.82.0.100"),))
    finally:
        answering.stop()
