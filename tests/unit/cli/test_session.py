"""What a command works with: the settings that setup stored, whatever the environment says now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import typer

from macnet.cli import session as sessions
from macnet.cli.app import app
from macnet.settings import to_record
from macnet.state import TunnelState, save_state
from macnet.values import DEFAULT_TUN_MTU


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Context:
    """A run of some command, with no files yet."""
    monkeypatch.setenv("MACNET_HOME", str(tmp_path))
    return typer.Context(typer.main.get_command(app))


def setup(
    run: typer.Context, *, reset: bool = False, unset: tuple[str, ...] = (), **options: object
) -> Mapping[str, object]:
    """Open a setup as the command does, and store what it would; the settings of it."""
    session = sessions.open_setup(run, context=None, reset=reset, unset=unset, options=options)
    resolved = session.tunnel.resolved
    state = TunnelState(options=resolved.options, settings=to_record(resolved))
    session.tunnel.paths.root.mkdir(parents=True, exist_ok=True)
    save_state(session.tunnel.paths.state, state)
    return resolved.options


def test_commands_have_the_settings_of_the_last_setup(
    run: typer.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACNET_EXCLUDE", "admin")
    setup(run)
    monkeypatch.delenv("MACNET_EXCLUDE")
    monkeypatch.setenv("MACNET_TUN_MTU", "1500")
    settings = sessions.open_session(run).tunnel.settings
    assert (settings.exclude, settings.tun_mtu) == (("admin",), DEFAULT_TUN_MTU)
    # Setup itself looks at the environment of now.
    setup(run)
    settings = sessions.open_session(run).tunnel.settings
    assert (settings.exclude, settings.tun_mtu) == ((), 1500)


def test_what_is_remembered_is_said_and_taken_back(
    run: typer.Context, capsys: pytest.CaptureFixture[str]
) -> None:
    setup(run, exclude=["admin"], tun_mtu=1500)
    assert capsys.readouterr().err == ""
    setup(run)
    assert capsys.readouterr().err == "remembered: --tun-mtu 1500, --exclude admin\n"
    assert setup(run, unset=("exclude",)) == {"tun_mtu": 1500}
    assert capsys.readouterr().err == "remembered: --tun-mtu 1500\n"
    assert setup(run, reset=True) == {}
    assert capsys.readouterr().err == ""
