"""`macnet agent`: what it writes runs as launchd or systemd would run it, in the lab."""

from __future__ import annotations

import plistlib
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from macnet.agent import plan_job
from macnet.agent.launchd import launchd_plist
from macnet.runner import SystemRunner
from tests.e2e import steps
from tests.e2e.steps import Mac, wait_until
from tests.lab import BASE_IMAGE, Lab

NETWORK = "agent-net"


@pytest.fixture
def systemctl(lab: Lab) -> Iterator[Path]:
    """A systemctl that only writes down how it was called; the file with the calls."""
    calls = lab.paths.home / "systemctl-calls"
    program = lab.paths.bin / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$*" >> {calls}\n')
    program.chmod(0o755)
    yield calls
    program.unlink()
    calls.unlink(missing_ok=True)


@pytest.fixture
def network(lab: Lab) -> Iterator[None]:
    """Takes away the network that a test makes."""
    yield
    lab.docker("rm", "-f", NETWORK)
    if NETWORK in lab.docker("network", "ls", "--format", "{{.Name}}").split():
        lab.docker("network", "rm", NETWORK)


def unit_job(text: str) -> tuple[list[str], dict[str, str], Path]:
    """Command, environment and log of a unit file."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            values.setdefault(name, []).append(value)
    (command,) = values["ExecStart"]
    variables = [shlex.split(value)[0].partition("=") for value in values["Environment"]]
    (log,) = values["StandardOutput"]
    environment = {name: value for name, _, value in variables}
    return shlex.split(command), environment, Path(log.removeprefix("append:"))


def launchd_job(lab: Lab) -> tuple[list[str], dict[str, str], Path]:
    """Command, environment and log of a property list, as they are on a Mac."""
    job = plan_job(
        context=None,
        log=lab.paths.mac_home / "watch.log",
        environ=lab.mac_environment({"MACNET_BASE_IMAGE": BASE_IMAGE}),
        runner=SystemRunner(),
    )
    plist = plistlib.loads(plistlib.dumps(launchd_plist(job)))
    assert plist["StandardOutPath"] == plist["StandardErrorPath"]
    return plist["ProgramArguments"], plist["EnvironmentVariables"], Path(plist["StandardOutPath"])


def test_install_status_uninstall(up: Mac, systemctl: Path) -> None:
    unit = up.lab.paths.mac_user / ".config/systemd/user/macnet-watch.service"
    assert up.json("agent", "status")["agent"]["status"]["installed"] is False
    assert up.json("agent", "install")["agent"]["changed"] is True
    assert systemctl.read_text().splitlines()[-4:-1] == [
        "--user daemon-reload",
        "--user enable macnet-watch.service",
        "--user restart macnet-watch.service",
    ]
    command, environment, log = unit_job(unit.read_text())
    assert command == [steps.PROGRAM, "watch"]
    assert environment["DOCKER_HOST"] == up.lab.engine.docker_host
    assert log == up.lab.paths.mac_home / "watch.log"
    assert up.json("agent", "uninstall")["agent"]["changed"] is True
    assert not unit.exists()
    assert up.json("agent", "uninstall")["agent"]["changed"] is False


@pytest.mark.usefixtures("network", "systemctl")
@pytest.mark.parametrize("kind", ["systemd", "launchd"])
def test_the_job_waits_for_the_engine_follows_it_and_ends_at_once(up: Mac, kind: str) -> None:
    lab = up.lab
    if kind == "systemd":
        up.macnet("agent", "install")
        unit = lab.paths.mac_user / ".config/systemd/user/macnet-watch.service"
        command, environment, log = unit_job(unit.read_text())
        up.macnet("agent", "uninstall")
    else:
        command, environment, log = launchd_job(lab)
    lab.engine.stop()
    home = f"HOME={lab.paths.mac_user}"
    words = ["env", "-i", home, *(f"{name}={value}" for name, value in environment.items())]
    with log.open("a") as output:
        job = lab.popen([*words, *command], stdout=output, stderr=output, cwd=Path("/"))
        try:
            wait_until(lambda: job.poll() is not None or log.stat().st_size > 0, 15, "a line")
            assert job.poll() is None, log.read_text()
            lab.engine.start()
            lab.sample.wait_ready()
            lab.docker("network", "create", "--subnet", "172.86.0.0/24", NETWORK)
            lab.docker(
                *("run", "-d", "--name", NETWORK, "--network", NETWORK),
                *("--ip", "172.86.0.7", BASE_IMAGE, "sleep", "600"),
            )
            wait_until(lambda: up.pings("172.86.0.7", wait_s=1), 60, "the new network")
            job.terminate()
            assert job.wait(5) == 0, log.read_text()
        finally:
            if job.poll() is None:
                job.kill()
                job.wait(5)
            lab.engine.start()
    assert "Traceback" not in log.read_text()
