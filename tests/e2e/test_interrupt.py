"""Setup is safe to end at any stage, by Ctrl-C and by SIGKILL: the next one finishes the work."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.proxy import EngineProxy
from tests.e2e.steps import PROGRAM, Mac, wait_until
from tests.e2e.world import look
from tests.lab.process import Running

STAGES = (
    "looking at the engine",
    "preparing keys",
    "building the helper image",
    "starting the server",
    "setting the server's routes",
    "starting the relay",
    "writing the profile",
    "connecting openvpn",
    "waiting for traffic",
)
#: Runs macnet, which gets a signal as soon as it begins the named stage.
_AT_STAGE = """
import os, sys
from macnet.cli.output import Output
from macnet.__main__ import main

number, wanted = int(sys.argv[1]), sys.argv[2]
begin = Output.start

def start(self, stage):
    begin(self, stage)
    if stage == wanted:
        os.kill(os.getpid(), number)

Output.start = start
sys.argv[1:] = ["setup"]
sys.exit(main())
"""
#: Work that the engine has done, but of which macnet never hears, and the stage that asked for it.
_UNHEARD = [
    (r"^POST /v[\d.]+/build", "building the helper image"),
    (r"^POST .*/containers/create\?name=macnet-server", "starting the server"),
    (r"^PUT .*/archive", "starting the server"),
    (r"^POST .*/containers/\w+/start", "starting the server"),
    (r"^POST .*/containers/create\?name=macnet-relay", "starting the relay"),
]


def finishes(mac: Mac) -> None:
    """Whether a plain setup makes of what there is a tunnel, one client and nothing else."""
    mac.macnet("setup")
    assert mac.pings(mac.lab.sample.address("web"))
    assert mac.pings(mac.lab.sample.address("app-web"))
    assert mac.macnet_names() == ["macnet-relay", "macnet-server"]
    assert len(mac.clients()) == 1
    assert not [name for name in mac.files() if ".damaged-" in name]
    assert "Nothing had to change." in mac.macnet("setup").stdout


def at_stage(mac: Mac, number: int, stage: str) -> tuple[int, str]:
    """Run setup, which gets the signal in that stage: its exit code and what it said."""
    argv = [sys.executable, "-c", _AT_STAGE, str(number), stage]
    done = mac.lab.run(argv, check=False, env=mac.environment())
    return done.returncode, done.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_ended_at_the_start_of_a_stage(clean: Mac, stage: str) -> None:
    """By Ctrl-C, then by SIGKILL at the same place."""
    code, said = at_stage(clean, signal.SIGINT, stage)
    assert code == 130
    assert f"interrupted while {stage}" in said
    assert "hint: " in said
    assert "Traceback" not in said
    assert at_stage(clean, signal.SIGKILL, stage)[0] == -signal.SIGKILL
    finishes(clean)


@contextmanager
def running_setup(mac: Mac, proxy: EngineProxy | None = None) -> Iterator[Running]:
    """Run setup in a process group of its own, as a shell does, and leave nothing of it."""
    env = mac.environment({"DOCKER_HOST": proxy.url} if proxy else {})
    with mac.lab.popen(["setsid", PROGRAM, "setup"], env=env) as running:
        try:
            yield running
        finally:
            running.kill()


def press_ctrl_c(running: Running) -> str:
    """What a terminal does: the signal goes to the whole foreground process group."""
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130, said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(("unheard", "stage"), _UNHEARD)
def test_ended_before_it_heard_of_what_the_engine_did(mac: Mac, unheard: str, stage: str) -> None:
    mac.macnet("down", *(("--purge",) if "image" in stage else ()))
    socket = mac.lab.paths.home / "held.sock"
    with (
        EngineProxy(socket, mac.lab.engine.socket, hold=unheard) as proxy,
        running_setup(mac, proxy) as running,
    ):
        assert proxy.held.wait(20)
        assert f"interrupted while {stage}" in press_ctrl_c(running)
    with (
        EngineProxy(socket, mac.lab.engine.socket, hold=unheard) as proxy,
        running_setup(mac, proxy) as running,
    ):
        assert proxy.held.wait(20)
        running.kill()
        assert running.wait(10) == -signal.SIGKILL
    finishes(mac)


@contextmanager
def dropped(mac: Mac, *packets: str) -> Iterator[None]:
    """Drop what the Mac side sends of these packets."""
    rule = ["OUTPUT", *packets, "-j", "DROP"]
    mac.lab.run(["iptables", "-w", "-I", *rule])
    try:
        yield
    finally:
        mac.lab.run(["iptables", "-w", "-D", *rule])


def lost_packets(mac: Mac) -> int:
    """How many packets the rules of `dropped` have taken so far."""
    listed = mac.lab.run(["iptables", "-w", "-vnxL", "OUTPUT"]).stdout
    return sum(int(line.split()[0]) for line in listed.splitlines() if " DROP " in line)


@pytest.mark.parametrize("ctrl_c", [True, False])
def test_ended_while_the_client_connects(clean: Mac, ctrl_c: bool) -> None:
    def tries() -> bool:
        log = clean.root / "openvpn.log"
        return log.exists() and "Attempting to establish TCP" in log.read_text()

    port = ("-o", "lo", "-p", "tcp", "--dport", "13194")
    with dropped(clean, *port), running_setup(clean) as running:
        wait_until(tries, 20, "an openvpn that tries to connect")
        if ctrl_c:
            assert "interrupted while connecting openvpn" in press_ctrl_c(running)
            # What has only half started must not stay.
            assert clean.clients() == []
        else:
            running.kill()
            running.wait(10)
            assert len(clean.clients()) == 1
    finishes(clean)


@pytest.mark.parametrize("ctrl_c", [True, False])
def test_ended_while_it_waits_for_traffic(clean: Mac, ctrl_c: bool) -> None:
    with dropped(clean, "-p", "icmp"), running_setup(clean) as running:
        assert running.stderr is not None
        assert any("connecting openvpn" in line for line in running.stderr)
        # The line tells of the end of a stage; a ping on its way shows that the next one runs.
        before = lost_packets(clean)
        wait_until(lambda: lost_packets(clean) > before, 10, "a ping through the tunnel")
        if ctrl_c:
            assert "interrupted while waiting for traffic" in press_ctrl_c(running)
        else:
            running.kill()
            running.wait(10)
    finishes(clean)


def test_two_at_once(clean: Mac) -> None:
    socket = clean.lab.paths.home / "held.sock"
    with (
        EngineProxy(socket, clean.lab.engine.socket, hold=r"^GET .*/networks") as proxy,
        running_setup(clean, proxy) as first,
    ):
        assert proxy.held.wait(20)
        before = look(clean)
        for command in ("setup", "regenerate", "down"):
            assert f"another macnet (pid {first.pid})" in clean.fails(8, command)
        failed = clean.json("setup", check=False)["error"]
        assert (failed["code"], failed["exit_code"]) == ("busy", 8)
        assert look(clean) == before


def test_ctrl_c_during_down_leaves_a_state_that_down_finishes(up: Mac) -> None:
    socket = up.lab.paths.home / "held.sock"
    with EngineProxy(socket, up.lab.engine.socket, hold=r"^DELETE .*/containers/") as proxy:
        env = up.environment({"DOCKER_HOST": proxy.url})
        with up.lab.popen(["setsid", PROGRAM, "down", "--purge"], env=env) as running:
            assert proxy.held.wait(20)
            assert re.search("interrupted while removing the helper", press_ctrl_c(running))
    up.macnet("down", "--purge")
    assert up.macnet_names() == []
    assert up.files() == {}


def test_a_half_written_file_is_no_obstacle(clean: Mac) -> None:
    """What SIGKILL between write and rename leaves: a temporary file beside the real one."""
    root: Path = clean.root
    (root / "pki").mkdir(parents=True)
    (root / ".tunnel.json.abc.tmp").write_text("{")
    (root / "pki/.pki.json.abc.tmp").write_text("{")
    finishes(clean)
    clean.macnet("down", "--purge")
    assert clean.files() == {}
