"""Writes the Homebrew formula of a released sdist: ``python -m release.formula --help``.

Name, version, summary, license and dependencies come from the sdist's own metadata. pip resolves
the dependencies, so that addresses and checksums are those of the index that pip uses here.
"""

from __future__ import annotations

import argparse
import email
import hashlib
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

#: Packages that Homebrew has, compiled, and the formula that brings each of them.
PROVIDED: Mapping[str, str] = {
    "certifi": "certifi",
    "cffi": "cryptography",
    "cryptography": "cryptography",
    "pycparser": "cryptography",
    "pydantic": "pydantic",
    "pydantic-core": "pydantic",
}
#: The Python that those formulas are compiled for.
PYTHON = "python@3.14"
#: Homebrew installs such a wheel as it is; every other package it builds from its sdist.
_PURE_WHEEL = re.compile(r"[.-]py3-none-any\.whl$")


@dataclass(frozen=True)
class Resource:
    """One file that the formula downloads."""

    name: str
    version: str
    url: str
    sha256: str


def read_metadata(sdist: Path) -> Message:
    """The sdist's PKG-INFO."""
    with tarfile.open(sdist) as archive:
        member = archive.extractfile(f"{sdist.name.removesuffix('.tar.gz')}/PKG-INFO")
        if member is None:
            raise ValueError(f"{sdist} has no PKG-INFO")
        return email.message_from_bytes(member.read())


def parse_report(report: Mapping[str, Any], name: str) -> list[Resource]:
    """The packages that pip would install, but for ``name`` itself, by name."""
    found = [
        Resource(
            re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(),
            item["metadata"]["version"],
            item["download_info"]["url"],
            item["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for item in report["install"]
    ]
    return sorted((one for one in found if one.name != name), key=lambda one: one.name)


def needs_sdist(resource: Resource) -> bool:
    """Whether pip chose a file that is of this machine alone."""
    return resource.url.endswith(".whl") and not _PURE_WHEEL.search(resource.url)


def resolve(sdist: Path, name: str) -> list[Resource]:
    """What the formula downloads beside the sdist. Raises ValueError where nobody else could."""
    found = [one for one in parse_report(_ask_pip([str(sdist)]), name) if one.name not in PROVIDED]
    if compiled := [one for one in found if needs_sdist(one)]:
        names = ",".join(one.name for one in compiled)
        words = [f"{one.name}=={one.version}" for one in compiled]
        report = _ask_pip(["--no-deps", "--no-binary", names, *words])
        sources = {one.name: one for one in parse_report(report, name)}
        found = [sources.get(one.name, one) for one in found]
    if private := [one.url for one in found if not one.url.startswith("https://")]:
        raise ValueError(f"pip's index has addresses of this machine only: {private[0]}")
    return found


def _ask_pip(words: Iterable[str]) -> Mapping[str, Any]:
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    done = subprocess.run(
        [*argv, "--report", "-", *words], check=True, stdout=subprocess.PIPE, text=True
    )
    report: Mapping[str, Any] = json.loads(done.stdout)
    return report


def render_formula(
    metadata: Message, *, url: str, homepage: str, sha256: str, resources: Sequence[Resource]
) -> str:
    """The formula."""
    name = metadata["Name"]
    formulas = sorted(set(PROVIDED.values()))
    lines = [
        f"class {name.capitalize()} < Formula",
        "  include Language::Python::Virtualenv",
        "",
        f'  desc "{metadata["Summary"].rstrip(".")}"',
        f'  homepage "{homepage}"',
        f'  url "{url}"',
        f'  sha256 "{sha256}"',
        f'  license "{metadata["License-Expression"]}"',
        "",
        *(f'  depends_on "{formula}" => :no_linkage' for formula in formulas),
        '  depends_on "openvpn"',
        f'  depends_on "{PYTHON}"',
    ]
    for one in resources:
        lines += [
            "",
            f'  resource "{one.name}" do',
            f'    url "{one.url}"',
            f'    sha256 "{one.sha256}"',
            "  end",
        ]
    return "\n".join([*lines, "", *_END.format(name=name).splitlines(), ""])


_END = """\
  def install
    virtualenv_install_with_resources
    data = libexec/"share"
    man1.install_symlink data/"man/man1/{name}.1"
    bash_completion.install_symlink data/"bash-completion/completions/{name}"
    zsh_completion.install_symlink data/"zsh/site-functions/_{name}"
    fish_completion.install_symlink data/"fish/vendor_completions.d/{name}.fish"
  end

  test do
    assert_match "{name} #{{version}}", shell_output("#{{bin}}/{name} --version")
  end
end"""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the formula."""
    parser = argparse.ArgumentParser(prog="python -m release.formula", description=__doc__)
    parser.add_argument("sdist", type=Path, help="the released .tar.gz")
    parser.add_argument("--url", required=True, help="the address that it is released at")
    parser.add_argument("--homepage", required=True, help="the project's address")
    arguments = parser.parse_args(argv)
    metadata = read_metadata(arguments.sdist)
    formula = render_formula(
        metadata,
        url=arguments.url,
        homepage=arguments.homepage,
        sha256=hashlib.sha256(arguments.sdist.read_bytes()).hexdigest(),
        resources=resolve(arguments.sdist, metadata["Name"]),
    )
    sys.stdout.write(formula)
    return 0


if __name__ == "__main__":
    sys.exit(main())
