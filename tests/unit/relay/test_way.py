"""What the parts of a way are started with, and what is left where one does not start."""

from __future__ import annotations

import os
import socket
import stat
import subprocess  # noqa: TID251
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import cast

import pytest

from macnet.relay import way as module
from macnet.relay.allowlist import VM, unpack_list
from macnet.relay.supervisor import Stopped
from macnet.relay.way import Link, Passage

LINK = Link("100.64.0.2", "100.64.0.1", 30)
LIST, OTHER = "172.17.0.0/16\n", "172.18.0.0/16\n"


class Started:
    """As a process that runs; ``handed`` are copies of the descriptors that it got.

    ``alone`` says whether it has a PID namespace of its own.
    """

    def __init__(self, argv: list[str], handed: Sequence[int], *, alone: bool) -> None:
        self.argv, self.alone = argv, alone
        self.handed = [os.dup(one) for one in handed]
        self.returncode: int | None = None
        self.ends: list[str] = []

    def poll(self) -> int | None:
        return self.returncode

    def terminate(self) -> None:
        self.ends.append("terminated")

    def kill(self) -> None:
        self.ends.append("killed")

    def wait(self, timeout: float | None = None) -> int:
        self.ends.append("reaped")
        self.returncode = 0
        return 0


class World:
    """What is around a way; ``allowed`` is the server's list."""

    def __init__(self) -> None:
        self.allowed: str | None = LIST
        self.started: list[Started] = []
        self.alone = False
        self.lines: list[str] = []
        #: What the next calls of `ip` end with.
        self.ip_fails: list[Exception] = []
        #: The relay is to end.
        self.stopping = False
        self.passage = Passage(
            os.getpid(), LINK, VM, None, lambda: self.allowed, self.wait, kernel_lane=True
        )

    def ip(self, family: str, *lines: str) -> None:
        self.lines += [f"{family} {line}" for line in lines]
        if self.ip_fails:
            raise self.ip_fails.pop(0)

    def wait(self, seconds: float) -> None:
        if self.stopping:
            raise Stopped
        time.sleep(seconds)

    @contextmanager
    def own_processes(self) -> Iterator[None]:
        self.alone = True
        yield
        self.alone = False

    def start(
        self, argv: list[str], *, stdin: int, pass_fds: Sequence[int], env: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        assert stdin == subprocess.DEVNULL
        assert env.keys() <= {"PATH", "PYTHONPATH"}, "the token is for nobody else"
        self.started.append(Started(argv, pass_fds, alone=self.alone))
        return cast("subprocess.Popen[bytes]", self.started[-1])


@contextmanager
def nowhere(_: int) -> Iterator[None]:
    yield


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    monkeypatch.setenv("MACNET_SERVER", "token")
    monkeypatch.setattr(module, "network_of", nowhere)
    monkeypatch.setattr(module, "own_processes", made.own_processes)
    monkeypatch.setattr(module, "open_queue", lambda _: socket.socket())
    monkeypatch.setattr(module, "open_listeners", lambda *_, **__: [socket.socket()])
    monkeypatch.setattr("macnet.relay.way.subprocess.Popen", made.start)
    yield made
    made.passage.detach()
    for one in made.started:
        for descriptor in one.handed:
            os.close(descriptor)


@pytest.fixture
def tap(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """With a server's namespace in which pasta makes its tap."""
    monkeypatch.setattr("macnet.relay.way.socket.if_nametoindex", lambda _: 1)
    monkeypatch.setattr(module, "default_interface", lambda: "eth0")
    monkeypatch.setattr(module, "_ip", world.ip)
    return world


def start_lane(world: World) -> socket.socket:
    """Its end of the lifeline."""
    world.passage.lacking()[-1]()
    lifeline = socket.socket(fileno=world.started[-1].handed.pop(0))
    lifeline.setblocking(False)
    return lifeline


def test_the_lane_gets_sockets_and_no_file(world: World) -> None:
    """A descriptor of a folder in the server would open all files beside and above."""
    world.passage.lacking()[-1]()
    handed = world.started[-1].handed
    assert len(handed) == 3
    assert all(stat.S_ISSOCK(os.fstat(one).st_mode) for one in handed)


def test_the_lane_is_kept_from_files_and_processes_beside(world: World) -> None:
    """Before it is anything else: from then on its namespaces are its own."""
    world.passage.lacking()[-1]()
    (lane,) = world.started
    assert lane.argv[:4] == ["unshare", "--mount", "sh", "-c"]
    assert lane.argv.index("sh") < lane.argv.index("capsh")
    assert lane.alone


def test_the_lane_is_told_each_list_once(world: World) -> None:
    with start_lane(world) as lifeline:
        assert unpack_list(lifeline.recv(1000)) == LIST
        world.passage.inform()
        with pytest.raises(BlockingIOError):
            lifeline.recv(1000)
        world.allowed = OTHER
        world.passage.inform()
        assert unpack_list(lifeline.recv(1000)) == OTHER
        world.passage.detach()
        assert lifeline.recv(1000) == b"", "it is to end"
    assert world.started[-1].ends == ["killed", "reaped"]


def test_a_lane_that_is_started_again_is_told_again(world: World) -> None:
    start_lane(world).close()
    world.started[-1].returncode = 1
    world.passage.inform()
    with start_lane(world) as lifeline:
        assert unpack_list(lifeline.recv(1000)) == LIST


def test_a_list_that_a_lane_does_not_take_is_offered_again(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    with start_lane(world) as lifeline:
        last = ""
        for number in range(10_000):
            last = world.allowed = f"10.0.{number % 256}.0/24\n" * (1 + number % 2)
            world.passage.inform()
            if "does not take" in (said := capfd.readouterr().err):
                assert said == "relay: the TCP lane does not take the new list: " + (
                    "Resource temporarily unavailable\n"
                )
                break
        assert unpack_list(lifeline.recv(1000)) == LIST
        for _ in range(2):
            world.passage.inform()
        assert capfd.readouterr().err == ""
        heard = ""
        while True:
            try:
                heard = unpack_list(lifeline.recv(1000))
            except BlockingIOError:
                break
        assert heard == last


def parts(world: World) -> list[str]:
    return [part.__name__ for part in world.passage.lacking()]


def test_pasta_gets_an_address_and_a_route(tap: World) -> None:
    tap.passage.lacking()[0]()
    assert parts(tap) == ["_start_lane"]
    assert tap.lines[:3] == [
        "-4 addr replace 100.64.0.2/30 dev relay0",
        "-4 link set relay0 mtu 65520 up",
        "-4 route replace default via 100.64.0.1 dev relay0 table 100",
    ]


def test_a_pasta_without_an_address_is_started_again(tap: World) -> None:
    """It would run for ever and carry nothing."""
    tap.ip_fails = [subprocess.CalledProcessError(2, ["ip"])]
    with pytest.raises(subprocess.CalledProcessError):
        tap.passage.lacking()[0]()
    assert tap.started[0].ends == ["killed", "reaped"]
    assert parts(tap) == ["_start_pasta", "_start_lane"]
    tap.passage.lacking()[0]()
    assert parts(tap) == ["_start_lane"]


def no_interface(_: str) -> int:
    raise OSError("no such interface")


def test_the_wait_for_an_interface_ends_with_the_relay(
    tap: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could take longer than the engine waits until it kills."""
    monkeypatch.setattr("macnet.relay.way.socket.if_nametoindex", no_interface)
    tap.stopping, began = True, time.monotonic()
    with pytest.raises(Stopped):
        tap.passage.lacking()[0]()
    assert time.monotonic() - began < 2
    assert tap.started[0].ends == ["killed", "reaped"]


def test_a_pasta_that_makes_no_interface_is_killed(
    tap: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("macnet.relay.way.socket.if_nametoindex", no_interface)
    monkeypatch.setattr(module, "_SETUP_S", 0.1)
    with pytest.raises(OSError, match=r"^pasta has not made relay0$"):
        tap.passage.lacking()[0]()
    assert tap.started[0].ends == ["killed", "reaped"]
    assert parts(tap) == ["_start_pasta", "_start_lane"]


NETS = (ip_network("10.20.0.0/16"), ip_network("fd00:20::/64"))
ROUTES = (
    "-4 route replace 10.20.0.0/16 via 100.64.0.1 dev relay0 table 100",
    "-6 route replace fd00:20::/64 via fd77:6d61:636e::1 dev relay0 table 100",
)


@pytest.mark.parametrize(
    ("kernel", "server", "routes"),
    [(True, True, ROUTES), (True, False, ROUTES[:1]), (False, False, ROUTES[:1])],
)
def test_ipv6_is_passed_over_where_there_is_none(
    tap: World,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kernel: bool,
    server: bool,
    routes: Sequence[str],
) -> None:
    """What else is behind the same joiner is reached."""

    def ip(family: str, *lines: str) -> None:
        tap.lines += [f"{family} {line}" for line in lines]
        if family == "-6" and not server:
            raise subprocess.CalledProcessError(2, ["ip"])

    monkeypatch.setattr(module, "IPV6", tmp_path if kernel else tmp_path / "none")
    monkeypatch.setattr(module, "_ip", ip)
    tap.passage.lacking()[0]()
    for added in (routes, ()):
        tap.lines.clear()
        tap.passage.route(NETS)
        assert tap.lines == [*added]


@pytest.mark.parametrize(
    ("said", "interface"),
    [
        ({"-4": "2: eth0    inet 172.18.0.2/16 scope global eth0"}, "eth0"),
        ({"-6": "7: eth1    inet6 fd00:82::2/64 scope global nodad"}, "eth1"),
        ({"-4": "2: eth0    inet 172.18.0.2/16", "-6": "7: eth1    inet6 fd00::2/64"}, "eth0"),
    ],
)
def test_an_interface_with_either_kind_of_address(
    tap: World, monkeypatch: pytest.MonkeyPatch, said: Mapping[str, str], interface: str
) -> None:
    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, 0, said.get(argv[1], ""), "")

    monkeypatch.setattr(module, "default_interface", lambda: None)
    monkeypatch.setattr("macnet.relay.way.subprocess.run", run)
    tap.passage.lacking()[0]()
    argv = tap.started[-1].argv
    assert argv[argv.index("-i") + 1] == interface


def test_a_namespace_without_any_address_is_told(
    tap: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "default_interface", lambda: None)
    monkeypatch.setattr(
        "macnet.relay.way.subprocess.run",
        lambda argv, **_: subprocess.CompletedProcess(argv, 1, "", "no"),
    )
    with pytest.raises(OSError, match="no interface with an address"):
        tap.passage.lacking()[0]()
