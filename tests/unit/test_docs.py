"""The documentation says what the code does: generated pages, names, links."""

from __future__ import annotations

import errno
import os
import re
import runpy
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from macnet.checks import check_ids
from macnet.settings import Settings
from tests.unit.test_contributing import MODULES
from tests.unit.test_words import whole

CHECKOUT = Path(__file__).parents[2]
DOCS = CHECKOUT / "docs"
REFERENCE = DOCS / "reference"
WRITTEN = sorted([*CHECKOUT.glob("*.md"), *DOCS.rglob("*.md"), CHECKOUT / "tests/lab/README.md"])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "generate.py"))


def text_of(page: str) -> str:
    return (REFERENCE / page).read_text(encoding="utf-8")


def test_the_generated_pages_are_up_to_date(generator: dict[str, Any]) -> None:
    for page, text in generator["pages"]().items():
        assert page.read_text(encoding="utf-8") == text, f"{page.name}: run `make docs`"


def test_every_command_is_in_the_reference(generator: dict[str, Any]) -> None:
    names = [command.name for command in generator["list_commands"]()]
    assert {"macnet setup", "macnet agent install"} <= set(names)
    assert [name for name in names if f"## {name}\n" not in text_of("cli.md")] == []


def test_every_command_is_in_the_page_of_everyday_commands(generator: dict[str, Any]) -> None:
    page = (DOCS / "how-to" / "everyday.md").read_text(encoding="utf-8")
    words = {" ".join(one.name.split()[:2]) for one in generator["list_commands"]()}
    assert [name for name in sorted(words) if name not in page] == []


def test_the_readme_is_short() -> None:
    assert len((CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_the_commands_of_a_page_exist(page: Path, generator: dict[str, Any]) -> None:
    commands = {one.name: one for one in generator["list_commands"]()}
    commands["macnet names"] = commands["macnet names list"]
    for line in typed(page.read_text(encoding="utf-8")):
        words = line.split()
        if words[1].startswith("-"):
            assert words[1] in {"--version", "--help", "--install-completion"}, line
            continue
        names = [" ".join(words[:count]) for count in (3, 2)]
        found = next((commands[name] for name in names if name in commands), None)
        assert found is not None, f"{page.name}: {line}"
        known = {part for name, _ in found.options for part in re.findall(r"--?[\w-]+", name)}
        options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert options - known - {"--help"} == set(), f"{page.name}: {line}"


def typed(text: str) -> Iterator[str]:
    """Calls of macnet in a page: lines of its blocks, and what is between backticks."""
    for block in re.findall(r"^```(?:sh|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            call = line.removeprefix("$ ").partition(" #")[0].partition("  ")[0]
            if re.match(r"macnet [a-z-]", call):
                yield call
    for call in re.findall(r"`(macnet [a-z-][^`,]*)", re.sub(r"(?sm)^```.*?^```", "", text)):
        yield " ".join(call.split())


def test_every_command_has_examples_and_says_a_default_once(generator: dict[str, Any]) -> None:
    for command in generator["list_commands"]():
        assert len(command.examples) >= 2, command.name
        assert all(line.startswith("macnet ") for line in command.examples), command.name
        assert command.name.removesuffix(" list") in command.examples, command.name
    for row in text_of("cli.md").splitlines():
        assert row.count("[default: ") <= 1, row
        assert not re.search(r"\((no|all|auto|exact|\d+)\)", row), row


def test_every_check_is_in_the_reference_and_in_troubleshooting() -> None:
    troubleshooting = (DOCS / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
    for identity in check_ids():
        assert f"### {identity}\n" in text_of("checks.md")
        assert f"`{identity}`" in troubleshooting, identity


def test_the_messages_that_troubleshooting_quotes_are_said() -> None:
    page = (DOCS / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = set(re.findall(r'^\*\*"([^"]+)"', page, re.MULTILINE))
    quoted -= {os.strerror(errno.EHOSTUNREACH)}  # which other programs say
    assert len(quoted) >= 7
    texts = {text for tree in MODULES.values() for text in whole(tree) if " " in text}
    assert [one for one in quoted if not any(_is_said(one, text) for text in texts)] == []


def _is_said(quoted: str, text: str) -> bool:
    """Whether a quotation, with … for what is left out, is part of a text with {} to fill in."""
    part = ".+".join(map(re.escape, quoted.split("…")))
    if re.search(part, text) is not None:
        return True
    words = text.split("{}")
    mostly = sum(map(len, words)) > len(quoted) / 2
    return mostly and re.fullmatch(".*".join(map(re.escape, words)), quoted) is not None


def test_every_exit_code_and_error_code_is_in_the_reference(generator: dict[str, Any]) -> None:
    page = text_of("exit-codes.md")
    for error in generator["errors"]():
        assert f"| `{error.exit_code}` |" in page
        assert f"| `{error.code}` | {error.exit_code} |" in page


def test_every_setting_is_in_the_reference_under_its_three_names() -> None:
    page = text_of("configuration.md")
    option = {"networks": "network"}
    for name in (item.name for item in fields(Settings) if item.name != "name"):
        switch = f"--{option.get(name, name).replace('_', '-')}"
        assert f"| `{name}` | `MACNET_{name.upper()}` | `{switch}` |" in page


def test_every_variable_that_macnet_reads_is_in_the_reference() -> None:
    page = text_of("configuration.md")
    # MACNET_SERVER, MACNET_JOINER and MACNET_RELAY_… are the helper's own, set by macnet.
    used = {
        name
        for path in (CHECKOUT / "macnet").rglob("*.py")
        for name in re.findall(r'"(MACNET_[A-Z]+|DOCKER_[A-Z]+)"', path.read_text("utf-8"))
    } - {"MACNET_SERVER", "MACNET_JOINER"}
    kept_for_the_agent = {"DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"}
    assert [name for name in sorted(used - kept_for_the_agent) if f"`{name}`" not in page] == []


def test_every_json_kind_that_a_command_prints_is_in_the_reference() -> None:
    call = re.compile(r'\.(?:result|event)\(\s*"(\w+)"')
    printed = {
        kind
        for path in (CHECKOUT / "macnet" / "cli").glob("*.py")
        for kind in call.findall(path.read_text("utf-8"))
    }
    assert {"setup", "watch", "agent"} <= printed
    assert [kind for kind in printed if f"\n### {kind}\n" not in text_of("json.md")] == []


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name} links to {link}"


def test_every_page_is_linked_from_the_index() -> None:
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "index.md")}
    # benchmarks/ holds recorded results, not pages to read in turn.
    pages = {page for page in DOCS.rglob("*.md") if page.parent.name != "benchmarks"}
    pages -= {DOCS / "index.md"}
    assert [str(page.relative_to(DOCS)) for page in sorted(pages - linked)] == []


@pytest.mark.parametrize("picture", sorted(DOCS.rglob("*.svg")), ids=lambda path: path.name)
def test_a_picture_is_whole_and_asks_for_nothing_from_outside(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - ours
    assert re.findall(r"url\(\W*http|href=|<script|<foreignObject|@import", text) == []


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_addresses_of_others_are_whole(page: Path) -> None:
    """Whether they answer is asked where there is a network (.ci/links)."""
    for link in all_links(page):
        if "://" in link:
            assert re.fullmatch(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[\w./#-]*)?", link), link


def links(page: Path) -> Iterator[str]:
    return (link for link in all_links(page) if "://" not in link)


def all_links(page: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return LINK.findall(text)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of headings: lower case, only letters, digits, hyphens, underscores."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
