"""Builds the site of the documentation into build/site: `make site`.

The pages are copied to where the repository has them, so that the links between them hold. A
link or an anchor that leads nowhere, and a page that the menu lacks, fail the build.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from mkdocs.__main__ import cli

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "build/pages"


def pages() -> Iterator[Path]:
    """Every page, and what pages show or link to."""
    yield from ROOT.glob("*.md")
    yield ROOT / "tests/lab/README.md"
    for suffix in ("md", "svg", "json"):
        yield from (ROOT / "docs").rglob(f"*.{suffix}")


def main() -> None:
    """Lay the pages out and build; ends as the build does."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for page in pages():
        copy = PAGES / page.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, copy)
    config = ROOT / "mkdocs.yml"
    cli(["build", "--clean", "--config-file", str(config), *sys.argv[1:]], prog_name="mkdocs")


if __name__ == "__main__":
    main()
