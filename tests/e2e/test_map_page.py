"""`macnet map -o map.html` in headless Chromium: it renders, can be read, and does as it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from macnet.chart.chart import Chart
from macnet.chart.picture import render_page, render_svg
from tests.e2e.steps import Mac, wait_until
from tests.unit.chart.test_chart import HOSTILE, many, sample

_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --window-size=1300,900"
)
#: For each text: is it inside its box, at least 12 pixels high, and clear of its neighbours?
_READABLE = """
const bad = [];
for (const group of document.querySelectorAll(".network")) {
  const frame = group.querySelector("rect").getBoundingClientRect();
  const texts = [...group.querySelectorAll("text")].map((t) => [t, t.getBoundingClientRect()]);
  for (const [text, box] of texts) {
    if (parseFloat(getComputedStyle(text).fontSize) < 12) bad.push("small: " + text.textContent);
    if (box.left < frame.left || box.right > frame.right) bad.push("out: " + text.textContent);
    for (const [other, place] of texts)
      if (text !== other && box.left < place.right - 1 && place.left < box.right - 1 &&
          box.top < place.bottom - 4 && place.top < box.bottom - 4)
        bad.push("overlap: " + text.textContent + " and " + other.textContent);
  }
}
return bad;
"""
_CONTRAST = """
const style = (e, p) => getComputedStyle(e)[p].match(/[0-9.]+/g).slice(0, 3).map(Number);
const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255;
  return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const box = light(style(document.querySelector(".box"), "fill"));
return [...document.querySelectorAll("text")].map((text) => {
  const ink = light(style(text, "fill"));
  return (Math.max(box, ink) + 0.05) / (Math.min(box, ink) + 0.05);
}).reduce((a, b) => Math.min(a, b));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*_FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
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
    return [row["message"] for row in rows]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("chart", [sample(), many(3), many(200)])
def test_it_renders_and_can_be_read(
    browser: webdriver.Chrome, tmp_path: Path, chart: Chart, scheme: str
) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    show(browser, render_page(chart), tmp_path / "map.html")
    rows = browser.find_elements(By.CSS_SELECTOR, ".container")
    assert len(rows) == sum(len(network.containers) for network in chart.networks)
    assert browser.execute_script(_READABLE) == []
    assert browser.execute_script(_CONTRAST) >= 4.5
    assert complaints(browser) == []


def test_hostile_names_stay_text(browser: webdriver.Chrome, tmp_path: Path) -> None:
    for text, name in (
        (render_page(sample(HOSTILE)), "map.html"),
        (render_svg(sample(HOSTILE)), "map.svg"),
    ):
        show(browser, text, tmp_path / name)  # an alert would make the next call fail
        shown = [e.text for e in browser.find_elements(By.CSS_SELECTOR, ".container title")]
        assert browser.find_elements(By.CSS_SELECTOR, ".container")
        assert complaints(browser) == [], shown


def test_search_leaves_what_fits(browser: webdriver.Chrome, tmp_path: Path) -> None:
    show(browser, render_page(many(200)), tmp_path / "map.html")
    browser.find_element(By.ID, "search").send_keys("service-19")
    kept = browser.find_elements(By.CSS_SELECTOR, ".container:not(.hidden)")
    assert len(kept) == 11  # service-19 and service-190 to service-199
    assert browser.find_element(By.ID, "said").text == "11 of 200 rows"


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
    assert not browser.find_elements(By.CSS_SELECTOR, "circle.no")
    assert len(browser.find_elements(By.CSS_SELECTOR, ".join")) == 1
    assert complaints(browser) == []
    tree = up.macnet("map").stdout
    assert "redis  172.82.0.100  answers" in tree
    assert up.macnet("map", "-o", str(tmp_path / "map.png"), check=False).returncode == 4
