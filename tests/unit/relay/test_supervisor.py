"""The supervisor's loop: what it starts, when it starts again, what it says, how it ends."""

from __future__ import annotations

import subprocess  # noqa: TID251
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import cast

import pytest

from macnet.relay import joined
from macnet.relay import supervisor as module
from macnet.relay.allowlist import Home, Network
from macnet.relay.attachment import Attachment
from macnet.relay.ping_groups import PingGroups
from macnet.relay.supervisor import Signals, Stopped, Supervisor
from macnet.relay.way import Link, Passage

LINK = Link("100.64.0.2", "100.64.0.1", 30)
PODS, OTHER = ip_network("10.244.0.0/16"), ip_network("10.20.0.0/16")
ONE, TWO = Home(1, "one"), Home(2, "two")


@dataclass
class World:
    """What is around it; ``script`` says what happens at each of its waits."""

    log: list[str] = field(default_factory=list)
    server: int | None = 7
    running: set[str] = field(default_factory=set)
    failing: dict[str, Exception] = field(default_factory=dict)
    script: list[Callable[[], None]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    #: What the server's list says of joiners, and the processes of those that are there.
    homes: dict[Home, tuple[Network, ...]] = field(default_factory=dict)
    joiners: dict[str, int] = field(default_factory=dict)
    #: How often the lane of each way was told the list.
    informed: dict[str, int] = field(default_factory=dict)

    # As `Signals`

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        if not self.script:
            raise Stopped
        self.script.pop(0)()

    # As `PingGroups`

    def widen(self) -> None:
        self.log.append("widen")

    def restore(self) -> None:
        self.log.append("restore")


@dataclass
class Server:
    """As `Attachment`."""

    world: World
    server: int
    kernel_lane: bool = True

    def attach(self) -> None:
        self.world.log.append(f"attach {self.server}")

    def server_runs(self) -> bool:
        return self.world.server == self.server

    def homes(self) -> dict[Home, tuple[Network, ...]]:
        return dict(self.world.homes)

    def way(self, home: Home | None = None, holder: int | None = None) -> Passage:
        return cast(Passage, Parts(self.world, f" {home.lane}" if home else "", holder))

    def detach(self) -> None:
        self.world.log.append("detach")


@dataclass
class Parts:
    """As `Passage`."""

    world: World
    suffix: str
    holder: int | None

    def holder_runs(self) -> bool:
        return self.holder in self.world.joiners.values()

    def lacking(self) -> list[Callable[[], None]]:
        parts = [f"{part}{self.suffix}" for part in ("pasta", "lane")]
        missing = [part for part in parts if part not in self.world.running]
        return [lambda part=part: self.start(part) for part in missing]  # type: ignore[misc]

    def start(self, part: str) -> None:
        if part in self.world.failing:
            raise self.world.failing[part]
        self.world.log.append(f"start {part}")
        self.world.running.add(part)

    def route(self, subnets: tuple[Network, ...]) -> None:
        if f"route{self.suffix}" in self.world.failing:
            raise self.world.failing[f"route{self.suffix}"]
        self.world.log.append(f"route{self.suffix} {' '.join(map(str, subnets))}")

    def inform(self) -> None:
        self.world.informed[self.suffix] = self.world.informed.get(self.suffix, 0) + 1

    def detach(self) -> None:
        self.world.running -= {f"pasta{self.suffix}", f"lane{self.suffix}"}
        self.world.log.append(f"end{self.suffix}")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    made = World()
    monkeypatch.setattr(module, "ATTACHED", tmp_path / "attached")
    monkeypatch.setattr(module, "detach_name", lambda: None)
    monkeypatch.setattr(module, "find_server", lambda _: made.server)
    monkeypatch.setattr(module, "Attachment", lambda pid, *_: cast(Attachment, Server(made, pid)))
    monkeypatch.setattr(module, "WAYS", tmp_path / "ways")
    monkeypatch.setattr(joined, "WAYS", tmp_path / "ways")
    monkeypatch.setattr(joined, "find_joiner", lambda _, key: made.joiners.get(key))
    return made


def run(world: World, *script: Callable[[], None]) -> None:
    world.script[:] = script
    Supervisor("token", LINK, cast(Signals, world), cast(PingGroups, world)).run()


def attached() -> bool:
    return module.ATTACHED.exists()


def nothing() -> None: ...


def test_everything_is_started_once_and_taken_back(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    run(world, lambda: world.log.append(f"attached: {attached()}"), nothing, nothing)
    assert world.log == [
        *("widen", "attach 7", "widen", "start pasta", "start lane", "attached: True"),
        *("end", "detach", "restore"),
    ]
    assert not attached()
    assert capsys.readouterr().err.splitlines() == [
        "relay: attached to the server (process 7), TCP by the kernel",
        "relay: ending",
    ]


@pytest.mark.parametrize("part", ["pasta", "lane"])
def test_a_part_that_ended_is_started_again_and_the_other_left(world: World, part: str) -> None:
    run(world, lambda: world.running.discard(part), nothing)
    starts = [line for line in world.log if line.startswith("start")]
    assert starts == ["start pasta", "start lane", f"start {part}"]
    assert world.log.count("detach") == 1


def test_another_server_process_gets_everything_anew(world: World) -> None:
    run(world, lambda: setattr(world, "server", 8), nothing)
    assert world.log.index("detach") < world.log.index("attach 8")
    assert world.log.count("start lane") == 2


def test_it_waits_for_a_server_ever_longer_and_says_so_once(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.server = None
    run(world, *[nothing] * 6, lambda: setattr(world, "server", 9), nothing)
    assert world.waits[:7] == [0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0]
    assert "start lane" in world.log
    assert capsys.readouterr().err.splitlines()[:2] == [
        "relay: waiting for the server",
        "relay: attached to the server (process 9), TCP by the kernel",
    ]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("no tap"), "cannot attach: no tap"),
        (
            subprocess.CalledProcessError(2, ["ip", "x"], stderr=b"why\n"),
            "cannot attach: ip x: why",
        ),
        (subprocess.CalledProcessError(2, ["ip", "x"]), "cannot attach: ip x: 2"),
    ],
)
def test_a_part_that_does_not_start_leaves_the_other_running(
    world: World, capsys: pytest.CaptureFixture[str], error: Exception, said: str
) -> None:
    world.failing["lane"] = error
    run(world, lambda: world.log.append(f"attached: {attached()}"), nothing, world.failing.clear)
    assert "attached: False" in world.log
    assert world.log.count("start pasta") == 1
    assert capsys.readouterr().err.splitlines()[0] == f"relay: {said}"


def marks() -> dict[str, str]:
    return {path.name: path.read_text() for path in joined.WAYS.glob("*")}


def pause() -> None:
    """Longer than the pause between two tries."""
    time.sleep(1.1)


def test_ways_of_joiners_follow_the_list_and_the_joiners(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[dict[str, str]] = []
    world.homes, world.joiners = {ONE: (PODS,), TWO: (OTHER,)}, {"one": 21}

    def look() -> None:
        seen.append(marks())

    def come() -> None:
        look()
        world.joiners["two"] = 22
        pause()

    def go() -> None:
        look()
        del world.joiners["one"]
        world.homes = {TWO: (OTHER, PODS)}

    run(world, come, go, look)
    assert seen == [{"1": "one"}, {"1": "one", "2": "two"}, {"2": "two"}]
    told = [line for line in world.log if line.endswith(("1", "16", "2"))]
    assert told[:4] == ["start pasta 1", "start lane 1", f"route 1 {PODS}", f"route 1 {PODS}"]
    assert told[4:7] == ["start pasta 2", "start lane 2", f"route 2 {OTHER}"]
    assert told[7:] == ["end 1", *[f"route 2 {OTHER} {PODS}"] * 2, "end 2"]
    assert capsys.readouterr().err.splitlines() == [
        "relay: attached to the server (process 7), TCP by the kernel",
        *("relay: joiner 1: attached", "relay: joiner 2: waiting for it"),
        *("relay: joiner 2: attached", "relay: joiner 1: ended", "relay: ending"),
        "relay: joiner 2: ended",
    ]


def test_a_way_that_does_not_start_holds_up_no_other(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.homes = {ONE: (PODS,), TWO: (OTHER,)}
    world.joiners = {"one": 21, "two": 22}
    world.failing["pasta 1"] = OSError("no interface")
    run(world, nothing, lambda: world.log.append(f"attached: {attached()} {marks()}"), pause)
    assert "attached: True {'2': 'two'}" in world.log
    assert world.log.count("start lane 1") == world.log.count("start lane 2") == 1
    said = capsys.readouterr().err.splitlines()
    assert said.count("relay: joiner 1: cannot attach: no interface") == 1


def test_a_way_whose_routes_come_later_is_marked_then(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[dict[str, str]] = []
    world.homes, world.joiners = {ONE: (PODS,)}, {"one": 21}
    world.failing["route 1"] = subprocess.CalledProcessError(2, ["ip"], stderr=b"busy")

    def heal() -> None:
        seen.append(marks())
        world.failing.clear()
        pause()

    run(world, heal, lambda: seen.append(marks()), nothing)
    assert seen == [{}, {"1": "one"}]
    assert world.log.count("start lane 1") == 1
    assert capsys.readouterr().err.count("joiner 1: attached") == 1


def test_every_lane_hears_of_the_list_at_each_look(world: World) -> None:
    """Also where another part of its way does not start."""
    world.homes, world.joiners = {ONE: (PODS,)}, {"one": 21}
    world.failing = {"pasta": OSError("no tap"), "pasta 1": OSError("no tap")}
    run(world, nothing, nothing)
    assert world.informed == {"": 3, " 1": 3}


def test_a_joiner_that_took_the_number_of_another_gets_a_way_of_its_own(world: World) -> None:
    world.homes, world.joiners = {ONE: (PODS,)}, {"one": 21, "next": 23}
    run(world, lambda: setattr(world, "homes", {Home(1, "next"): (PODS,)}), nothing)
    ended = world.log.index("end 1")
    assert "start pasta 1" in world.log[:ended] and "start pasta 1" in world.log[ended:]
    assert world.running == set()


def test_another_server_process_gets_the_ways_anew(world: World) -> None:
    world.homes, world.joiners = {ONE: (PODS,)}, {"one": 21}
    run(world, lambda: setattr(world, "server", 8), nothing)
    assert world.log.index("end 1") < world.log.index("attach 8")
    assert world.log.count("start lane 1") == 2


def test_signals_cut_a_wait_short() -> None:
    """In a process of its own, as it takes the signals over."""
    code = (
        "import os, signal, time\n"
        "from macnet.relay.supervisor import Signals, Stopped\n"
        "signals = Signals()\n"
        "began = time.monotonic()\n"
        "for number in (signal.SIGCHLD, signal.SIGIO):\n"
        "    os.kill(os.getpid(), number)\n"
        "    signals.wait(20)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "try:\n"
        "    signals.wait(20)\n"
        "except Stopped:\n"
        "    print(time.monotonic() - began < 10)\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout == "True\n"
