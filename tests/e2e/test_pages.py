"""What the README, the tutorial and other pages tell people to type, and what they show for it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.pages import ROOT, Typed, commands, same, unmarked
from tests.e2e.steps import PROGRAM, Mac, wait_until
from tests.e2e.test_agent import unit_job
from tests.lab import Lab
from tests.lab.images import SAMPLE_IMAGE, import_sample
from tests.lab.process import DEVNULL, run
from tests.lab.resolver_mac import MACNET, NamesMac

README, TUTORIAL = "README.md", "docs/tutorial.md"
INSTALL, EVERYDAY = "docs/how-to/install.md", "docs/how-to/everyday.md"
NAMES, UNINSTALL = "docs/how-to/names.md", "docs/how-to/uninstall.md"
PAGES = (README, TUTORIAL, INSTALL, EVERYDAY, NAMES, UNINSTALL)
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


def test_the_tutorial(fresh: Shell) -> None:
    text = (ROOT / TUTORIAL).read_text()
    assert all(f"`{command}`" in text for command, _ in _NETWORKS[1:])
    fresh.type_all(commands(TUTORIAL))


@pytest.fixture
def named(purged: Mac, tmp_path: Path) -> Iterator[Shell]:
    """The sample application's engine, on a Mac that asks as macOS does for names."""
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


def test_the_readme(named: Shell) -> None:
    """In its order, but what it promises, which its commands bring about, comes last."""
    found = commands(README)
    promised = [typed for typed in found if typed.line < 12]
    assert len(promised) == 2
    with agent(named) as start:
        named.type_all([*(typed for typed in found if typed not in promised), *promised], start)


def test_make_run(clean: Mac) -> None:
    """The README's way without a Mac, in the lab that is up."""
    assert "`make run`" in (ROOT / README).read_text()
    lab = f"{sys.executable} -m tests.lab --name {clean.lab.name}"
    # Nothing is installed anew.
    words = [f"PYTHON={sys.executable}", "READY=Makefile", f"LAB={lab}"]
    done = run(["make", "--silent", "run-Linux", *words], cwd=ROOT, timeout_s=200)
    assert "The tunnel is up: " in done.stdout
    assert "\nPONG\n" in done.stdout
    assert "`make shell` opens a shell" in done.stdout
