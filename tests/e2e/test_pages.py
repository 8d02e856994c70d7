"""What the README, the tutorial and other pages tell people to type, and what they show for it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.pages import ROOT, Typed, commands, same, unmarked
from tests.e2e.steps import PROGRAM, Mac, wait_until
from tests.e2e.test_agent import unit_job
from tests.lab import Lab
from tests.lab.images import SAMPLE_IMAGE, import_sample
from tests.lab.paths import LabPaths
from tests.lab.process import DEVNULL, run
from tests.lab.resolver_mac import MACNET, NamesMac
from tests.side_by_side import lab_name

README, TUTORIAL = "README.md", "docs/tutorial.md"
INSTALL, EVERYDAY = "docs/how-to/install.md", "docs/how-to/everyday.md"
NAMES, UNINSTALL = "docs/how-to/names.md", "docs/how-to/uninstall.md"
PAGES = (README, TUTORIAL, INSTALL, EVERYDAY, NAMES, UNINSTALL)
#: Container `web` there.
WEB = "172.17.0.2"
_INDEX = "it downloads from the package index"
_BROUGHT = "another machine makes the image"
#: What cannot be typed here, by its page: why, and what types it, with its words there.
ELSEWHERE: Mapping[tuple[str, str], tuple[str, str, str]] = {
    (README, "brew install openvpn"): (
        "for a Mac",
        ".ci/engine",
        "brew install colima docker openvpn",
    ),
    (README, "uv tool install ."): (_INDEX, ".ci/install", 'uv" tool install'),
    (INSTALL, "uv tool install ."): (_INDEX, ".ci/install", 'uv" tool install'),
    (INSTALL, "pipx install ."): (_INDEX, ".ci/install", "pipx install"),
    (INSTALL, "pip install ."): (_INDEX, "Makefile", "-m pip install"),
    (INSTALL, "macnet setup --force"): (_BROUGHT, "tests/e2e/test_image.py", '"setup"'),
    (INSTALL, "docker save -o helper.tar macnet-helper:…"): (
        _BROUGHT,
        "tests/e2e/test_image.py",
        '"save", "-o"',
    ),
    (INSTALL, "docker load -i helper.tar"): (_BROUGHT, "tests/e2e/test_image.py", '"load", "-i"'),
    (INSTALL, "macnet setup --offline"): (_BROUGHT, "tests/e2e/test_image.py", '"--offline"'),
    (EVERYDAY, "macnet setup --context colima"): (
        "an engine of a Mac",
        "tests/e2e/test_engines.py",
        '"setup", "--context", second',
    ),
}
#: What is typed in another terminal while a command goes on, and what it says of that.
_NETWORKS = (
    ("true", "following the engine"),
    ("docker network create --subnet 172.30.0.0/24 blue", "+ 172.30.0.0/24 blue"),
    ("docker network rm blue", "- 172.30.0.0/24"),
)
BESIDE = {
    "macnet watch": _NETWORKS,
    "macnet map --serve": (("true", "http://127.0.0.1:"),),
}
#: What the README has people type in running text, and what types it, with its words there.
_HERE = "tests/e2e/test_pages.py"
IN_SENTENCES: Mapping[str, tuple[str, str]] = {
    "macnet": ("tests/e2e/test_first_run.py", "clean.macnet().stdout"),
    "macnet setup": ("tests/e2e/test_setup.py", 'macnet("setup")'),
    "macnet connect": ("tests/e2e/test_heal.py", 'macnet("connect")'),
    "macnet names": ("tests/e2e/test_names_switch.py", '"names", *words'),
    "macnet agent uninstall": ("tests/e2e/test_agent.py", '"agent", "uninstall"'),
    "macnet down --purge": ("tests/e2e/test_down.py", 'macnet("down", "--purge")'),
    "macnet watch": ("tests/e2e/test_watch.py", '[PROGRAM, "watch"'),
    "make run": (_HERE, 'make("run-Linux"'),
    "make shell": (_HERE, 'make("shell"'),
    "make down": (_HERE, 'make("down-Linux"'),
    "make clean": (_HERE, 'make("clean"'),
    "make test": (".ci/run", "\nmake test\n"),
    "make test-mac": (".ci/report", "-m tests.mac"),
    "ping 172.17.0.2": ("tests/e2e/test_reach.py", "not clean.pings(address"),
    "minikube docker-env": ("tests/unit/test_contexts.py", "`eval $(minikube docker-env)` sets"),
    # For a Mac that has Podman: the README itself says that nobody has tried it.
    "podman machine set --rootful": (README, "its machine is not tried"),
}
_OF_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
_EGG = "*.egg-info/"
_LOOK_UP = "getent hosts redis.docker.test"
#: What a page types to show that the command before has failed.
EXIT_CODE = "echo $?"


@dataclass
class Shell:
    """A shell on the Mac side: its engine, its folder, and what it has typed."""

    lab: Lab
    folder: Path
    engine: str
    path: str
    words: Sequence[str] = ()
    wrong: list[str] = field(default_factory=list)
    code: int = 0

    def env(self) -> dict[str, str]:
        lab = self.lab.mac_environment()
        base = Mac(self.lab).environment()
        return {**base, "PATH": f"{self.path}:{lab['PATH']}", "PYTHONPATH": str(ROOT)}

    def run(self, command: str) -> tuple[int, str]:
        """The exit code of a command, and what it printed on both streams."""
        argv = [*self.words, "bash", "-c", f"exec 2>&1; (exit {self.code}); {command}"]
        done = self.lab.run(
            argv,
            env=self.env(),
            engine=self.engine,
            cwd=self.folder,
            check=False,
            timeout_s=180,
        )
        return done.returncode, done.stdout

    def type(self, typed: Typed, then: Typed | None) -> None:
        """Run a command of a page and compare; what differs is kept for the end.

        It may fail only where the page shows the exit code next.
        """
        code, real = self.run(typed.command)
        self.code = code if then is not None and then.command == EXIT_CODE else 0
        self.compare(typed, code - self.code, real)

    def compare(self, typed: Typed, code: int, real: str) -> None:
        """Keep a note where that is not what the page shows."""
        where = f"{typed.page}:{typed.line}: {typed.command}"
        if code:
            self.wrong.append(f"{where}\nends with {code}:\n{real}")
        elif typed.shown is not None and not same(typed.shown, real):
            shown = "\n".join(typed.shown)
            self.wrong.append(f"{where}\nthe page shows:\n{shown}\nit prints:\n{real}")

    def follow(self, typed: Typed) -> None:
        """Run a command that goes on until Ctrl-C, while others are typed elsewhere."""
        file = self.folder / "followed"
        with file.open("w") as out:
            process = self.lab.popen(
                [*self.words, *typed.command.split()],
                env=self.env(),
                engine=self.engine,
                cwd=self.folder,
                stdout=out,
                stderr=out,
            )
        try:
            for command, said in BESIDE[typed.command]:
                assert self.run(command)[0] == 0, command
                wait_until(partial(_has, file, said), 30, f"{said!r}")
            process.send_signal(signal.SIGINT)
            self.compare(typed, process.wait(20), file.read_text())
        finally:
            process.kill()
            process.wait(10)

    def type_all(self, found: Sequence[Typed], agent: Callable[[], None] | None = None) -> None:
        """Type commands one after the other; all that differs fails at the end."""
        for typed, then in zip(found, [*found[1:], None], strict=True):
            if (typed.page, typed.command) in ELSEWHERE:
                continue
            if typed.command in BESIDE:
                self.follow(typed)
            else:
                self.type(typed, then)
            if typed.command == "macnet agent install" and agent is not None:
                agent()
        assert self.wrong == [], "\n\n".join(self.wrong)


def _has(file: Path, words: str) -> bool:
    return words in file.read_text()


def test_no_command_is_unmarked() -> None:
    assert [(page, line) for page in PAGES for line in unmarked(page)] == []


@pytest.mark.parametrize(("page", "command"), list(ELSEWHERE))
def test_what_is_not_typed_here_is_typed_elsewhere(page: str, command: str) -> None:
    _, where, words = ELSEWHERE[page, command]
    assert command in [one.command for one in commands(page)]
    assert words in (ROOT / where).read_text()


def test_output_that_differs_is_seen() -> None:
    shown = ("tunnel macnet is up", "…", "took 0.3 s")
    assert same(shown, "tunnel macnet is up\nmore\nand more\ntook 12.5 s\n")
    assert same(shown, "tunnel macnet is up\ntook 1 s\n")
    assert not same(shown, "tunnel macnet is down\ntook 1 s\n")
    assert not same(shown, "tunnel macnet is up\ntook 1 s\nand more\n")
    assert not same(shown, "took 1 s\n")


@pytest.fixture
def fresh(mac: Mac, tmp_path: Path) -> Iterator[Shell]:
    """An engine of a user who has just begun: no network, no container, one image."""
    lab = mac.lab
    mac.macnet("down", "--purge")
    engine = lab.add_engine("fresh", lab.engine.kind)
    import_sample(engine)
    server = 'CMD ["redis-server", "--bind", "*", "--protected-mode", "no", "--save", ""]'
    engine.docker("create", "--name", "made", SAMPLE_IMAGE)
    engine.docker("commit", "--change", server, "--change", "EXPOSE 6379", "made", "redis:7")
    engine.docker("rm", "made")
    shell = Shell(lab, tmp_path, "fresh", str(Path(PROGRAM).parent))
    yield shell
    shell.run("macnet down --purge")
    lab.remove_engine("fresh")


@pytest.mark.kernel_lane  # which the pages show
def test_the_tutorial(fresh: Shell) -> None:
    text = (ROOT / TUTORIAL).read_text()
    assert all(f"`{command}`" in text for command, _ in _NETWORKS[1:])
    fresh.type_all(commands(TUTORIAL))


def first_on_the_bridge(lab: Lab) -> None:
    """Give `web` the address that the README has for it, the first one of the default bridge.

    That network takes no fixed addresses. In a test before, an engine that restarted may have
    started macnet's server, which takes the first one too, before `web`.
    """
    if lab.sample.address("web") != WEB:
        lab.docker("stop", "--time", "0", "web", "published")
        lab.docker("start", "web")
        lab.docker("start", "published")
        lab.sample.wait_ready()
    assert lab.sample.address("web") == WEB


@pytest.fixture
def named(purged: Mac, tmp_path: Path) -> Iterator[Shell]:
    """The sample application's engine, on a Mac that asks as macOS does for names."""
    first_on_the_bridge(purged.lab)
    with NamesMac(purged.lab) as side, side.macos():
        program = tmp_path / "bin/macnet"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {" ".join(MACNET)} "$@"\n')
        program.chmod(0o755)
        shell = Shell(purged.lab, tmp_path, "default", str(program.parent), side.words)
        yield shell
        shell.run("macnet names off; macnet down --purge")


@contextmanager
def agent(shell: Shell) -> Iterator[Callable[[], None]]:
    """A systemd of the user, whose job the given function starts."""
    with ExitStack() as stack:
        systemctl = Path(shell.path) / "systemctl"
        systemctl.write_text("#!/bin/sh\n")
        systemctl.chmod(0o755)

        def start() -> None:
            unit = shell.lab.paths.mac_user / ".config/systemd/user/macnet-watch.service"
            argv, environment, _ = unit_job(unit.read_text())
            process = shell.lab.popen(
                [*shell.words, *argv],
                env={**shell.env(), **environment},
                stdout=DEVNULL,
                stderr=DEVNULL,
            )
            stack.callback(process.wait, 10)
            stack.callback(process.kill)
            wait_until(lambda: shell.run(_LOOK_UP)[0] == 0, 30, "the agent's answer")

        yield start


@pytest.mark.kernel_lane  # which the pages show
def test_the_other_pages(named: Shell) -> None:
    """One after the other: each begins with a tunnel of default settings, without names."""
    named.run("docker network create shop_front; docker network create shop_admin")
    try:
        with agent(named) as start:
            for page in (INSTALL, EVERYDAY, NAMES, UNINSTALL):
                assert named.run("macnet setup --reset && macnet names off")[0] == 0
                named.type_all(commands(page), start)
    finally:
        named.run("docker network rm shop_front shop_admin green")


@pytest.mark.kernel_lane  # which the pages show
def test_the_readme(named: Shell) -> None:
    """In its order, but what it promises, which its commands bring about, comes last."""
    found = commands(README)
    promised = [typed for typed in found if typed.line < 12]
    assert len(promised) == 2
    with agent(named) as start:
        named.type_all([*(typed for typed in found if typed not in promised), *promised], start)


def make(*words: str, cwd: Path = ROOT, typed: str | None = None) -> str:
    """What make prints, of which this may be a part: nothing that this one was given goes on."""
    env = {name: value for name, value in os.environ.items() if name not in _OF_MAKE}
    # Without a terminal, which an interactive shell would take from the tests.
    argv = ["setsid", "--wait", "make", "--silent", *words]
    return run(argv, cwd=cwd, env=env, input=typed, timeout_s=250).stdout


def left_of(lab: LabPaths) -> list[str]:
    """What there is of a lab: files, network namespaces, processes."""
    files = [lab.home, *Path("/run/netns").glob(f"{lab.name}-*")]
    found = [str(path) for path in files if path.exists()]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        # One may end meanwhile.
        with suppress(OSError):
            if f"{lab.home}/".encode() in (command := process.read_bytes()):
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_make_run_shell_and_down(tmp_path: Path) -> None:
    """The README's way without a Mac, in a lab of its own, which this takes down."""
    name = f"{lab_name()}-make"
    paths = LabPaths.of(name)
    lab = f"{sys.executable} -m tests.lab --name {name}"
    ready = tmp_path / "ready"
    ready.touch()
    # Nothing is installed anew: of all files this one is the newest.
    words = (f"PYTHON={sys.executable}", f"READY={ready}", f"LAB={lab}")
    try:
        said = make("run-Linux", *words)
        assert "The tunnel is up: " in said
        assert "\nPONG\n" in said
        assert "`make shell` opens a shell" in said
        typed = "redis-cli -h 172.82.0.100 ping\nmacnet status\ndocker ps\nexit\n"
        said = make("shell", *words, typed=typed)
        assert said.startswith("PONG\n")
        assert "macnet is up" in said
        assert "macnet-relay" in said
        assert left_of(paths) != []
        make("down-Linux", *words)
        assert left_of(paths) == []
        assert "0.5 GB" in (ROOT / README).read_text()
        assert (paths.cache / "trees").is_dir()
    finally:
        Lab(name).down()


def test_make_clean(tmp_path: Path) -> None:
    """In a folder that is no checkout: this one's environment runs the tests."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    # Python makes the others without make.
    made = [one for one in ignored if one.endswith("/") and one not in {"__pycache__/", _EGG}]
    assert ".venv/" in made
    kept = ("macnet/cli/app.py", "tunnel.ovpn", "macnet/build/part.py")
    for file in (*(f"{folder}deep/file" for folder in made), *kept):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    make("clean", cwd=tmp_path)
    left = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(map(str, left)) == sorted(["Makefile", *kept])


def test_each_command_in_the_readmes_sentences_is_typed_somewhere() -> None:
    text = re.sub(r"```.*?```", "", (ROOT / README).read_text(), flags=re.DOTALL)
    found = set(re.findall(r"`((?:macnet|make|minikube|ping|podman)\b[^`]*)`", text))
    assert found == set(IN_SENTENCES)
    for where, words in IN_SENTENCES.values():
        # This file has them in its table too.
        assert (ROOT / where).read_text().count(words) > (where == _HERE), words
