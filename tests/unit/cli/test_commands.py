"""The commands on an engine and a client in memory: what a person sees, and what JSON holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from macnet.cli import session as sessions
from macnet.cli.app import app
from macnet.cli.output import Output
from macnet.config import Config
from macnet.runner import SystemRunner
from macnet.tunnel import Tunnel, apply
from tests.json_schema import validate
from tests.unit.tunnel.world import World


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def parsed(result: Result) -> Any:  # noqa: ANN401 - whatever JSON holds
    return validate(json.loads(result.stdout))


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from macnet.cli.app import app\n"
        "try: app(['--help'])\nexcept SystemExit as end: assert end.code == 0\n"
        "heavy = {'docker', 'jinja2', 'psutil', 'cryptography', 'requests', 'netaddr', 'icmplib'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    assert SystemRunner().run([sys.executable, "-c", code]).stderr.strip() == "[]"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Commands work on an engine and a client in memory."""
    monkeypatch.setattr(apply, "TRAFFIC_TIMEOUT_S", 0.0)
    world = World(tmp_path, monkeypatch)

    def open_session(context: typer.Context, /, **_: object) -> sessions.Session:
        output = context.find_root().ensure_object(Output)
        made: Tunnel = world.tunnel()
        made.progress = output
        return sessions.Session(output, Config(), made, ())

    monkeypatch.setattr(sessions, "open_session", open_session)
    return world


def test_setup_and_what_follows_in_words(world: World) -> None:
    plan = run("setup", "--dry-run")
    assert plan.exit_code == 0
    assert "create" in plan.stdout
    assert world.engine.made == {}
    done = run("setup")
    assert done.exit_code == 0
    assert "The tunnel is up: " in done.stdout
    assert "redis 172.82.0.100" in done.stdout
    assert "starting the relay" in done.stderr
    assert run("setup").stdout.startswith("Nothing had to change.")
    assert "There is nothing to do." in run("setup", "--dry-run").stdout
    world.network("new", "10.77.0.0/24")
    assert "+ 10.77.0.0/24" in run("regenerate").stdout
    assert "openvpn disconnected" in run("disconnect").stdout
    assert "openvpn connected" in run("connect").stdout
    assert "openvpn was connected already" in run("connect").stdout
    assert "removed macnet-server" in run("down").stdout
    assert "There was nothing to remove." in run("down").stdout


def test_results_as_json(world: World) -> None:
    done = parsed(run("setup", "--json"))
    assert (done["version"], done["kind"]) == (1, "setup")
    assert done["setup"]["changed"] is True
    assert done["setup"]["port"] == 13194
    assert done["setup"]["tunnel_subnet"] == "192.168.255.0/24"
    assert done["setup"]["routes"]["added"][0].count("/") == 1
    networks = parsed(run("networks", "--json"))["networks"]
    app_network = next(item for item in networks if item["network"]["name"] == "app")
    assert app_network["subnets"][0]["cidr"] == "172.82.0.0/24"
    assert parsed(run("setup", "--dry-run", "--json"))["plan"]["server"] == "keep"
    assert parsed(run("disconnect", "--json"))["disconnect"] == {"changed": True}
    down = parsed(run("down", "--purge", "--json"))["down"]
    assert sorted(down["containers"]) == ["macnet-relay", "macnet-server"]
    assert down["images"] == 2


def test_the_profile_goes_to_a_private_file(world: World, tmp_path: Path) -> None:
    run("setup")
    target = tmp_path / "mine.ovpn"
    assert run("profile", "--output", str(target)).stdout == f"{target} written\n"
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.read_text() == run("profile").stdout
    assert "unchanged" in run("profile", "-o", str(target)).stdout


def test_networks_tell_why_not(world: World) -> None:
    shown = run("networks").stdout
    assert "172.82.0.0/24" in shown
    assert "overlay: it spans engines" in shown


def test_a_name_cannot_steer_the_terminal(world: World) -> None:
    world.network("evil\x1b[2J\r\nname", "10.66.0.0/24")
    shown = run("networks").stdout
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert "evil" in shown


def test_logs_are_lines(world: World) -> None:
    run("setup")
    assert run("logs", "relay").stdout == "macnet-relay said this\n"
