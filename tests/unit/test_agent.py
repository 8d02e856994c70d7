"""The agent's files and the calls that load them, with a launchd and a systemd that are fakes."""

from __future__ import annotations

import plistlib
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from macnet.agent import AgentJob, get_agent, guarded_folder, launchd, plan_job
from macnet.agent.base import SEARCH_PATH
from macnet.agent.launchd import LABEL, LaunchAgent, launchd_plist
from macnet.agent.systemd import UNIT, SystemdUnit, systemd_unit
from macnet.contexts import resolve_engine
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
        #: Switched off in System Settings; a job that launchd does not list but holds on to.
        self.disabled = False
        self.stuck = False
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
            case ["launchctl", "enable", "gui/501/io.github.macnet.watch"]:
                self.disabled = False
            case ["launchctl", "bootout", _]:
                self.stuck = False
                self._leaving = self.slow if self.loaded else 0
                return Completed(tuple(argv), 0, "", "")
            case ["launchctl", "bootstrap", "gui/501", file]:
                if self.refuses or self.loaded or self.disabled or self.stuck:
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
        "MACNET_CONTEXT": "colima",
        "MACNET_EXCLUDE": "admin",
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
        "MACNET_CONTEXT",
        "PATH",
    }
    search_path = found.environment["PATH"].split(":")
    assert "/opt/homebrew/bin" in search_path
    assert search_path[-1] == "/opt/tools"
    assert "/somewhere" not in search_path


def test_the_job_finds_an_engine_whose_socket_a_variable_moved(tmp_path: Path) -> None:
    """As setup does: without a context and DOCKER_HOST the variable alone tells where it is."""
    moved = {"COLIMA_HOME": "default", "XDG_CONFIG_HOME": "colima/default"}
    moved["LIMA_HOME"] = "docker-rootful/sock"
    for name, part in moved.items():
        socket = tmp_path / name / part / "docker.sock"
        socket.parent.mkdir(parents=True)
        socket.touch()
        environ = {name: str(tmp_path / name)}
        kept = plan(environ).environment
        assert resolve_engine(None, kept, tmp_path) == resolve_engine(None, environ, tmp_path)
        assert kept[name] == environ[name]


def test_the_job_names_macnet_as_it_runs_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python3"
    monkeypatch.setattr("sys.executable", str(python))
    assert plan({}).argv == (str(python), "-P", "-m", "macnet", "watch")
    (tmp_path / "macnet").touch()
    assert plan({}).argv == (str(tmp_path / "macnet"), "watch")


def test_without_openvpn_the_job_has_the_usual_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSystem, "find", lambda *_: None)
    assert plan({}).environment == {"PATH": ":".join(SEARCH_PATH)}


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
    unit = get_agent("linux", system, tmp_path, 501, {"SUDO_USER": "ann"})
    assert isinstance(unit, SystemdUnit)
    assert unit.file == tmp_path / ".config/systemd/user" / UNIT
    unit = get_agent("linux", system, tmp_path, 0, {"XDG_CONFIG_HOME": str(tmp_path / "c")})
    assert isinstance(unit, SystemdUnit)
    assert unit.file == tmp_path / "c/systemd/user" / UNIT
    with pytest.raises(BadValue, match="sudo"):
        get_agent("macos", system, tmp_path, 0, {"SUDO_USER": "ann"})


def test_launchd_plist_has_absolute_paths_and_restarts_only_after_a_crash(tmp_path: Path) -> None:
    plist = launchd_plist(job(tmp_path))
    assert plist["KeepAlive"] == {"SuccessfulExit": False}
    assert plist["RunAtLoad"] is True
    # "Background" would be slowed down, and routes are wanted at once.
    assert plist["ProcessType"] == "Standard"
    assert plist["ProgramArguments"] == ["/x/macnet", "watch"]
    assert plist["EnvironmentVariables"] == {"PATH": "/bin"}
    assert plist["StandardErrorPath"] == plist["StandardOutPath"] == str(job(tmp_path).log)
    assert Path(str(plist["StandardOutPath"])).is_absolute()
    assert "~" not in plistlib.dumps(plist).decode()


def test_launchd_install_twice_change_and_uninstall(tmp_path: Path, system: FakeSystem) -> None:
    agent = LaunchAgent(system, tmp_path / "LaunchAgents", 501)
    first = job(tmp_path)
    assert agent.install(first) is True
    assert system.verbs() == ["enable", "bootstrap"]
    assert agent.file.stat().st_mode & 0o777 == 0o644
    assert agent.install(first) is False
    assert system.verbs() == ["enable", "bootstrap"]
    now = agent.status(first.log)
    assert (now.installed, now.loaded, now.pid) == (True, True, 77)
    assert agent.install(job(tmp_path, "--context", "x")) is True
    assert system.verbs()[2:] == ["bootout", "enable", "bootstrap"]
    assert agent.uninstall() is True
    assert not agent.file.exists()
    assert agent.uninstall() is False
    now = agent.status(first.log)
    assert (now.installed, now.loaded, now.pid) == (False, False, None)


@pytest.mark.parametrize(("loaded", "written"), [(True, False), (False, True)])
def test_launchd_uninstall_takes_whatever_half_there_is(
    tmp_path: Path, system: FakeSystem, loaded: bool, written: bool
) -> None:
    agent = LaunchAgent(system, tmp_path, 501)
    system.loaded = loaded
    if written:
        agent.file.touch()
    assert agent.uninstall() is True
    assert not agent.file.exists()
    assert not system.loaded
    assert agent.uninstall() is False


@pytest.mark.parametrize("state", ["disabled", "stuck"])
def test_launchd_takes_an_agent_that_was_switched_off_or_left_behind(
    tmp_path: Path, system: FakeSystem, state: str
) -> None:
    setattr(system, state, True)
    system.slow = 0
    assert LaunchAgent(system, tmp_path / "LaunchAgents", 501).install(job(tmp_path)) is True


def test_a_program_in_a_folder_that_macos_guards(tmp_path: Path) -> None:
    def program(place: str) -> AgentJob:
        return AgentJob((str(tmp_path / place), "watch"), {}, tmp_path / "log")

    guarded = program("Documents/macnet/.venv/bin/macnet")
    assert guarded_folder(guarded, tmp_path) == tmp_path / "Documents"
    cloud = program("Library/Mobile Documents/com~apple~CloudDocs/macnet/bin/macnet")
    assert guarded_folder(cloud, tmp_path) == tmp_path / "Library/Mobile Documents"
    assert guarded_folder(program("code/macnet/.venv/bin/macnet"), tmp_path) is None
    assert guarded_folder(program("Documents2/bin/macnet"), tmp_path) is None


def test_launchd_that_refuses_or_hangs(tmp_path: Path, system: FakeSystem) -> None:
    agent = LaunchAgent(system, tmp_path / "LaunchAgents", 501)
    system.refuses = True
    with pytest.raises(AgentFailed, match="does not load") as caught:
        agent.install(job(tmp_path))
    assert "Login Items" in (caught.value.hint or "")
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
    assert system.pid == 78
    system.enabled = False
    assert agent.install(first) is True
    assert system.enabled
    system.calls.clear()
    assert agent.install(job(tmp_path, "--context", "x")) is True
    assert [v for v in system.verbs() if v != "show"] == ["daemon-reload", "enable", "restart"]
    assert agent.uninstall() is True
    assert (system.pid, system.enabled) == (0, False)
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
