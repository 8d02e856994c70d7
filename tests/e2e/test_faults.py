"""Each row of the fault table: break it, look, heal it as the row says, within its time."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.faults import BY_ITSELF, FAULTS, STAYS_UP, Fault
from tests.e2e.steps import PROGRAM, Mac, wait_until
from tests.e2e.test_heal import kill, main_process
from tests.lab.process import ProcessId

ROWS = {row.id: row for row in FAULTS}
#: A program that holds a port until it is killed.
_SQUATTER = """
import socket, sys, time
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
time.sleep(600)
"""
#: macnet in a process whose wall clock is ahead by the seconds that a file names.
_JUMPING = """
import sys, time
from pathlib import Path
clock, now = Path(sys.argv.pop(1)), time.time
time.time = lambda: now() + float(clock.read_text() or 0)
from macnet.__main__ import main
main()
"""
Break = Callable[[Mac], None]


def kills(container: str) -> Break:
    def act(mac: Mac) -> None:
        assert kill(main_process(mac, container)).wait_gone(5)

    return act


def removes(container: str) -> Break:
    def act(mac: Mac) -> None:
        mac.lab.docker("rm", "-f", container)

    return act


def crash_engine(mac: Mac) -> None:
    mac.lab.engine.kill()
    mac.lab.engine.start()
    mac.lab.sample.wait_ready()


def client(mac: Mac) -> ProcessId:
    process = ProcessId.of(mac.client_pid())
    assert process is not None
    return process


def kill_client(mac: Mac) -> None:
    assert kill(client(mac)).wait_gone(5)


def client_asleep(mac: Mac) -> None:
    with stopped(client(mac)):
        time.sleep(90)


def delete_image(mac: Mac) -> None:
    listed = mac.lab.docker("images", "--format", "{{.Repository}}:{{.Tag}}", "macnet-helper")
    assert listed.split()
    mac.lab.docker("rmi", "-f", *listed.split())


def wipe(mac: Mac) -> None:
    shutil.rmtree(mac.lab.paths.mac_home / "tunnels")


@contextmanager
def stopped(process: ProcessId) -> Iterator[None]:
    """Stand still, and go on whatever happens."""
    process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send(signal.SIGCONT)


SIMPLE: dict[str, Break] = {
    "server-killed": kills("macnet-server"),
    "relay-killed": kills("macnet-relay"),
    "engine-killed": crash_engine,
    "client-killed": kill_client,
    "client-asleep": client_asleep,
    "server-removed": removes("macnet-server"),
    "relay-removed": removes("macnet-relay"),
    "image-deleted": delete_image,
    "state-wiped": wipe,
}


def answers(mac: Mac, address: str | None = None) -> bool:
    """Whether a container is reached; given up quickly, to be tried again."""
    url = f"http://{address or mac.lab.sample.address('app-web')}/"
    argv = ["curl", "-sSf", "--connect-timeout", "0.3", "-m", "1", "-o", "/dev/null", url]
    return mac.lab.run(argv, check=False).returncode == 0


def failed_checks(mac: Mac) -> list[str]:
    report = mac.json("check", check=False)["check"]
    return [one["id"] for one in report["results"] if one["outcome"] == "fail"]


def hold_to_its_row(mac: Mac, row: Fault) -> None:
    """After the fault: what check says, then what heals, then how soon."""
    if row.heals == STAYS_UP:
        assert answers(mac)
        return
    if row.check is not None:
        assert failed_checks(mac) == [row.check]
    if row.heals != BY_ITSELF:
        mac.macnet(*row.heals.split()[1:])
    wait_until(lambda: answers(mac), row.within_s, row.what)


#: These are promised so soon that nothing else may take the machine's time.
SOONEST = {name for name in SIMPLE if 0 < ROWS[name].within_s < 10}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.alone] * (name in SOONEST)) for name in SIMPLE]
)
def test_fault(up: Mac, name: str) -> None:
    assert answers(up)
    SIMPLE[name](up)
    hold_to_its_row(up, ROWS[name])
    up.macnet("setup")
    assert failed_checks(up) == []


def test_engine_asleep(up: Mac) -> None:
    pid = up.lab.engine.pid
    process = ProcessId.of(pid) if pid is not None else None
    assert process is not None
    address = up.lab.sample.address("app-web")  # the engine tells, while it can
    with stopped(process):
        began = time.monotonic()
        assert answers(up, address)
        assert failed_checks(up) == [ROWS["engine-asleep"].check]
        assert up.macnet("status", check=False).returncode == 3
        time.sleep(max(0, 90 - (time.monotonic() - began)))
        assert answers(up, address)
    wait_until(lambda: failed_checks(up) == [], 20, "checks are well again")


@contextmanager
def watching(mac: Mac, program: Sequence[str] = (PROGRAM,)) -> Iterator[None]:
    """`macnet watch` in the background; it must end well on SIGTERM."""
    with mac.lab.popen([*program, "watch"], env=mac.environment()) as watch:
        assert watch.stdout is not None
        try:
            assert "following the engine" in watch.stdout.readline()
            yield
        finally:
            watch.send_signal(signal.SIGTERM)
            assert watch.wait(10) == 0


def test_relay_removed_watched(up: Mac) -> None:
    with watching(up):
        removes("macnet-relay")(up)
        hold_to_its_row(up, ROWS["relay-removed-watched"])


def test_port_taken(up: Mac) -> None:
    row, port = ROWS["port-taken"], up.json("status")["status"]["port"]
    up.lab.docker("stop", "--time", "1", "macnet-server")
    argv = [sys.executable, "-c", _SQUATTER, str(port)]
    with up.lab.popen(argv) as squatter:
        try:
            assert squatter.stdout is not None
            assert squatter.stdout.readline() == "listening\n"
            up.lab.docker("start", "macnet-server")
            assert not answers(up)
            failed = failed_checks(up)
            assert failed == [row.check]
            up.macnet(*row.heals.replace("PORT", str(port + 7)).split()[1:])
            wait_until(lambda: answers(up), row.within_s, row.what)
        finally:
            squatter.kill()
    up.forget()


def test_clock_jumps(up: Mac, tmp_path: Path) -> None:
    """Only for watch, which alone looks at the wall clock: other tests share this machine's."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    with watching(up, [sys.executable, "-c", _JUMPING, str(clock)]):
        for jump in ("86400", "-86400"):
            clock.write_text(jump)
            time.sleep(3)
            assert answers(up)
        up.lab.docker("network", "create", "fault-clock", "--subnet", "10.77.0.0/24")
        try:
            wait_until(lambda: up.pings("10.77.0.1", wait_s=0.2), 20, "the new network")
        finally:
            up.lab.docker("network", "rm", "fault-clock")
    up.macnet("regenerate")


def test_two_setups(up: Mac) -> None:
    removes("macnet-server")(up)  # so that the first has something to do
    with (
        up.lab.popen([PROGRAM, "setup"], env=up.environment()) as one,
        up.lab.popen([PROGRAM, "setup"], env=up.environment()) as other,
    ):
        codes = sorted([one.wait(60), other.wait(60)])
        assert codes in ([0, 8], [0, 0])  # both, where the later one came after the end
        words = [run.stderr.read() for run in (one, other) if run.stderr is not None]
        assert codes == [0, 0] or any("another macnet" in text for text in words)
    assert answers(up)
    assert failed_checks(up) == []


def test_network_removed(up: Mac) -> None:
    """A download on one network lives through the removal of another."""
    up.lab.docker("network", "create", "fault-gone", "--subnet", "10.78.0.0/24")
    up.macnet("regenerate")
    url = f"http://{up.lab.sample.address('app-web')}/big"
    size = 200 * 1024 * 1024
    argv = ["curl", "-sS", "--limit-rate", "60M", "-m", "60", "-r", f"0-{size - 1}", url]
    with up.lab.popen([*argv, "-o", os.devnull, "-w", "%{size_download}"]) as download:
        up.lab.docker("network", "rm", "fault-gone")
        up.macnet("watch", "--once")
        assert download.stdout is not None
        assert int(download.stdout.read()) == size
    up.macnet("regenerate")
    assert not up.pings("10.78.0.1", wait_s=0.5)


def test_every_row_is_tried() -> None:
    alone = {
        name.removeprefix("test_").replace("_", "-")
        for name in globals()
        if name.startswith("test_")
    }
    assert set(ROWS) <= set(SIMPLE) | alone
