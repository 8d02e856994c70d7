"""The commands on an engine and a client in memory: what a person sees, and what JSON holds."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from macnet import checks
from macnet.chart.live import LiveMap
from macnet.checks import Report
from macnet.checks import Result as CheckResult
from macnet.checks.base import Outcome
from macnet.cli import first
from macnet.cli import session as sessions
from macnet.cli.app import app
from macnet.cli.output import Output
from macnet.errors import NotSetUp
from macnet.names.system.macos import MacResolver
from macnet.runner import Completed, SystemRunner
from macnet.tunnel import Tunnel, converge, naming
from macnet.watch import Watch
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
    monkeypatch.setattr(converge, "TRAFFIC_TIMEOUT_S", 0.0)
    world = World(tmp_path, monkeypatch)

    def opened(context: typer.Context, tunnel: Tunnel) -> sessions.Session:
        output = context.find_root().ensure_object(Output)
        tunnel.progress = output
        return sessions.Session(output, tunnel)

    def open_session(run: typer.Context, **_: object) -> sessions.Session:
        return opened(run, world.stored_tunnel())

    def open_setup(
        run: typer.Context, *, options: dict[str, object], **_: object
    ) -> sessions.Session:
        return opened(run, world.setup_tunnel(**options))

    monkeypatch.setattr(sessions, "open_session", open_session)
    monkeypatch.setattr(sessions, "open_setup", open_setup)
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
    assert "openvpn was already connected" in run("connect").stdout
    assert "removed macnet-server" in run("down").stdout
    assert "There was nothing to remove." in run("down").stdout


@pytest.mark.parametrize("verb", ["list", "on", "off", "flush"])
def test_a_context_before_a_verb_of_names_counts_too(
    world: World, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    asked: list[object] = []

    def open_session(_: typer.Context, *, context: str | None = None) -> sessions.Session:
        asked.append(context)
        raise NotSetUp("there is no tunnel yet")

    monkeypatch.setattr(sessions, "open_session", open_session)
    run("names", "--context", "colima", verb)
    run("names", verb, "--context", "colima")
    run("names", "--context", "other", verb, "--context", "colima")
    run("names", verb)
    assert asked == ["colima", "colima", "colima", None]


def test_a_client_of_ones_own_is_not_called_none(world: World) -> None:
    run("setup")
    world.switch_client("none")
    assert run("connect").stdout == ""
    # The one that setup had connected has ended: the server would drop each for the other.
    assert world.others["openvpn"].used is None
    assert run("disconnect").stdout == ""


@pytest.fixture
def no_client(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A user at a terminal of a Mac without a VPN client and without Homebrew."""
    world.client.installed = False
    world.others["auto"] = world.client
    monkeypatch.setattr(Output, "interactive", True)
    monkeypatch.setattr(SystemRunner, "find", lambda *_: None)
    return world


def test_setup_goes_on_when_a_client_is_there(
    no_client: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def install(seconds: float) -> None:
        pauses.append(seconds)
        no_client.client.installed = len(pauses) == 3

    monkeypatch.setattr(first, "time", SimpleNamespace(sleep=install))
    done = run("setup")
    assert done.exit_code == 0
    assert "This Mac needs a VPN client" in done.stderr
    assert "brew install openvpn " in done.stderr
    assert "Run `brew" not in done.stderr
    assert "waiting for a VPN client to be installed (" in done.stderr
    assert done.stderr.count("starting the server") == 1
    assert "The tunnel is up: " in done.stdout
    assert len(pauses) == 3


@pytest.mark.parametrize("answer", [True, False])
def test_homebrew_is_run_where_the_user_wants_it(
    no_client: World, monkeypatch: pytest.MonkeyPatch, answer: bool
) -> None:
    asked: list[str] = []
    ran: list[list[str]] = []

    def ask(_: Output, question: str) -> bool:
        asked.append(question)
        return answer

    def install(_: SystemRunner, argv: list[str], **options: object) -> Completed:
        ran.append(argv)
        assert options["interactive"] is True
        no_client.client.installed = True
        return Completed(tuple(argv), 0, "", "")

    def elsewhere(_: float) -> None:
        no_client.client.installed = True

    monkeypatch.setattr(SystemRunner, "find", lambda *_: "/opt/homebrew/bin/brew")
    monkeypatch.setattr(SystemRunner, "run", install)
    monkeypatch.setattr(Output, "ask", ask)
    monkeypatch.setattr(first, "time", SimpleNamespace(sleep=elsewhere))
    assert run("setup").exit_code == 0
    assert asked == ["Run `brew install openvpn` now?"]
    assert ran == ([["/opt/homebrew/bin/brew", "install", "openvpn"]] if answer else [])


def test_nobody_waits_for_a_client_without_a_terminal(world: World) -> None:
    world.client.installed = False
    done = run("setup")
    assert done.exit_code == 7
    assert "error: openvpn is not installed\nhint: `brew install openvpn`; then `macnet setup`" in (
        done.stderr
    )
    assert parsed(run("setup", "--json"))["error"]["code"] == "client_missing"


def test_the_map_is_served_until_sigterm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def ended(_live: LiveMap) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        raise AssertionError("the signal did not arrive")

    monkeypatch.setattr(LiveMap, "run", ended)
    try:
        done = run("map", "--serve", "--port", "0", "--json")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done.exit_code == 0
    assert parsed(done)["map_served"]["url"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    "words", [["--port", "80"], ["--serve", "-o", "a.html"], ["--serve", "--port", "65536"]]
)
def test_options_of_map_that_do_not_fit(world: World, words: list[str]) -> None:
    done = run("map", *words)
    assert done.exit_code == 2
    assert "--port" in done.stderr or "--output" in done.stderr


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


def test_setup_with_names_in_words_and_json(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    system = MacResolver(tmp_path / "resolver")
    ran: list[str] = []
    monkeypatch.setattr(naming, "names_system", lambda tunnel: system)
    monkeypatch.setattr(naming, "_apply", lambda tunnel, command: ran.append(command.shown))
    plan = run("setup", "--names", "--dry-run")
    assert "names    switch on  docker.test, 127.0.0.1:13153" in plan.stdout
    assert "For names root would run: sudo /bin/sh -c " in plan.stdout
    assert parsed(run("setup", "--dry-run", "--json"))["plan"]["names"] is None
    assert ran == []
    done = parsed(run("setup", "--names", "--json"))["setup"]["names"]
    assert (done["changed"], done["domain"], done["port"]) == (True, "docker.test", 13153)
    assert len(ran) == 1
    assert "names in docker.test are on" in run("setup", "--names").stdout
    assert parsed(run("setup", "--json"))["setup"]["names"] is None
    wrong = run("setup", "--domain", "box.test")
    assert wrong.exit_code == 2
    assert "--domain is for names: give --names too" in wrong.stderr


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


def test_logs_that_are_followed_end_quietly_by_ctrl_c(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def logs(_tunnel: Tunnel, _source: str, *, tail: int, follow: bool) -> Iterator[str]:
        yield f"{tail} {follow}"
        raise KeyboardInterrupt

    monkeypatch.setattr(Tunnel, "logs", logs)
    done = run("logs", "client", "-f", "-n", "5")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "5 True\n", "")
    assert run("logs").exit_code == 130


def test_watch_ends_well_by_sigterm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(_watch: Watch) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except Exception as error:  # a handler that raises one of these would end here
            raise AssertionError("swallowed") from error

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Watch, "run", ended)
    try:
        done = run("watch")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")


def test_check_says_what_is_well_by_group_and_ends_with_the_faults(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report(
        (
            CheckResult("engine.version", "The engine is recent", Outcome.OK, "28.5.2"),
            CheckResult("helper.relay", "The relay runs", Outcome.FAIL, "exited", "`macnet setup`"),
            CheckResult("reach.ping", "The containers answer", Outcome.OK, "1 ms", subject="redis"),
        )
    )
    monkeypatch.setattr(checks, "run", lambda *_, **__: report)
    done = run("check")
    assert (done.exit_code, done.stderr) == (9, "")
    assert done.stdout.splitlines() == [
        "ok    engine: 1 check",
        "ok    reach: 1 check",
        "",
        "FAIL  The relay runs: exited [helper.relay]",
        "      fix: `macnet setup`",
        "",
        "2 ok, 1 fail",
    ]
    assert "ok    redis: 1 ms" in run("check", "redis").stdout
    assert "ok    The engine is recent: 28.5.2" in run("check", "-v").stdout


def test_check_again_and_again_ends_well_by_ctrl_c(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report((CheckResult("engine.version", "The engine is recent", Outcome.OK, "28.5.2"),))
    reports = [report, report]

    def once_more(*_: object, **__: object) -> Report:
        if not reports:
            raise KeyboardInterrupt
        return reports.pop()

    monkeypatch.setattr(checks, "run", once_more)
    monkeypatch.setattr(time, "sleep", lambda _s: None)
    done = run("check", "--watch", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [validate(json.loads(line)) for line in done.stdout.splitlines()]
    assert [line["kind"] for line in lines] == ["check", "check"]


def test_logs_are_lines(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run("setup")
    assert run("logs", "relay").stdout == "macnet-relay said this\n"
    headings: list[str] = []
    monkeypatch.setattr(Output, "heading", lambda _, text: headings.append(text))
    run("logs", "relay", "-n", "7")
    assert headings == ["log of the relay, at most 7 lines"]
