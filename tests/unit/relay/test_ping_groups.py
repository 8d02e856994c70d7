"""ping_group_range is widened where it must be, and set back by whoever widened it."""

from __future__ import annotations

from pathlib import Path

import pytest

from macnet.relay.ping_groups import PingGroups, widened


@pytest.mark.parametrize(
    ("before", "after"),
    [((1, 0), (0, 0)), ((1, 100), (0, 100)), ((0, 2147483647), (0, 2147483647)), ((0, 0), (0, 0))],
)
def test_only_what_is_missing_is_added(before: tuple[int, int], after: tuple[int, int]) -> None:
    assert widened(*before) == after


def groups(tmp_path: Path, text: str = "1\t0\n") -> tuple[PingGroups, Path]:
    setting = tmp_path / "range"
    setting.write_text(text)
    return PingGroups(lambda new: _set(setting, new), setting, tmp_path / "record"), setting


def _set(setting: Path, text: str) -> None:
    setting.write_text(text.replace(" ", "\t") + "\n")


def test_it_is_set_back(tmp_path: Path) -> None:
    ours, setting = groups(tmp_path)
    ours.widen()
    assert setting.read_text() == "0\t0\n"
    ours.widen()
    ours.restore()
    assert setting.read_text() == "1\t0\n"
    ours.restore()
    assert setting.read_text() == "1\t0\n"


def test_one_that_was_wide_already_is_left_alone(tmp_path: Path) -> None:
    """Another relay may have widened it, which then sets it back."""
    ours, setting = groups(tmp_path, "0\t0\n")
    ours.widen()
    ours.restore()
    assert setting.read_text() == "0\t0\n"


def test_one_that_somebody_changed_since_is_left_alone(tmp_path: Path) -> None:
    ours, setting = groups(tmp_path)
    ours.widen()
    _set(setting, "0 2147483647")
    ours.restore()
    assert setting.read_text() == "0\t2147483647\n"


def test_a_relay_that_was_killed_sets_it_back_the_next_time(tmp_path: Path) -> None:
    killed, setting = groups(tmp_path)
    killed.widen()
    after = PingGroups(lambda new: _set(setting, new), setting, tmp_path / "record")
    after.widen()
    after.restore()
    assert setting.read_text() == "1\t0\n"


def test_after_a_restart_of_the_vm_the_record_says_nothing(tmp_path: Path) -> None:
    killed, setting = groups(tmp_path)
    killed.widen()
    _set(setting, "0 2147483647")
    after = PingGroups(lambda new: _set(setting, new), setting, tmp_path / "record")
    after.widen()
    after.restore()
    assert setting.read_text() == "0\t2147483647\n"


def _nothing(_: str) -> None: ...


def _refuse(_: str) -> None:
    raise PermissionError("read-only")


@pytest.mark.parametrize("write", [_nothing, _refuse])
def test_a_failure_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write: object
) -> None:
    setting = tmp_path / "range"
    setting.write_text("1\t0\n")
    ours = PingGroups(write, setting, tmp_path / "record")  # type: ignore[arg-type]
    ours.widen()
    ours.widen()
    ours.restore()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "cannot change ping_group_range" in said[0]
