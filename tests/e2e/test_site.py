"""The documentation as a site, in headless Chromium: it searches, and loads nothing else."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.e2e.steps import wait_until
from tests.e2e.test_map_page import browser  # noqa: F401 - a fixture
from tests.lab import Lab
from tests.lab.namespaces import enter_netns
from tests.lab.process import run, spawn, stop

ROOT = Path(__file__).parents[2]
#: The addresses of everything that the page has loaded.
_LOADED = "return performance.getEntriesByType('resource').map((entry) => entry.name);"


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The built site's address while a server has it, on the Mac side as the browser."""
    folder = tmp_path_factory.mktemp("site")
    built = folder / "built"
    run([sys.executable, ROOT / "docs/build_site.py", "--site-dir", built])
    log = folder / "log"
    words = ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]
    enter = enter_netns(lab.paths.mac_netns)
    server = spawn([*enter, sys.executable, *words, str(built)], log)
    wait_until(lambda: "Serving" in log.read_text(), 30, "the server")
    yield re.findall(r"\((http.+)\)", log.read_text())[0]
    stop(server)


def test_it_searches_and_loads_nothing_from_elsewhere(
    site: str,
    browser: webdriver.Chrome,  # noqa: F811
) -> None:
    browser.get(f"{site}docs/tutorial/")
    assert "172.82.0.100" in browser.title
    box = browser.find_element(By.CSS_SELECTOR, "input[name=query]")
    browser.execute_script("document.querySelector('[for=__search]').click();")
    wait_until(box.is_displayed, 30, "the search")
    box.send_keys("remap")
    hits = (By.CSS_SELECTOR, ".md-search-result__link")
    wait_until(lambda: bool(browser.find_elements(*hits)), 60, "what was found")
    found = [str(one.get_attribute("href")) for one in browser.find_elements(*hits)]
    assert any("conflicts-and-remaps" in address for address in found)
    loaded = [str(address) for address in browser.execute_script(_LOADED)]
    assert len(loaded) > 3
    assert [address for address in loaded if not address.startswith(site)] == []


@pytest.mark.parametrize("link", ["nowhere.md", "tutorial.md#nothing"])
def test_a_dead_link_fails_the_build(link: str, tmp_path: Path) -> None:
    """In a copy of the pages; what builds is what says so."""
    copied = ("docs", "tests/lab/README.md", "mkdocs.yml", "*.md")
    for pattern in copied:
        for path in ROOT.glob(pattern):
            target = tmp_path / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            run(["cp", "-r", path, target])
    page = tmp_path / "docs/index.md"
    page.write_text(f"{page.read_text()}\n[more]({link})\n")
    done = run([sys.executable, tmp_path / "docs/build_site.py"], check=False)
    assert done.returncode != 0
    assert link.partition("#")[0] in done.stderr
