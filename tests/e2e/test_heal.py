"""What ends on its own comes back on its own: no command of macnet's in between."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.steps import LANE, Mac, wait_until
from tests.e2e.world import answers, conversation
from tests.lab import SINK_PORT, Engine
from tests.lab.process import PIPE, ProcessId

#: Connects, waits for a line, sends 20 kB and the end, and waits for the other end's.
_HELD = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)
print("open", flush=True)
sys.stdin.readline()
s.settimeout(3)
for _ in range(20):
    s.sendall(b"x" * 1000)
s.shutdown(socket.SHUT_WR)
print("closed" if s.recv(1) == b"" else "data", flush=True)
"""
#: Seconds until containers answer again after one process or container went away, on a machine
#: that runs other tests meanwhile. `test_faults.py` holds it to the three that it takes.
PART_S = 10
#: The same after the engine went away, counted from when it answers again.
ENGINE_S = 30


def main_process(mac: Mac, container: str) -> ProcessId:
    """The first process of a container, whatever id it has inside."""
    pid = int(mac.lab.docker("inspect", "-f", "{{.State.Pid}}", container))
    process = ProcessId.of(pid)
    assert process is not None
    return process


def relay_part(mac: Mac, name: str) -> ProcessId:
    """What the relay has started under this name."""
    parent = main_process(mac, "macnet-relay").pid
    found: list[int] = []

    def one() -> bool:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        found.clear()
        # What else there is may end meanwhile, and then the list is not whole (proc(5)).
        for pid in map(int, children):
            with suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().startswith(name):
                    found.append(pid)
        return len(found) == 1

    wait_until(one, PART_S, f"one {name} of the relay")
    process = ProcessId.of(found[0])
    assert process is not None
    return process


def pasta(mac: Mac) -> ProcessId:
    """The pasta that the relay has started, as pasta or pasta.avx2."""
    return relay_part(mac, "pasta")


def lane(mac: Mac) -> ProcessId:
    """The process that carries TCP."""
    return relay_part(mac, "python3")


def kill_main(container: str) -> Callable[[Mac], ProcessId]:
    return lambda mac: kill(main_process(mac, container))


def kill(process: ProcessId) -> ProcessId:
    process.send(signal.SIGKILL)
    return process


def restart(container: str) -> Callable[[Mac], ProcessId]:
    def act(mac: Mac) -> ProcessId:
        before = main_process(mac, container)
        mac.lab.docker("restart", "--time", "2", container)
        return before

    return act


def wait_healed(mac: Mac, timeout_s: float, report: str) -> None:
    """Wait for HTTP to a container on a user network; prints how long it took.

    Each try is short: one that has lost its first packet waits a second for nothing.
    """
    url = f"http://{mac.lab.sample.address('app-web')}/"
    argv = ["curl", "-sSf", "--connect-timeout", "0.3", "-m", "1", "-o", "/dev/null", url]

    def answers() -> bool:
        return mac.lab.run(argv, check=False).returncode == 0

    took = wait_until(answers, timeout_s, f"{report}: an answer from {url}")
    print(f"{report}: healed after {took:.1f} s")


PARTS: dict[str, Callable[[Mac], ProcessId]] = {
    "openvpn in the server killed": kill_main("macnet-server"),
    "relay killed": kill_main("macnet-relay"),
    "pasta killed": lambda mac: kill(pasta(mac)),
    **({"TCP lane killed": lambda mac: kill(lane(mac))} if LANE == "kernel" else {}),
    "server restarted": restart("macnet-server"),
    "relay restarted": restart("macnet-relay"),
}


@pytest.mark.parametrize("what", PARTS)
def test_a_part_that_ends_comes_back(up: Mac, what: str) -> None:
    wait_healed(up, PART_S, "before")
    client, containers = up.client_pid(), up.containers()
    gone = PARTS[what](up)
    assert gone.wait_gone(5)
    wait_healed(up, PART_S, what)
    # Podman ends what a killed process leaves some time later, and lists the new one later still.
    web = up.lab.sample.address("web")
    wait_until(lambda: up.pings(web, wait_s=0.3), PART_S, f"{what}: a ping is answered")
    assert up.client_pid() == client
    wait_until(lambda: up.containers() == containers, PART_S, "the same containers")


def test_pasta_killed_again_and_again(up: Mac) -> None:
    """The relay starts another one each time, and then leaves that alone.

    TCP does not notice where the kernel carries it.
    """
    web = up.lab.sample.address("web")
    with conversation(up) as talk:
        for _ in range(25):
            old = pasta(up)
            kill(old)
            assert old.wait_gone(5)
            assert LANE == "pasta" or answers(talk)
            wait_until(lambda: up.pings(web, wait_s=0.3), PART_S, "pasta killed: a ping")
    last = pasta(up)
    assert last != old
    time.sleep(2)
    assert last.alive()


def test_the_relay_carries_nothing_while_it_is_stopped(up: Mac) -> None:
    """Then connections fail at once, however many are tried; its start heals."""
    address = up.lab.sample.address("app-web")
    up.lab.docker("stop", "--time", "1", "macnet-relay")
    for target in (address, up.lab.sample.address6("six-web")):
        # But for the few whose error Linux loses while it is still connecting.
        ends = [up.tcp(target, 80, wait_s=2) for _ in range(15)]
        assert set(ends) <= {"unreachable", "timeout"}
        assert ends.count("unreachable") >= 12, ends
    up.lab.docker("start", "macnet-relay")
    wait_healed(up, PART_S, "relay started")


def crash(engine: Engine) -> None:
    engine.kill()
    engine.start()


ENGINE: dict[str, Callable[[Engine], None]] = {
    "engine restarted": Engine.restart,
    "engine killed and started": crash,
    "VM rebooted": Engine.reboot,
}


@pytest.mark.parametrize("what", ENGINE)
def test_the_engine_comes_back_with_the_tunnel(up: Mac, what: str) -> None:
    wait_healed(up, PART_S, "before")
    client = up.client_pid()
    before = main_process(up, "macnet-server")
    ENGINE[what](up.lab.engine)
    up.lab.sample.wait_ready()
    if up.lab.engine.restarts_containers or what == "VM rebooted":
        assert not before.alive()
    wait_healed(up, ENGINE_S, what)
    assert up.pings(up.lab.sample.address("web"))
    assert up.client_pid() == client
    assert up.macnet("check").returncode == 0


def test_a_killed_client_has_one_cause_and_one_cure(up: Mac) -> None:
    process = ProcessId.of(up.client_pid())
    assert process is not None
    kill(process)
    assert process.wait_gone(5)
    report = up.json("check", check=False)["check"]
    failed = [one["id"] for one in report["results"] if one["outcome"] == "fail"]
    assert failed == ["client.connected"]
    assert up.macnet("check", check=False).returncode == 9
    up.macnet("connect")
    wait_healed(up, PART_S, "client connected")
    assert up.macnet("check").returncode == 0


def test_an_open_connection_outlives_the_start_of_other_containers(up: Mac) -> None:
    address = up.lab.sample.address("app-web")
    argv = [sys.executable, "-c", _HELD, address, str(SINK_PORT)]
    with up.lab.popen(argv, stdin=PIPE) as held:
        assert held.stdout is not None
        assert held.stdin is not None
        assert held.stdout.readline() == "open\n"
        up.lab.docker("restart", "--time", "0", "web")
        up.lab.docker("network", "create", "heal-other")
        up.macnet("regenerate")
        up.lab.docker("network", "rm", "heal-other")
        held.stdin.write("\n")
        held.stdin.flush()
        assert held.stdout.readline() == "closed\n"
