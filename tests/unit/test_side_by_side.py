"""Processes that run tests side by side: what each calls its lab."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.lab.lab import Lab
from tests.lab.paths import LabPaths
from tests.side_by_side import claim, lab_name, take_down


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MACNET_LAB_NAME", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)


def test_one_process_and_the_first_of_many_have_the_same_lab() -> None:
    """`make test` has it brought up before."""
    assert lab_name() == lab_name("gw0") == "macnet-e2e"


def test_each_other_process_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")
    assert lab_name() == lab_name("gw1") == "macnet-e2e-gw1"
    monkeypatch.setenv("MACNET_LAB_NAME", "mine")
    assert [lab_name(), lab_name("gw0"), lab_name("gw12")] == ["mine-gw1", "mine", "mine-gw12"]


def test_every_column_of_the_matrix_can_name_a_lab() -> None:
    assert LabPaths.of("podman-bookworm-forky-kernel").mac_netns


def test_a_run_takes_down_its_own_labs_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another run, beside it, may have the same names."""
    home = tmp_path / "macnet-e2e"
    home.mkdir()
    monkeypatch.setattr(LabPaths, "of", lambda name: SimpleNamespace(home=tmp_path / name))
    down: list[str] = []
    monkeypatch.setattr(Lab, "__init__", lambda self, name: down.append(name))
    monkeypatch.setattr(Lab, "down", lambda self: home.rmdir())
    take_down("gw0", "mine")
    monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "another")
    claim("macnet-e2e")
    take_down("gw0", "mine")
    assert down == []
    assert home.exists()
    monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "mine")
    claim("macnet-e2e")
    take_down("gw0", "mine")
    assert down == ["macnet-e2e"]
    assert list(tmp_path.iterdir()) == []
