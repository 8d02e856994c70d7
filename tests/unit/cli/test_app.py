"""The command line's edge: exit codes, where words go, and what each error looks like."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import macnet
from macnet import contexts
from macnet.agent import AgentJob, AgentStatus
from macnet.cli import session
from macnet.cli.app import app
from macnet.errors import (
    ChecksFailed,
    ClientDenied,
    EngineUnreachable,
    ImageBuildFailed,
    MacnetError,
    NotSetUp,
    PrivilegeError,
    StateError,
    SubnetConflict,
)
from tests.json_schema import validate

#: Each command, with the arguments that it needs.
COMMANDS = (
    ["setup"],
    ["setup", "--dry-run"],
    ["regenerate"],
    ["check"],
    ["status"],
    ["networks"],
    ["connect"],
    ["disconnect"],
    ["profile"],
    ["watch", "--once"],
    ["logs"],
    ["report"],
    ["down"],
)
#: They stream lines, so there is no object to print.
NO_JSON = ("logs",)


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    out: str
    err: str
    bug: BaseException | None

    @property
    def error(self) -> dict[str, Any]:
        """The error object on stdout; nothing else is there."""
        found = validate(json.loads(self.out))
        assert found["kind"] == "error"
        error: dict[str, Any] = found["error"]
        return error


def run(*argv: str) -> Ended:
    result = CliRunner().invoke(app, argv)
    bug = None if isinstance(result.exception, SystemExit) else result.exception
    return Ended(result.exit_code, result.stdout, result.stderr, bug)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any file, on a machine without any engine."""
    for name in [name for name in os.environ if name.startswith(("DOCKER_", "MACNET_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MACNET_HOME", str(tmp_path / "macnet"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(contexts, "SYSTEM_SOCKET", tmp_path / "none.sock")
    return tmp_path


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Every command fails with this."""

    def arrange(error: BaseException) -> None:
        def raise_it(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(session, "open_session", raise_it)
        monkeypatch.setattr(session, "open_setup", raise_it)

    return arrange


def test_every_command_is_tried() -> None:
    names = {one.name or getattr(one.callback, "__name__", "") for one in app.registered_commands}
    assert names - {"map"} == {argv[0] for argv in COMMANDS}


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(flag: str) -> None:
    result = run(flag)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Usage: ")
    assert "Reach Docker containers by IP address and name" in result.out
    assert all(f"  {argv[0]} " in result.out for argv in COMMANDS)
    assert max(map(len, result.out.splitlines())) <= 80


def test_without_a_command_it_shows_the_state() -> None:
    result = run()
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("tunnel  not set up yet\n")
    assert "next: start Docker Desktop, Colima" in result.out
    assert result.out.endswith("`macnet --help` lists all commands.\n")


@pytest.mark.parametrize("command", sorted({argv[0] for argv in COMMANDS}))
def test_help_of_each_command(command: str) -> None:
    result = run(command, "-h")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"Usage: root {command} ") or f" {command} [OPTIONS]" in result.out
    assert "--context NAME" in result.out
    assert max(map(len, result.out.splitlines())) <= 80


def test_version() -> None:
    result = run("--version")
    assert (result.code, result.out, result.err) == (0, f"macnet {macnet.__version__}\n", "")


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["nonsense"], "nonsense"),
        (["--nonsense"], "--nonsense"),
        (["setup", "--prot", "80"], "--prot"),
        (["setup", "--port"], "--port"),
        (["setup", "--port", "many"], "--port"),
        (["setup", "--client", "other"], "other"),
        (["setup", "extra"], "extra"),
        (["check", "--timeout", "0"], "timeout"),
        (["logs", "nobody"], "nobody"),
        (["logs", "--tail", "0"], "tail"),
    ],
)
def test_wrong_usage_is_exit_code_2_on_stderr(argv: Sequence[str], word: str) -> None:
    result = run(*argv)
    assert (result.code, result.out) == (2, "")
    assert word in result.err
    assert result.err.startswith("error: ")
    assert "\nhint: " in result.err
    assert not re.search("Traceback|Input should|Value error|Usage:|list\\[str", result.err)
    result = run(*argv, "--json")
    assert (result.code, result.err) == (2, "")
    assert (result.error["code"], result.error["exit_code"]) == ("usage", 2)
    assert result.error["hint"]


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["setup", "--network"], "macnet setup"),
        (["setup", "--port", "1", "--remap"], "macnet setup"),
        (["names", "on", "--domain"], "macnet names on"),
        (["names", "--context"], "macnet names"),
        (["check", "setup", "--timeout"], "macnet check"),
    ],
)
def test_an_option_without_its_value_leads_to_the_help_of_its_command(
    argv: list[str], command: str
) -> None:
    result = run(*argv)
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines() == [
        f"error: option '{argv[-1]}' requires an argument",
        f"hint: `{command} --help` shows how it is used",
    ]


@pytest.mark.parametrize(
    "error",
    [
        EngineUnreachable("no engine", hint="start it"),
        StateError("cannot read it", hint="look at it"),
        SubnetConflict("two want it", hint="give another"),
        PrivilegeError("no rights", hint="sudo"),
        ClientDenied("not allowed", hint="System Settings"),
        NotSetUp("no tunnel", hint="`macnet setup` makes one"),
    ],
    ids=lambda error: str(error.code),
)
def test_an_error_is_words_and_an_exit_code(
    fail: Callable[[BaseException], None], error: MacnetError
) -> None:
    fail(error)
    result = run("status")
    assert result.code == error.exit_code
    assert (result.out, result.err) == ("", f"error: {error.message}\nhint: {error.hint}\n")
    result = run("status", "--json")
    assert (result.code, result.err) == (error.exit_code, "")
    assert result.error == {
        "code": error.code,
        "exit_code": error.exit_code,
        "message": error.message,
        "hint": error.hint,
        "detail": None,
    }


@pytest.mark.parametrize("argv", COMMANDS, ids="-".join)
def test_every_command_reports_errors(
    fail: Callable[[BaseException], None], argv: list[str]
) -> None:
    fail(NotSetUp("no tunnel"))
    result = run(*argv)
    assert (result.code, result.out, result.err) == (8, "", "error: no tunnel\n")
    if argv[0] not in NO_JSON:
        result = run(*argv, "--json")
        assert (result.code, result.err, result.error["code"]) == (8, "", "not_set_up")


def test_detail_comes_before_the_error(fail: Callable[[BaseException], None]) -> None:
    fail(ImageBuildFailed("it did not build", detail="line one\nline two"))
    assert run("setup").err == "  | line one\n  | line two\nerror: it did not build\n"


def test_failed_checks_have_told_all(fail: Callable[[BaseException], None]) -> None:
    fail(ChecksFailed("checks failed"))
    for argv in (["check"], ["check", "--json"]):
        result = run(*argv)
        assert (result.code, result.out, result.err) == (9, "", "")


def test_ctrl_c(fail: Callable[[BaseException], None]) -> None:
    fail(KeyboardInterrupt())
    result = run("setup")
    assert (result.code, result.out) == (128 + signal.SIGINT, "")
    assert result.err.startswith("interrupted\nhint: ")
    result = run("setup", "--json")
    assert (result.code, result.err) == (130, "")
    assert result.error["code"] == "interrupted"


@pytest.mark.parametrize(
    ("argv", "resumes"), [(["setup"], True), (["down"], True), (["check"], False)]
)
def test_ctrl_c_promises_to_continue_only_where_it_does(
    fail: Callable[[BaseException], None], argv: list[str], resumes: bool
) -> None:
    fail(KeyboardInterrupt())
    assert ("run the same command again to continue" in run(*argv).err) is resumes


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("up", "macnet setup"),
        ("start", "macnet setup"),
        ("stop", "macnet down"),
        ("ps", "macnet networks"),
        ("list", "macnet status"),
        ("help", "macnet --help"),
        ("version", "macnet --version"),
        ("doctor", "macnet check"),
        ("setpu", "macnet setup"),
        ("frobnicate", "macnet --help"),
    ],
)
def test_words_of_other_tools_lead_to_ours(word: str, ours: str) -> None:
    result = run(word, "anything")
    assert (result.code, result.out) == (2, "")
    first, hint = result.err.splitlines()
    assert first == f"error: there is no command '{word}'"
    assert hint.startswith("hint: ")
    assert f"`{ours}`" in hint


def test_sudo_on_a_mac_is_refused_where_home_is_the_users(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "someone")
    monkeypatch.setattr("macnet.host.is_root", lambda: True)
    monkeypatch.setattr("macnet.host.system", lambda: "macos")
    result = run("disconnect")
    assert (result.code, result.out) == (6, "")
    assert str(home) in result.err.replace("\n", "")
    assert "hint: run it without sudo" in result.err
    assert run("disconnect", "--json").error["code"] == "privilege"
    assert run("--version").code == 0
    monkeypatch.setenv("HOME", "/root")
    assert run("profile").code == 8
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr("macnet.host.system", lambda: "linux")
    assert run("profile").code == 8


@pytest.mark.parametrize(("place", "warned"), [("Documents/macnet/bin", True), ("code/bin", False)])
def test_an_agent_that_macos_cannot_read_is_warned_of(
    home: Path, monkeypatch: pytest.MonkeyPatch, place: str, warned: bool
) -> None:
    class Agent:
        def install(self, job: AgentJob) -> bool:
            return True

        def status(self, log: Path) -> AgentStatus:
            return AgentStatus("launchd", "/f", str(log), installed=True, loaded=True, pid=7)

    program = home / place / "macnet"
    program.parent.mkdir(parents=True)
    program.touch()
    monkeypatch.setattr("sys.executable", str(program.with_name("python3")))
    monkeypatch.setattr("macnet.host.system", lambda: "macos")
    monkeypatch.setattr("macnet.agent.get_agent", lambda *_: Agent())
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    result = run("agent", "install")
    assert result.code == 0, result.err
    said = " ".join(result.err.split())
    assert (f"macOS does not let the agent read macnet in {home / 'Documents'}" in said) is warned


def test_help_is_grouped_and_has_examples_and_defaults() -> None:
    out = run("--help").out
    assert [out.index(f"\n{group}:\n") for group in ("Everyday", "Look", "More")] == sorted(
        out.index(f"\n{group}:\n") for group in ("Everyday", "Look", "More")
    )
    text = run("check", "--help").out
    assert "[TARGET[:PORT]]...\n" in text
    assert "list[str]" not in text
    assert "[default: all containers]" in text
    assert "    macnet check redis:6379\n" in text


def test_a_stream_of_json_is_one_object_per_line_also_its_error(
    fail: Callable[[BaseException], None],
) -> None:
    for error in (NotSetUp("no tunnel"), KeyboardInterrupt()):
        fail(error)
        for argv in (["watch", "--json"], ["check", "--watch", "--json"]):
            lines = run(*argv).out.splitlines()
            assert [json.loads(line)["kind"] for line in lines] == ["error"]


def test_a_bug_keeps_its_traceback(fail: Callable[[BaseException], None]) -> None:
    bug = ZeroDivisionError("a bug")
    fail(bug)
    result = run("status")
    assert result.bug is bug
    assert result.code == 1


def test_without_an_engine() -> None:
    for argv in (["setup"], ["networks"], ["setup", "--dry-run"]):
        result = run(*argv)
        assert (result.code, result.out) == (3, "")
        assert "error: " in result.err
        assert "no Docker engine found" in result.err
        assert "hint: start Docker Desktop" in result.err
        assert run(*argv, "--json").error["code"] == "engine_unreachable"


def test_status_tells_what_it_can_without_an_engine(home: Path) -> None:
    result = run("status")
    assert result.code == 3
    assert "macnet is down" in result.out
    assert "no Docker engine found" in result.out
    found = json.loads(run("status", "--json").out)
    assert found["status"]["up"] is False
    assert not (home / "macnet").exists()


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["setup", "--port", "70000"], "70000"),
        (["setup", "--tunnel-subnet", "ten"], "ten"),
        (["setup", "--tun-mtu", "1"], "tun-mtu"),
        (["setup", "--remap", "10.0.0.0/24"], "10.0.0.0/24"),
        (["setup", "--remap", "10.0.0.0/24=10.1.0.0/25"], "10.1.0.0/25"),
        (["status", "--context", "nobody"], "nobody"),
    ],
)
def test_a_bad_value_is_exit_code_4_and_changes_nothing(
    home: Path, argv: Sequence[str], word: str
) -> None:
    result = run(*argv)
    assert (result.code, result.out) == (4, "")
    assert word in result.err
    error = run(*argv, "--json").error
    assert error["exit_code"] == 4
    assert not (home / "macnet").exists()


def test_a_setting_in_the_environment_is_judged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACNET_PORT", "many")
    result = run("status")
    assert result.code == 4
    assert "MACNET_PORT" in result.err


def test_nothing_is_there_yet() -> None:
    for argv in (["profile"], ["logs", "client"], ["connect"]):
        result = run(*argv)
        assert (result.code, result.out) == (8, "")
        assert "hint: `macnet" in result.err


def test_a_profile_is_printed_as_it_is_stored(home: Path) -> None:
    path = home / "macnet" / "tunnels" / "macnet" / "macnet.ovpn"
    path.parent.mkdir(parents=True)
    text = "client\nroute 172.17.0.0 255.255.0.0\n<ca>\nabc\n</ca>\n"
    path.write_text(text)
    result = run("profile")
    assert (result.code, result.out, result.err) == (0, text, "")
    assert json.loads(run("profile", "--json").out)["profile"] == {"profile": text}
    target = home / "copy.ovpn"
    assert run("profile", "-o", str(target)).out == f"{target} written\n"
    assert run("profile", "-o", str(target)).out == f"{target} unchanged\n"
    assert target.read_text() == text
    assert target.stat().st_mode & 0o777 == 0o600


def test_without_arguments_those_of_the_process_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/local/bin/macnet", "--version"])
    with pytest.raises(SystemExit) as end:
        app()
    assert not end.value.code
    assert capsys.readouterr().out.startswith("macnet ")
