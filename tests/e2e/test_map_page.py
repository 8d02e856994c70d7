"""The map's page in headless Chromium: it renders, can be read, does as it says, and follows."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from macnet.chart.chart import Chart
from macnet.chart.picture import render_page, render_svg
from tests.e2e.steps import PROGRAM, Mac, wait_until
from tests.e2e.world import network
from tests.lab import BASE_IMAGE, Lab
from tests.lab.namespaces import enter_netns
from tests.lab.process import Running
from tests.unit.chart.test_chart import HOSTILE, many, sample, several

_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--remote-debugging-pipe "  # its port would be one of the Mac side
    "--disable-background-networking --disable-component-update --window-size=1300,900"
)
#: For each text: is it inside its card, at least 12 pixels high, and not cut? Is the page too wide?
_READABLE = """
const bad = [];
const root = document.documentElement;
if (root.scrollWidth > root.clientWidth) bad.push("too wide: " + root.scrollWidth);
for (const card of document.querySelectorAll(".network")) {
  const frame = card.getBoundingClientRect();
  if (frame.left < 0 || frame.right > root.clientWidth) bad.push("card outside");
  for (const part of card.querySelectorAll("h2, p, strong, button, .detail")) {
    const box = part.getBoundingClientRect();
    if (parseFloat(getComputedStyle(part).fontSize) < 12) bad.push("small: " + part.textContent);
    if (box.left < frame.left || box.right > frame.right) bad.push("out: " + part.textContent);
    if (part.clientWidth && part.scrollWidth > part.clientWidth + 1)
      bad.push("cut: " + part.textContent);
  }
}
const frames = [...document.querySelectorAll(".network")].map((e) => e.getBoundingClientRect());
frames.forEach((a, n) => frames.slice(n + 1).forEach((b) => {
  if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
    bad.push("cards overlap");
}));
for (const row of document.querySelectorAll(".container")) {
  const name = row.querySelector("strong").getBoundingClientRect();
  for (const address of row.querySelectorAll("button")) {
    const box = address.getBoundingClientRect();
    if (box.left < name.right && name.left < box.right &&
        box.top < name.bottom - 2 && name.top < box.bottom - 2)
      bad.push("overlap: " + address.textContent);
  }
}
return bad;
"""
#: How much of the page's width its cards leave empty at the right.
_EMPTY = """
const cards = [...document.querySelectorAll(".network")];
return document.documentElement.clientWidth
  - Math.max(...cards.map((card) => card.getBoundingClientRect().right));
"""
_CONTRAST = """
const style = (e, p) => getComputedStyle(e)[p].match(/[0-9.]+/g).slice(0, 3).map(Number);
const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255;
  return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const box = light(style(document.querySelector(".network"), "backgroundColor"));
const inks = ".network h2, .network p, .network strong, .detail, .port, .kind, button";
return [...document.querySelectorAll(inks)]
  .map((text) => {
    const ink = light(style(text, "color"));
    return (Math.max(box, ink) + 0.05) / (Math.min(box, ink) + 0.05);
  }).reduce((a, b) => Math.min(a, b));
"""


@pytest.fixture(scope="module")
def browser(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A browser on the Mac side."""
    folder = tmp_path_factory.mktemp("chromium")
    program = folder / "chromium"
    words = " ".join(enter_netns(lab.paths.mac_netns))
    program.write_text(f'#!/bin/sh\nexec {words} /usr/bin/chromium "$@"\n')
    program.chmod(0o755)
    options = webdriver.ChromeOptions()
    options.binary_location = str(program)
    for flag in (*_FLAGS.split(), f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


def show(browser: webdriver.Chrome, text: str, place: Path) -> None:
    place.write_text(text, encoding="utf-8")
    browser.get(place.as_uri())


def complaints(browser: webdriver.Chrome) -> list[str]:
    rows = browser.get_log("browser")  # type: ignore[no-untyped-call]
    # The page that a new tab shows has its own.
    return [row["message"] for row in rows if not row["message"].startswith("chrome://")]


LONG = sample("a-container-with-a-very-long-name-that-compose-made-of-three-words-1")


def resize(browser: webdriver.Chrome, width: int) -> None:
    """A window of its own minimum width would be wider than a phone."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.mark.parametrize("width", [400, 800, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("chart", [sample(), LONG, many(200), several(100)])
def test_it_renders_and_can_be_read(
    browser: webdriver.Chrome, tmp_path: Path, chart: Chart, scheme: str, width: int
) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    resize(browser, width)
    show(browser, render_page(chart), tmp_path / "map.html")
    rows = browser.find_elements(By.CSS_SELECTOR, ".container")
    assert len(rows) == sum(len(network.containers) for network in chart.networks)
    assert browser.execute_script(_READABLE) == []
    assert browser.execute_script(_CONTRAST) >= 4.5
    assert complaints(browser) == []


@pytest.mark.parametrize("width", [400, 800, 1600])
def test_the_cards_fill_the_width(browser: webdriver.Chrome, tmp_path: Path, width: int) -> None:
    resize(browser, width)
    show(browser, render_page(several(8)), tmp_path / "map.html")
    assert 0 <= browser.execute_script(_EMPTY) <= 20


def test_the_legend_names_engine_date_and_marks(browser: webdriver.Chrome, tmp_path: Path) -> None:
    show(browser, render_page(sample()), tmp_path / "map.html")
    legend = browser.find_element(By.CSS_SELECTOR, ".legend").text
    for words in ("vm, Docker 28.5.2", "2026-03-01 12:00 UTC", "answers", "no answer", "closed"):
        assert words in legend
    assert browser.find_element(By.CSS_SELECTOR, ".reason").text.endswith("and so on")
    assert browser.find_elements(By.CSS_SELECTOR, "[data-copy='fd00:18::2']")


def test_hostile_names_stay_text(browser: webdriver.Chrome, tmp_path: Path) -> None:
    for text, name in (
        (render_page(sample(HOSTILE)), "map.html"),
        (render_svg(sample(HOSTILE)), "map.svg"),
    ):
        show(browser, text, tmp_path / name)  # an alert would make the next call fail
        assert browser.find_elements(By.CSS_SELECTOR, ".container")
        assert complaints(browser) == []


def test_search_leaves_what_fits(browser: webdriver.Chrome, tmp_path: Path) -> None:
    show(browser, render_page(many(200)), tmp_path / "map.html")
    browser.find_element(By.ID, "search").send_keys("service-19")
    kept = browser.find_elements(By.CSS_SELECTOR, ".container:not(.hidden)")
    assert len(kept) == 11  # service-19 and service-190 to service-199
    assert browser.find_element(By.ID, "said").text == "11 of 200 rows"


def test_search_leaves_the_networks_that_fit(browser: webdriver.Chrome, tmp_path: Path) -> None:
    show(browser, render_page(several(100)), tmp_path / "map.html")
    browser.find_element(By.ID, "search").send_keys("10.0.42.")
    kept = browser.find_elements(By.CSS_SELECTOR, ".network:not(.hidden) h2")
    assert [card.text for card in kept] == ["net42"]


def test_a_click_takes_the_address(browser: webdriver.Chrome, tmp_path: Path) -> None:
    show(browser, render_page(sample()), tmp_path / "map.html")
    browser.find_element(By.CSS_SELECTOR, "[data-copy='172.18.0.2']").click()
    said = browser.find_element(By.ID, "said")
    # The clipboard answers after the click has returned.
    ends = {"copied 172.18.0.2", "172.18.0.2 is selected"}
    wait_until(lambda: said.text in ends, 10, "a word about the address")


def test_the_map_of_the_lab(up: Mac, browser: webdriver.Chrome, tmp_path: Path) -> None:
    page = tmp_path / "map.html"
    up.macnet("map", "-o", str(page))
    browser.get(page.as_uri())
    address = up.lab.sample.address("redis")
    assert browser.find_elements(By.CSS_SELECTOR, f"[data-copy='{address}']")
    assert not browser.find_elements(By.CSS_SELECTOR, ".container .dot.no")
    assert "also on" in browser.find_element(By.CSS_SELECTOR, ".networks").text
    assert complaints(browser) == []
    tree = up.macnet("map").stdout
    assert "redis  172.82.0.100  answers" in tree
    assert up.macnet("map", "-o", str(tmp_path / "map.png"), check=False).returncode == 4


#: Seconds for anything that the live map does; it should take less than one.
SOON = 30.0


@dataclass(frozen=True)
class Served:
    """A running `macnet map --serve`."""

    process: Running
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])


@contextmanager
def served(mac: Mac, file: Path, port: int = 0) -> Iterator[Served]:
    """The map is served while the block runs."""
    argv = [PROGRAM, "map", "--serve", "--port", str(port)]
    with file.open("w") as out:
        process = mac.lab.popen(argv, env=mac.environment(), stdout=out, stderr=out)
    try:
        wait_until(lambda: "Ctrl-C ends" in file.read_text(), SOON, "an address")
        yield Served(process, file.read_text().split()[0])
        assert "Traceback" not in file.read_text()
    finally:
        process.kill()
        process.wait(10)


def test_the_live_map_follows_containers_networks_and_the_engine(
    up: Mac, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    lab = up.lab
    problem = "document.querySelector('.problem')?.textContent ?? ''"

    def holds(expression: str, what: str, wait_s: float = SOON) -> None:
        wait_until(lambda: bool(browser.execute_script(f"return {expression}")), wait_s, what)

    def row(key: str) -> str:
        return f"document.querySelector('[data-key=\"{key}\"] .dot')"

    with served(up, tmp_path / "said") as server:
        browser.get(server.url)
        holds(f"{row('app/redis')}?.classList.contains('yes')", "redis, which answers")
        browser.execute_script("window.same = document.querySelector('[data-key=\"six\"]')")
        browser.find_element(By.ID, "search").send_keys("app")
        newcomer = ["--name", "newcomer", "--network", "app", BASE_IMAGE, "sleep", "600"]
        lab.docker("run", "-d", "--init", *newcomer)
        try:
            holds(f"{row('app/newcomer')}?.classList.contains('yes')", "a new container")
            holds("document.querySelector('[data-key=\"app/newcomer\"].fresh')", "its colour")
        finally:
            lab.docker("rm", "-f", "newcomer")
        holds(f"!{row('app/newcomer')}", "no such container")
        with network(lab, "fleeting", "--subnet", "172.83.21.0/24"):
            holds("document.querySelector('[data-key=fleeting]')", "a new network")
        holds("!document.querySelector('[data-key=fleeting]')", "no such network")
        # What did not change is the same element, and the search holds.
        assert browser.execute_script(
            "return window.same === document.querySelector('[data-key=\"six\"]') "
            "&& window.same.classList.contains('hidden')"
        )
        lab.engine.stop()
        try:
            holds(f"{problem}.startsWith('waiting for the engine: ')", "that it is away")
            holds(f"{row('app/redis')}.classList.contains('untried')", "what was there")
        finally:
            lab.engine.start()
            lab.sample.wait_ready()
        holds(f"!{problem}.startsWith('waiting')", "the engine", 60)
        holds(f"{row('app/redis')}?.classList.contains('yes')", "an answer", 60)
        assert complaints(browser) == []
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 0
        holds("document.body.classList.contains('away')", "that the server has ended")
        complaints(browser)  # of a server that is gone
    with served(up, tmp_path / "again", server.port):
        holds("!document.body.classList.contains('away')", "the page again", 60)


def test_the_served_map_is_for_this_machine_alone(up: Mac, tmp_path: Path) -> None:
    with served(up, tmp_path / "said") as server:
        ask = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"]
        assert up.lab.run([*ask, server.url]).stdout == "200"
        assert up.lab.run([*ask, "-H", "Host: evil.test", server.url]).stdout == "403"
        assert up.lab.run([*ask, "-X", "POST", server.url]).stdout == "405"
        listening = up.lab.run(["ss", "-Hltn", f"sport = :{server.port}"]).stdout.split()
        assert f"127.0.0.1:{server.port}" in listening
        up.fails(5, "map", "--serve", "--port", str(server.port))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
    up.fails(2, "map", "--serve", "-o", "map.html")
    up.fails(2, "map", "--port", "80")
