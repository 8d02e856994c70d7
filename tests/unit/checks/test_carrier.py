"""The way to an engine on another machine: one cause, one failure, and its sentence."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from macnet.carriers import Direct, Ssh, stop_ssh
from macnet.checks import Report
from macnet.checks.facts import Facts
from macnet.checks.helper import _wanted_spec
from macnet.contexts import EngineAddress, SshTarget
from macnet.helper.spec import LABEL_SPEC
from macnet.profile import Profile, parse_profile_routes, render_profile
from macnet.progress import Silent
from macnet.state import save_state
from tests.unit.carriers.fake_ssh import FakeSsh
from tests.unit.checks.world import PORT, World

TARGET = SshTarget("box", "me")
DENIED = "me@box: Permission denied (publickey)."


@pytest.fixture
def ssh(world: World) -> Iterator[FakeSsh]:
    """The world's engine is on another machine, and an ssh to it carries all."""
    fake = FakeSsh()
    with tempfile.TemporaryDirectory(prefix="macnet-", dir="/tmp") as folder:
        address = EngineAddress("ssh://me@box", "DOCKER_HOST", machine="box", ssh=TARGET)
        place = Path(folder) / "ssh"
        carrier = Ssh(address, TARGET, folder=place, runner=fake, terminal=False)
        carrier.start(Silent(), ask=False)
        carrier.carry(PORT)
        world.carrier = carrier
        world.state = replace(world.state, way=carrier.way)
        save_state(world.paths.state, world.state)
        spec = _wanted_spec(Facts(world.tunnel))
        assert spec is not None
        for part in ("server", "relay"):
            labels = {**world.engine.parts[f"macnet-{part}"].labels, LABEL_SPEC: spec.digest()}
            world.change_part(part, labels=labels)
        yield fake
        stop_ssh(place, fake)


def failed(report: Report) -> list[tuple[str, str]]:
    return [(one.id, one.evidence) for one in report.failures]


def test_a_healthy_way(world: World, ssh: FakeSsh) -> None:
    report = world.check()
    assert failed(report) == []
    found = {one.id: one.evidence for one in report.results if one.id.startswith("carrier.")}
    assert found == {
        "carrier.ssh": "ssh to box runs",
        "carrier.socket": "the engine on box answers through ssh",
        "carrier.port": f"port {PORT} of box answers through ssh",
    }


def dies(ssh: FakeSsh) -> None:
    ssh.dies()


def dies_and_is_denied(ssh: FakeSsh) -> None:
    ssh.dies()
    ssh.refuses = DENIED


def loses_the_engine(ssh: FakeSsh) -> None:
    ssh.engine_answers = False
    ssh.shell_says = "macnet-end\n"


def loses_the_port(ssh: FakeSsh) -> None:
    ssh.closed_ports.add(PORT)


@pytest.mark.parametrize(
    ("fault", "check", "evidence"),
    [
        (dies, "carrier.ssh", "no ssh of macnet's to box runs"),
        (dies_and_is_denied, "carrier.ssh", "box does not let me in: no key was accepted"),
        (
            loses_the_engine,
            "carrier.socket",
            "there is no Docker socket /var/run/docker.sock on box",
        ),
        (loses_the_port, "carrier.port", f"nobody answers on port {PORT} of box's 127.0.0.1"),
    ],
)
def test_one_cause_one_failure(
    world: World, ssh: FakeSsh, fault: Callable[[FakeSsh], None], check: str, evidence: str
) -> None:
    fault(ssh)
    report = world.check()
    assert failed(report) == [(check, evidence)]
    assert all(one.fix for one in report.failures)


def test_an_exposed_port(world: World) -> None:
    address = EngineAddress("tcp://box:2376", "DOCKER_HOST", machine="box")
    world.carrier = Direct(address, "192.0.2.7")
    text = world.paths.profile.read_text()
    profile = Profile(
        PORT,
        parse_profile_routes(text),
        world.settings.comp_lzo,
        world.settings.tun_mtu,
        world.pki,
        "192.0.2.7",
    )
    world.paths.profile.write_text(render_profile(profile))
    assert ("tunnel.port", "192.0.2.7:13194: refused") in failed(world.check())
    world.prober.doors.add(("192.0.2.7", PORT))
    report = world.check()
    assert failed(report) == []
    said = {one.id: one.evidence for one in report.results}
    assert said["tunnel.port"] == "192.0.2.7:13194 is open, to a network: see SECURITY.md"
