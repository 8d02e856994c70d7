"""`macnet watch` keeps the routes right while networks and the engine come and go."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import pytest

from macnet.tunnel import follow
from tests.e2e.steps import PROGRAM, Mac, wait_until
from tests.e2e.test_heal import kill, main_process
from tests.e2e.world import (
    answers,
    assert_traffic,
    conversation,
    make_network,
    network,
    remove_network,
)
from tests.json_schema import validate
from tests.lab.process import Running

SUBNET = "172.83.20.0/24"
#: Seconds for anything that watch does; it should take less than one.
SOON = 30.0


@dataclass
class Watching:
    """A running watch and the file that its lines go to."""

    process: Running
    file: Path

    @property
    def said(self) -> str:
        return self.file.read_text()

    def wait_for(self, words: str, times: int = 1) -> None:
        wait_until(lambda: self.said.count(words) >= times, SOON, f"{words!r} in {self.said!r}")

    def end(self, signum: int) -> int:
        self.process.send_signal(signum)
        return self.process.wait(20)


@contextmanager
def watch(mac: Mac, file: Path, *words: str) -> Iterator[Watching]:
    """Watch while the block runs."""
    argv = [PROGRAM, "watch", *words]
    with file.open("w") as out:
        process = mac.lab.popen(argv, env=mac.environment(), stdout=out, stderr=out)
    watching = Watching(process, file)
    try:
        watching.wait_for("following the engine")
        yield watching
        assert "Traceback" not in watching.said
    finally:
        process.kill()
        process.wait(10)


def test_a_setup_beside_it_counts(up: Mac, tmp_path: Path) -> None:
    """Watch does not bring back what another command has just left out."""
    with watch(up, tmp_path / "said") as watching:
        try:
            up.macnet("setup", "--exclude", "noicc")
            make_network(up.lab, "watched", "--subnet", SUBNET)
            watching.wait_for(f"+ {SUBNET} watched")
        finally:
            remove_network(up.lab, "watched")
        watching.wait_for(f"- {SUBNET}")
        # A later look than those, so that it is no question of time.
        up.macnet("watch", "--once")
        assert "noicc" not in watching.said
        routed = [row for row in up.json("networks")["networks"] if row["subnets"]]
        assert "noicc" not in {row["network"]["name"] for row in routed}
        assert not up.pings(up.lab.sample.address("noicc-web"), wait_s=1)
    up.macnet("setup", "--exclude", "")
    assert_traffic(up)


def test_a_network_comes_and_goes(up: Mac, tmp_path: Path) -> None:
    with watch(up, tmp_path / "said") as watching:
        try:
            address = make_network(up.lab, "watched", "--subnet", SUBNET)
            wait_until(lambda: up.pings(address, wait_s=0.3), SOON, "an answer")
            watching.wait_for(f"+ {SUBNET} watched")
        finally:
            remove_network(up.lab, "watched")
        watching.wait_for(f"- {SUBNET}")
        wait_until(lambda: SUBNET not in up.lab.run(["ip", "route"]).stdout, SOON, "no route")
        # The client connects anew, which takes a moment.
        web = up.lab.sample.address("web")
        wait_until(lambda: up.pings(web, wait_s=0.3), SOON, "an answer")
        assert_traffic(up)
        assert watching.end(signal.SIGTERM) == 0


@pytest.mark.alone
def test_a_new_network_answers_within_two_seconds_and_open_connections_stay(
    up: Mac, tmp_path: Path
) -> None:
    """At the median of seven, from `docker network create` to a ping of its bridge."""
    took = []
    with watch(up, tmp_path / "said") as watching, conversation(up) as talk:
        for number in range(7):
            name, subnet = f"quick{number}", f"172.83.3{number}"
            try:
                began = time.monotonic()
                up.lab.docker("network", "create", "--subnet", f"{subnet}.0/24", name)
                wait_until(partial(up.pings, f"{subnet}.1", wait_s=0.1), SOON, "an answer")
                took.append(time.monotonic() - began)
                assert answers(talk)
            finally:
                remove_network(up.lab, name)
            watching.wait_for(f"- {subnet}.0/24")
            # Until the client is back: a change that finds it connecting waits for that too.
            web = up.lab.sample.address("web")
            time.sleep(0.5)
            wait_until(partial(up.pings, web, wait_s=0.1), SOON, "an answer")
        assert watching.end(signal.SIGTERM) == 0
    assert median(took) < 2, took


def test_ctrl_c_ends_it_well(up: Mac, tmp_path: Path) -> None:
    with watch(up, tmp_path / "said") as watching:
        assert watching.end(signal.SIGINT) == 0


def test_json_lines(up: Mac, tmp_path: Path) -> None:
    with (
        watch(up, tmp_path / "said", "--json") as watching,
        network(up.lab, "watched", "--subnet", SUBNET),
    ):
        watching.wait_for(f"+ {SUBNET}")
        assert watching.end(signal.SIGTERM) == 0
    lines = [validate(json.loads(line)) for line in watching.said.splitlines()]
    assert {(line["version"], line["kind"]) for line in lines} == {(1, "watch")}
    assert [line["watch"]["kind"] for line in lines] == ["ready", "routes"]
    assert lines[1]["watch"]["added"] == [SUBNET]


def test_the_engine_restarts(up: Mac, tmp_path: Path) -> None:
    lab = up.lab
    with watch(up, tmp_path / "said") as watching:
        lab.engine.stop()
        try:
            watching.wait_for("waiting for the engine: ")
        finally:
            lab.engine.start()
            lab.sample.wait_ready()
        watching.wait_for("the engine is back")
        with network(lab, "watched", "--subnet", SUBNET) as address:
            watching.wait_for(f"+ {SUBNET} watched")
            wait_until(lambda: up.pings(address, wait_s=0.3), 60, "an answer")
            assert_traffic(up)
        assert watching.said.count("the engine is back") == 1
        assert watching.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("container", ["macnet-server", "macnet-relay"])
def test_a_removed_container_is_made_again(up: Mac, tmp_path: Path, container: str) -> None:
    with watch(up, tmp_path / "said") as watching:
        up.lab.docker("rm", "-f", container)
        watching.wait_for(f"{container} did not run; it is started again")
        web = up.lab.sample.address("web")
        wait_until(lambda: up.pings(web, wait_s=0.3), 60, "an answer")
        assert watching.end(signal.SIGTERM) == 0
    assert "Nothing had to change." in up.macnet("setup").stdout


@pytest.mark.parametrize("container", ["macnet-server", "macnet-relay"])
def test_a_killed_container_is_made_again(up: Mac, tmp_path: Path, container: str) -> None:
    """The engine starts none again after `docker kill`, and says nothing but that it ended."""
    with watch(up, tmp_path / "said") as watching:
        began = time.monotonic()
        up.lab.docker("kill", container)
        watching.wait_for(f"{container} did not run; it is started again")
        assert time.monotonic() - began < follow.LOOK_S / 3
        web = up.lab.sample.address("web")
        wait_until(lambda: up.pings(web, wait_s=0.3), SOON, "an answer")
        assert watching.end(signal.SIGTERM) == 0


@pytest.mark.alone  # a restart has 1.5 s
@pytest.mark.parametrize("container", ["macnet-server", "macnet-relay"])
def test_a_container_that_starts_again_is_left_to_the_engine(
    up: Mac, tmp_path: Path, container: str
) -> None:
    before, later = up.containers(), "172.83.21.0/24"
    with watch(up, tmp_path / "said") as watching, network(up.lab, "watched", "--subnet", SUBNET):
        # The first look is over; one that finds it in between would make it anew.
        watching.wait_for(f"+ {SUBNET} watched")
        assert kill(main_process(up, container)).wait_gone(5)
        web = up.lab.sample.address("web")
        wait_until(lambda: up.pings(web, wait_s=0.3), SOON, "an answer")
        up.lab.docker("restart", "-t", "1", container)
        # The looks that there were have ended by this one.
        with network(up.lab, "later", "--subnet", later):
            watching.wait_for(f"+ {later} later")
        wait_until(lambda: up.pings(web, wait_s=0.3), SOON, "an answer")
        assert "did not run" not in watching.said
        assert watching.end(signal.SIGTERM) == 0
    assert up.containers() == before


def test_a_network_takes_the_tunnels_subnet(up: Mac, tmp_path: Path) -> None:
    subnet = up.json("status")["status"]["tunnel_subnet"]
    with watch(up, tmp_path / "said") as watching, network(up.lab, "greedy", "--subnet", subnet):
        web = up.lab.sample.address("web")
        wait_until(
            lambda: up.json("status", check=False)["status"]["tunnel_subnet"] != subnet,
            SOON,
            "move",
        )
        wait_until(lambda: up.pings(web, wait_s=0.3), 60, "an answer")
        assert watching.end(signal.SIGTERM) == 0
        assert up.macnet("status").returncode == 0


def test_a_stopped_relay_is_started_again(up: Mac, tmp_path: Path) -> None:
    with watch(up, tmp_path / "said") as watching:
        up.lab.docker("stop", "-t", "1", "macnet-relay")
        watching.wait_for("macnet-relay did not run; it is started again")
        wait_until(lambda: up.pings(up.lab.sample.address("web"), wait_s=0.3), SOON, "an answer")
        assert watching.end(signal.SIGTERM) == 0


def test_watch_waits_for_a_setup(clean: Mac, tmp_path: Path) -> None:
    with watch(clean, tmp_path / "said") as watching:
        watching.wait_for("there is no tunnel: `macnet setup` makes one")
        clean.macnet("setup")
        with network(clean.lab, "watched", "--subnet", SUBNET) as address:
            wait_until(lambda: clean.pings(address, wait_s=0.3), SOON, "an answer")
        clean.macnet("down")
        # Down is not a fault to mend.
        watching.wait_for("there is no tunnel", times=2)
        assert clean.containers() == {}
        assert watching.end(signal.SIGTERM) == 0


def test_once(up: Mac) -> None:
    assert up.macnet("watch", "--once").stdout == ""
    with network(up.lab, "watched", "--subnet", SUBNET) as address:
        done = up.macnet("watch", "--once")
        assert f"+ {SUBNET} watched" in done.stdout
        wait_until(lambda: up.pings(address, wait_s=0.3), SOON, "an answer")
    assert f"- {SUBNET}" in up.macnet("watch", "--once").stdout
    up.macnet("down")
    assert "there is no tunnel" in up.macnet("watch", "--once").stdout
