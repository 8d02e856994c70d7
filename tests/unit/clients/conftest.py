from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from netaddr import IPNetwork

from macnet.clients import management, tunnelblick
from macnet.clients.tunnelblick import TunnelblickClient
from macnet.paths import TunnelPaths

from .fake_tunnelblick import PROFILE, FakeTunnelblick
from .fakes import Recorder


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
