"""The workflows and their scripts: what is pinned, what is there, and how each script ends.

.ci/reach runs in the lab (tests/e2e/test_ci_steps.py); .ci/install needs a package index.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess  # noqa: TID251
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CI = ROOT / ".ci"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=names(WORKFLOWS))
def test_each_action_is_pinned_and_rights_are_named(workflow: Path) -> None:
    text = workflow.read_text()
    used = re.findall(r"uses: (.+)", text)
    pinned = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert used
    assert [words for words in used if not pinned.fullmatch(words)] == []
    assert re.search(r"^permissions:", text, re.MULTILINE)
    assert text.count("persist-credentials: false") == text.count("uses: actions/checkout@")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=names(WORKFLOWS))
def test_each_step_is_a_script_or_one_command(workflow: Path) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in re.findall(r"- run: (.+)", workflow.read_text()):
        program, *words = command.split()
        assert program in ("make", "pipx", "macnet") or os.access(ROOT / program, os.X_OK), command
        assert program != "make" or set(words) <= set(targets), command


@pytest.mark.parametrize("script", sorted(CI.iterdir()), ids=names(sorted(CI.iterdir())))
def test_each_script_stops_at_the_first_failure(script: Path) -> None:
    text = script.read_text()
    shell = "bash" if text.startswith("#!/usr/bin/env bash\n") else "sh"
    assert shell == "bash" or text.startswith("#!/bin/sh\n")
    assert re.search(r"^set -eu", text, re.MULTILINE)
    subprocess.run([shell, "-n", script], check=True)


class Tree:
    """A project with copies of scripts, in which programs only write down how they are called."""

    def __init__(self, root: Path, *scripts: str) -> None:
        self.root = root
        self._bin = root / "bin"
        (root / ".ci").mkdir()
        self._bin.mkdir()
        for script in scripts:
            shutil.copy(CI / script, root / ".ci" / script)

    def program(self, name: str, then: str = "") -> None:
        """Put a program on PATH, or at a path in the project."""
        path = self.root / name if "/" in name else self._bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "{path.name} $*" >>"{self.root}/called"\n{then}\n')
        path.chmod(0o755)

    def run(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / ".ci" / script, *words],
            cwd=self.root,
            env={**os.environ, "PATH": f"{self._bin}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def called(self) -> list[str]:
        return (self.root / "called").read_text().splitlines()


def test_the_engine(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "engine")
    for program in ("brew", "colima", "docker"):
        tree.program(program)
    assert tree.run("engine").returncode == 0
    assert tree.called[:2] == [
        "brew install colima docker openvpn",
        "colima start --runtime docker",
    ]


@pytest.mark.parametrize("code", [0, 1])
def test_a_report_is_kept_however_it_ends(tmp_path: Path, code: int) -> None:
    tree = Tree(tmp_path, "report", "tunnelblick")
    tree.program("make")
    tree.program("brew")
    tree.program(".venv/bin/python", f"echo seen; exit {code}")
    done = tree.run("tunnelblick", "out.md")
    assert (done.returncode, done.stdout) == (code, "seen\n")
    assert (tmp_path / "out.md").read_text() == "seen\n"
    assert tree.called == [
        "brew install --cask tunnelblick",
        "make .venv/.ready",
        "python -m tests.mac --look-only",
    ]


def test_each_address_of_the_pages_is_asked(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "links")
    tree.program("curl", 'case "$*" in *gone*) exit 22 ;; esac')
    for folder in ("docs", "tests/lab"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "README.md").write_text("[a](https://example.org/a) [b](docs/b.md)\n")
    page = tmp_path / "docs/b.md"
    page.write_text("[c](https://example.org/c#part), [a](https://example.org/a)\n")
    assert tree.run("links").returncode == 0
    asked = [call.split()[-1] for call in tree.called]
    assert asked == ["https://example.org/a", "https://example.org/c"]
    page.write_text("[gone](https://example.org/gone) [z](https://example.org/z)\n")
    done = tree.run("links")
    assert done.returncode == 1
    assert done.stderr == "error: https://example.org/gone does not answer\n"
    # The others are asked all the same.
    assert tree.called[-1].endswith("https://example.org/z")


@pytest.fixture
def release(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path, "release", "publish-release")
    files = "dist/macnet-1.2.3-py3-none-any.whl dist/macnet-1.2.3.tar.gz"
    tree.program("pipx", f'case "$*" in *build*) touch {files} ;; esac')
    tree.program("gh")
    tree.program("python3", "echo formula")
    tree.program(".ci/install")
    (tmp_path / "macnet").mkdir()
    (tmp_path / "macnet/__init__.py").write_text('__version__ = "1.2.3"\n')
    changes = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3]\n\n- New.\n\n## [1.2.2]\n\n- Old.\n"
    (tmp_path / "CHANGELOG.md").write_text(changes)
    return tree


def test_a_release_is_built_checked_and_published(release: Tree) -> None:
    done = release.run("release", "v1.2.3")
    assert done.returncode == 0, done.stderr
    assert (release.root / "dist/notes.md").read_text() == "\n- New.\n\n"
    assert release.called[-1] == "install dist/macnet-1.2.3-py3-none-any.whl"

    done = release.run("publish-release", "v1.2.3", "https://example.com/macnet")
    assert done.returncode == 0, done.stderr
    assert (release.root / "dist/macnet.rb").read_text() == "formula\n"
    url = "https://example.com/macnet/releases/download/v1.2.3/macnet-1.2.3.tar.gz"
    assert f"--url {url} --homepage https://example.com/macnet" in release.called[-2]
    assert release.called[-1].startswith("gh release create v1.2.3 ")


@pytest.mark.parametrize(
    ("tag", "changes", "why"),
    [
        ("v1.2.4", None, "the tag is v1.2.4, the version 1.2.3"),
        (
            "v1.2.3",
            "## [Unreleased]\n\n- More.\n\n## [1.2.3]\n\n- New.\n",
            "lines under [Unreleased]",
        ),
        ("v1.2.3", "## [Unreleased]\n\n## [1.2.2]\n\n- Old.\n", "says nothing of 1.2.3"),
    ],
)
def test_a_release_that_does_not_agree_is_refused(
    release: Tree, tag: str, changes: str | None, why: str
) -> None:
    if changes is not None:
        (release.root / "CHANGELOG.md").write_text(changes)
    done = release.run("release", tag)
    assert done.returncode == 1
    assert why in done.stderr
    assert not (release.root / "called").exists()
