"""The agent's files and the calls that load them, with a launchd and a systemd that are fakes."""

from __future__ import annotations

import plistlib
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from macnet.agent import AgentJob, get_agent, launchd, plan_job
from macnet.agent.launchd import LABEL, LaunchAgent, launchd_plist
from macnet.agent.systemd import UNIT, SystemdUnit, systemd_unit
from macnet.errors import AgentFailed, BadValue
from macnet.runner import DEFAULT_TIMEOUT_S, CommandFailed, Completed

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), max_size=20)


class FakeSystem:
    """launchctl and systemctl of one user. ``slow``: looks until a booted-out job is gone."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.loaded = False
        self.enabled = False
        self.pid = 0
        self.refuses = False
        self.missing = False
        self.slow = 2
        self._leaving = 0

    def find(self, program: str, *places: str) -> str | None:
        return f"/opt/tools/{program}"

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        stdin: str | None = None,
        interactive: bool = False,
    ) -> Completed:
        self.calls.append(tuple(argv))
        if self.missing:
            raise CommandFailed(argv, "is not installed")
        match list(argv):
            case ["launchctl", "print", "gui/501/io.github.macnet.watch"]:
                if self._leaving:
                    self._leaving -= 1
                    self.loaded = self._leaving > 0
                lines = ("{", "\tstate = running", f"\tpid = {self.pid}", "\tpid-x = 1", "}")
                out = f"gui/501/{LABEL} = " + "\n".join(lines)
                return Completed(tuple(argv), 0 if self.loaded else 113, out * self.loaded, "")
            case ["launchctl", "bootout", _]:
                self._leaving = self.slow
                return Completed(tuple(argv), 0, "", "")
            case ["launchctl", "bootstrap", "gui/501", file]:
                if self.refuses or self.loaded:
                    said = "Bootstrap failed: 5: Input/output error\n"
                    return Completed(tuple(argv), 5, "", said)
                assert plistlib.loads(Path(file).read_bytes())["Label"] == LABEL
                self.loaded, self.pid = True, 77
            case ["systemctl", "--user", "show", *_]:
                state = "enabled" if self.enabled else ""
                text = f"MainPID={self.pid}\nUnitFileState={state}\n"
                return Completed(tuple(argv), 0, text, "")
            case ["systemctl", "--user", verb, *_]:
                if self.refuses:
                    return Completed(tuple(argv), 1, "", "Failed to connect to bus\n")
                self.enabled = {"enable": True, "disable": False}.get(verb, self.enabled)
                self.pid = {"restart": 78, "disable": 0}.get(verb, self.pid)
        return Completed(tuple(argv), 0, "", "")

    def verbs(self) -> list[str]:
        return [w[1 if w[0] == "launchctl" else 2] for w in self.calls if "print" not in w]


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> FakeSystem:
    monkeypatch.setattr(launchd, "_POLL_S", 0)
    monkeypatch.setattr(launchd, "_BOOTOUT_S", 0.05)
    return FakeSystem()


def job(tmp_path: Path, *words: str) -> AgentJob:
    return AgentJob(("/x/macnet", "watch", *words), {"PATH": "/bin"}, tmp_path / "logs/watch.log")


def plan(environ: dict[str, str], context: str | None = None) -> AgentJob:
    return plan_job(context=context, log=Path("/logs/w"), environ=environ, runner=FakeSystem())


def test_the_job_keeps_what_names_the_engine_and_nothing_else() -> None:
    environ = {
        "DOCKER_HOST": "unix:///Users/ann/.colima/docker.sock",
        "DOCKER_CONFIG": "/Users/ann/.docker",
        "MACNET_HOME": "/Users/ann/macnet",
        "MACNET_CLIENT": "tunnelblick",
        "DOCKER_CONTEXT": "",
        "AWS_SECRET_ACCESS_KEY": "hidden",
        "PATH": "/somewhere",
    }
    found = plan(environ)
    assert Path(found.argv[0]).is_absolute()
    assert found.argv[-1] == "watch"
    assert set(found.environment) == {
        "DOCKER_HOST",
        "DOCKER_CONFIG",
        "MACNET_HOME",
        "MACNET_CLIENT",
        "PATH",
    }
    search_path = found.environment["PATH"].split(":")
    assert "/opt/homebrew/bin" in search_path
    assert search_path[-1] == "/opt/tools"
    assert "/somewhere" not in search_path


def test_a_context_wins_and_a_password_is_refused() -> None:
    found = plan({"DOCKER_HOST": "tcp://u:secret@127.0.0.1:2375"}, context="colima")
    assert found.argv[-3:] == ("watch", "--context", "colima")
    assert "DOCKER_HOST" not in found.environment
    with pytest.raises(BadValue, match="password") as caught:
        plan({"DOCKER_HOST": "tcp://u:secret@127.0.0.1:2375"})
    assert "secret" not in str(caught.value)


def test_which_agent(tmp_path: Path, system: FakeSystem) -> None:
    found = get_agent("macos", system, tmp_path, 501, {})
    assert isinstance(found, LaunchAgent)
    assert found.file == tmp_path / "Library/LaunchAgents/io.github.macnet.watch.plist"
    unit = get_agent("linux", system, tmp_path, 0, {"XDG_CONFIG_HOME": str(tmp_path / "c")})
    assert isinstance(unit, SystemdUnit)
    assert unit.file == tmp_path / "c/systemd/user" / UNIT
    with pytest.raises(BadValue, match="sudo"):
        get_agent("macos", system, tmp_path, 0, {"SUDO_USER": "ann"})


def test_launchd_plist_has_absolute_paths_and_restarts_only_after_a_crash(tmp_path: Path) -> None:
    plist = launchd_plist(job(tmp_path))
    assert plist["KeepAlive"] == {"SuccessfulExit": False}
    assert plist["RunAtLoad"] is True
    assert plist["ProgramArguments"] == ["/x/macnet", "watch"]
    assert Path(str(plist["StandardOutPath"])).is_absolute()
    assert "~" not in plistlib.dumps(plist).decode()


def test_launchd_install_twice_change_and_uninstall(tmp_path: Path, system: FakeSystem) -> None:
    agent = LaunchAgent(system, tmp_path / "LaunchAgents", 501)
    first = job(tmp_path)
    assert agent.install(first) is True
    assert system.verbs() == ["bootstrap"]
    assert agent.file.stat().st_mode & 0o777 == 0o644
    assert agent.install(first) is False
    assert system.verbs() == ["bootstrap"]
    now = agent.status(first.log)
    assert (now.installed, now.loaded, now.pid) == (True, True, 77)
    assert agent.install(job(tmp_path, "--context", "x")) is True
    assert system.verbs() == ["bootstrap", "bootout", "bootstrap"]
    assert agent.uninstall() is True
    assert not agent.file.exists()
    assert agent.uninstall() is False
    now = agent.status(first.log)
    assert (now.installed, now.loaded, now.pid) == (False, False, None)


def test_launchd_that_refuses_or_hangs(tmp_path: Path, system: FakeSystem) -> None:
    agent = LaunchAgent(system, tmp_path / "LaunchAgents", 501)
    system.refuses = True
    with pytest.raises(AgentFailed, match="does not load") as caught:
        agent.install(job(tmp_path))
    assert "next login" in (caught.value.hint or "")
    assert "Input/output" in (caught.value.detail or "")
    system.refuses = False
    assert agent.install(job(tmp_path)) is True
    system.slow = 10**9
    with pytest.raises(AgentFailed, match="does not end"):
        agent.uninstall()


def test_systemd_install_twice_change_and_uninstall(tmp_path: Path, system: FakeSystem) -> None:
    agent = SystemdUnit(system, tmp_path / "systemd/user")
    first = job(tmp_path)
    assert agent.install(first) is True
    assert [v for v in system.verbs() if v != "show"] == ["daemon-reload", "enable", "restart"]
    assert agent.install(first) is False
    now = agent.status(first.log)
    assert (now.installed, now.loaded, now.pid) == (True, True, 78)
    system.pid = 0
    assert agent.install(first) is True
    assert agent.uninstall() is True
    assert not agent.file.exists()
    assert agent.uninstall() is False
    assert agent.status(first.log).loaded is False


def test_without_a_session_or_without_systemd(tmp_path: Path, system: FakeSystem) -> None:
    agent = SystemdUnit(system, tmp_path / "systemd/user")
    system.refuses = True
    with pytest.raises(AgentFailed, match="Failed to connect to bus"):
        agent.install(job(tmp_path))
    system.missing = True
    with pytest.raises(AgentFailed, match="is not installed"):
        agent.uninstall()
    assert agent.status(tmp_path / "log").pid is None
    mac = LaunchAgent(system, tmp_path, 501)
    assert mac.status(tmp_path / "log").loaded is False


@given(TEXT.filter(bool), TEXT)
def test_systemd_reads_back_any_word(word: str, value: str) -> None:
    text = systemd_unit(AgentJob((f"/x/{word}", value), {"NAME": value}, Path("/l og/50%")))
    lines = text.splitlines()
    command = next(line for line in lines if line.startswith("ExecStart="))
    words = unquote(command.partition("=")[2])
    assert [w.replace("$$", "$") for w in words] == [f"/x/{word}", value]
    variable = next(line for line in lines if line.startswith("Environment="))
    assert unquote(variable.partition("=")[2]) == [f"NAME={value}"]
    assert "StandardOutput=append:/l og/50%%" in lines


def unquote(text: str) -> list[str]:
    """Words as systemd reads them; inside double quotes its escapes are the shell's two."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    return [word.replace("%%", "%") for word in lexer]
