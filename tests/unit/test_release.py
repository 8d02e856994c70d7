"""The formula that a release makes: from the sdist's metadata and what pip says."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from release import formula

INFO = """\
Metadata-Version: 2.4
Name: macnet
Version: 9.8.7
Summary: Reach containers.
License-Expression: MIT

# macnet
"""
HERE = "https://example.com/"


def item(name: str, file: str, at: str = HERE) -> dict[str, Any]:
    """One package as pip's installation report has it."""
    hashes = {"sha256": hashlib.sha256(file.encode()).hexdigest()}
    return {
        "metadata": {"name": name, "version": "1.0"},
        "download_info": {"url": at + file, "archive_info": {"hashes": hashes}},
    }


Reports = Callable[..., list[list[str]]]


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Reports:
    """Makes pip answer with these reports in turn; the list that is returned gets its words."""

    def answer(*reports: list[dict[str, Any]]) -> list[list[str]]:
        asked: list[list[str]] = []

        def ask(words: Iterable[str]) -> Mapping[str, Any]:
            asked.append(list(words))
            return {"install": reports[len(asked) - 1]}

        monkeypatch.setattr(formula, "_ask_pip", ask)
        return asked

    return answer


@pytest.fixture
def sdist(tmp_path: Path) -> Path:
    path = tmp_path / "macnet-9.8.7.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("macnet-9.8.7/PKG-INFO")
        member.size = len(INFO)
        archive.addfile(member, io.BytesIO(INFO.encode()))
    return path


def test_a_formula(sdist: Path, pip: Reports, capsys: pytest.CaptureFixture[str]) -> None:
    asked = pip(
        [
            item("macnet", sdist.name),
            item("Jinja2", "jinja2-1.0-py3-none-any.whl"),
            item("typing_extensions", "typing_extensions-1.0-py2.py3-none-any.whl"),
            item("psutil", "psutil-1.0-cp36-abi3-macosx_11_0_arm64.whl"),
            item("cryptography", "cryptography-1.0-cp311-abi3-macosx_11_0_arm64.whl"),
        ],
        [item("psutil", "psutil-1.0.tar.gz")],
    )
    url = f"{HERE}released/{sdist.name}"
    assert formula.main([str(sdist), "--url", url, "--homepage", HERE]) == 0
    assert asked == [[str(sdist)], ["--no-deps", "--no-binary", "psutil", "psutil==1.0"]]

    text = capsys.readouterr().out
    assert text.startswith("class Macnet < Formula\n")
    assert '  desc "Reach containers"\n' in text
    assert f'  url "{url}"\n  sha256 "{hashlib.sha256(sdist.read_bytes()).hexdigest()}"\n' in text
    assert '  license "MIT"\n' in text
    names = [line.split('"')[1] for line in text.splitlines() if "resource " in line]
    assert names == ["jinja2", "psutil", "typing-extensions"]
    assert "psutil-1.0.tar.gz" in text
    assert ".whl" in text and "macosx" not in text
    assert '  depends_on "cryptography" => :no_linkage\n' in text
    assert 'assert_match "macnet #{version}"' in text
    assert text.count(" do\n") + text.count("class ") + text.count("def ") == len(
        [line for line in text.splitlines() if line.strip() == "end"]
    )


def test_an_address_of_this_machine_alone_is_refused(sdist: Path, pip: Reports) -> None:
    pip([item("jinja2", "jinja2-1.0-py3-none-any.whl", at="file:///opt/")])
    with pytest.raises(ValueError, match="of this machine only: file:///opt/jinja2"):
        formula.resolve(sdist, "macnet")


def test_an_sdist_without_metadata_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "macnet-1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("macnet-1/PKG-INFO")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    with pytest.raises(ValueError, match="has no PKG-INFO"):
        formula.read_metadata(path)
