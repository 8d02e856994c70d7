from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from macnet.clients import management


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
