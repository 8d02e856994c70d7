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


# All of them


@pytest.mark.parametrize("by", ["environment", "file", "nothing"])
def test_each_tunnel_is_opened_once_whatever_context_is_named_now(
    run: typer.Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    for name, context in (
        ("macnet", None),
        ("prod-1", "Prod"),
        ("colima", "colima"),
        ("old", None),
    ):
        (tmp_path / "tunnels" / name).mkdir(parents=True)
        save_state(tmp_path / "tunnels" / name / "tunnel.json", TunnelState(context=context))
    if by == "environment":
        monkeypatch.setenv("MACNET_CONTEXT", "colima")
    if by == "file":
        (tmp_path / "config.toml").write_text('context = "colima"\n')
    tunnels = [session.tunnel for session in sessions.open_sessions(run)]
    found = [(tunnel.settings.name, tunnel.settings.context) for tunnel in tunnels]
    first = ("macnet", None) if by == "nothing" else ("colima", "colima")
    assert found[0] == first
    assert sorted(found) == [
        *(("colima", "colima"), ("macnet", None), ("old", "old"), ("prod-1", "Prod"))
    ]
    assert [tunnel.paths.root.name for tunnel in tunnels] == [name for name, _ in found]
    sources = {tunnel.settings.name: tunnel.resolved.sources["context"] for tunnel in tunnels}
    assert sources["macnet"] == "default"
    assert sources["prod-1"] == "last setup"
    assert sources["old"] == "the name of its folder"
