"""An engine of another machine that TLS reaches, and its port on a network, opened on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.steps import Mac
from tests.e2e.tls import TlsEngine, far_tls_engine
from tests.lab import Lab
from tests.lab.remote import ADDRESS, Remote, remote


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Iterator[Remote]:
    with remote(lab, "far-tls") as found:
        yield found


def _plain(text: str) -> str:
    """Without the line breaks of a narrow terminal."""
    return " ".join(text.split())


@dataclass(frozen=True)
class FarTls:
    """The Mac's side with DOCKER_HOST and certificates for an engine of another machine."""

    mac: Mac
    machine: Remote
    engine: TlsEngine

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "DOCKER_HOST": self.engine.url,
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(self.engine.certificates),
        }

    def macnet(self, *words: str, check: bool = True) -> str:
        done = self.mac.macnet(*words, check=check, env=self.environment)
        return _plain(done.stdout + done.stderr)

    def fails(self, code: int, *words: str) -> str:
        return _plain(self.mac.fails(code, *words, env=self.environment))


@pytest.fixture
def far(lab: Lab, machine: Remote, tmp_path: Path) -> Iterator[FarTls]:
    mac = Mac(lab)
    mac.macnet("down", "--purge")
    with far_tls_engine(machine, tmp_path) as engine:
        found = FarTls(mac, machine, engine)
        yield found
        # Where nothing was set up this engine is refused as before.
        found.macnet("down", "--purge", check=False)


def test_the_main_job(far: FarTls) -> None:
    """It answers without ping too: this machine's kernel lets nobody ping without rights."""
    web = far.machine.lab.members["far-tls"].sample.address("web")
    said = far.fails(3, "setup")
    assert "is on another machine" in said
    assert f"ssh://USER@{ADDRESS}" in said
    assert "--expose ADDRESS" in said
    said = far.macnet("setup", "--expose", ADDRESS)
    assert f"on {ADDRESS}, setup runs two containers as root" in said
    assert far.mac.http(web)
    profile = (far.mac.root / "macnet.ovpn").read_text()
    assert f"remote {ADDRESS} 13194" in profile
    listeners = far.machine.engine.vm.run(["ss", "-Hltn", "sport = :13194"]).stdout
    assert listeners.split()[3] == f"{ADDRESS}:13194"
    assert "is open on" in far.macnet("status")
    assert "Nothing had to change." in far.macnet("setup")
    far.macnet("setup", "--expose", f"{ADDRESS}:1200")
    assert f"remote {ADDRESS} 1200" in (far.mac.root / "macnet.ovpn").read_text()
    assert far.mac.http(web)
    far.macnet("down")
    left = far.machine.engine.docker("ps", "-a", "--format", "{{.Names}}").split()
    assert not [name for name in left if name.startswith("macnet")]


def test_every_address_has_to_be_said_twice(far: FarTls) -> None:
    every = "0.0.0.0"  # noqa: S104 - that is the question
    said = far.fails(4, "setup", "--expose", every)
    assert "give the option twice" in said
    far.macnet("setup", "--expose", every, "--expose", every)
    assert f"remote {ADDRESS} 13194" in (far.mac.root / "macnet.ovpn").read_text()


def test_an_engine_here_is_not_exposed(far: FarTls) -> None:
    said = _plain(far.mac.fails(4, "setup", "--expose", "192.0.2.7"))
    assert "--expose is for an engine that TLS reaches" in said
