"""The project's own rules: one version, every error drawn, no registry's address."""

from __future__ import annotations

import re
import shutil
import subprocess  # noqa: TID251
import tomllib
from pathlib import Path

import pytest

import macnet
from macnet import errors
from macnet.errors import MacnetError

ROOT = Path(__file__).parents[2]
#: Put together here, so that this file holds none of them.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("snapshot", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("registry-1", "docker", "io"),
        ("index", "docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
        ("proxy", "golang", "org"),
    )
)


def tracked(*suffixes: str) -> list[Path]:
    """The project's files: what git says, else (no git, another owner, an sdist) what is there."""
    argv = ["git", "-C", str(ROOT), "ls-files", "-z"]
    listed = ""
    if (ROOT / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(argv, capture_output=True, check=False, text=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name] or [
        path for name in ("macnet", "templates", "tests") for path in (ROOT / name).rglob("*")
    ]
    found = [path for path in files if path.is_file() and "__pycache__" not in path.parts]
    return [path for path in found if path.suffix in suffixes or not suffixes]


def subclasses(base: type[MacnetError]) -> list[type[MacnetError]]:
    return [one for sub in base.__subclasses__() for one in (sub, *subclasses(sub))]


OURS = [one for one in subclasses(MacnetError) if one.__module__ == errors.__name__]
EVERY: list[type[MacnetError]] = [MacnetError, *OURS]


def test_one_version() -> None:
    """It is written in macnet/__init__.py; the newest section of the changelog is its own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", macnet.__version__)
    sections = re.findall(r"^## \[(.+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[:2] == ["Unreleased", macnet.__version__]


def drawn() -> dict[str, tuple[int, int | None]]:
    """The tree in the docstring: name -> its depth, the exit code written behind it."""
    found = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    ([│├└─ ]*)([A-Z]\w+) +(\d+)?", line)
        if match:
            name, code = match[2], match[3]
            found[name] = (len(match[1]) // 4, int(code) if code else None)
    return found


@pytest.mark.parametrize("error", EVERY, ids=lambda error: error.__name__)
def test_each_error_is_drawn_with_its_exit_code(error: type[MacnetError]) -> None:
    depth, code = drawn()[error.__name__]
    assert depth == error.__mro__.index(MacnetError)
    if code is None:
        (parent,) = error.__bases__
        assert error.exit_code == parent.exit_code  # type: ignore[attr-defined]
    else:
        assert error.exit_code == code


def test_the_tree_draws_nothing_else() -> None:
    assert set(drawn()) == {error.__name__ for error in EVERY}


def test_codes_are_unique_and_exit_codes_go_with_the_family() -> None:
    codes = [error.code for error in EVERY]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)
    families = MacnetError.__subclasses__()
    own = [family.exit_code for family in families if family in OURS]
    assert len(own) == len(set(own))
    # 1 is a bug, 2 wrong usage alone, 130 Ctrl-C.
    assert not {1, 130} & {error.exit_code for error in OURS}
    assert [error.code for error in OURS if error.exit_code == 2] == ["usage"]


def test_no_file_names_a_registry() -> None:
    pattern = re.compile("|".join(rf"\b{re.escape(host)}\b" for host in REGISTRIES))
    found = {
        path.relative_to(ROOT).as_posix(): hit[0]
        for path in tracked()
        if (hit := pattern.search(path.read_text(errors="replace")))
    }
    assert found == {}
