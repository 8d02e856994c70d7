from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from netaddr import IPNetwork

from macnet import host
from macnet.clients import management, openvpn, tunnelblick
from macnet.clients.tunnelblick import TunnelblickClient
from macnet.paths import TunnelPaths

from .fake_tunnelblick import PROFILE, FakeTunnelblick
from .fakes import FakeOpenVpn, FakeRunner, Recorder
from .stage import OPENVPN, SUDO, Stage


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A private directory with a path that is short enough for a Unix socket."""
    path = Path(tempfile.mkdtemp(prefix="macnet-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(management, "_REFUSED_RETRIES_S", 0.02)
    monkeypatch.setattr(management, "_RETRY_S", 0.005)
    for name, value in {
        "POLL": 0,
        "LAUNCH": 0.05,
        "SETTLE": 0.2,
        "BEGIN": 0.05,
        "LEAVE": 0.05,
    }.items():
        monkeypatch.setattr(tunnelblick, f"_{name}_S", value)


@pytest.fixture
def app(tmp_path: Path) -> FakeTunnelblick:
    return FakeTunnelblick(tmp_path / "mac")


@pytest.fixture
def paths(tmp_path: Path) -> TunnelPaths:
    paths = TunnelPaths(tmp_path / "tunnels" / "macnet")
    paths.root.mkdir(parents=True)
    paths.profile.write_text(PROFILE)
    return paths


@pytest.fixture
def client(app: FakeTunnelblick, paths: TunnelPaths) -> TunnelblickClient:
    return TunnelblickClient(
        paths, app, places=app.places, tunnel_subnet=lambda: IPNetwork("192.168.255.0/24")
    )


@pytest.fixture
def progress() -> Recorder:
    return Recorder()


@pytest.fixture
def stage(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(openvpn, "_POLL_S", 0.005)
    monkeypatch.setattr(openvpn, "_APPEAR_S", 0.1)
    monkeypatch.setattr(openvpn, "_LEAVE_S", 0.3)
    paths = TunnelPaths(short_path)
    paths.profile.write_text("client\n")
    process = FakeOpenVpn(paths.profile, paths.client_socket, paths.client_log, paths.client_pid)
    monkeypatch.setattr(host, "is_process_alive", lambda pid: pid == process.pid and process.alive)
    monkeypatch.setattr(host, "process_name", lambda pid: "openvpn" if process.alive else None)
    runner = FakeRunner({"openvpn": OPENVPN, "sudo": SUDO})
    made = Stage(paths, runner, process, Recorder())
    runner.answers = [("--management", made.start), ("ps", made.ps), ("kill", made.kill)]
    yield made
    process.stop()
