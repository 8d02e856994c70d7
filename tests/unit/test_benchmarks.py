"""The benchmarks' own arithmetic: statistics, verdicts, tables and the chart. No measurements."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import reader
from benchmarks.chart import Panel, draw
from benchmarks.goals import BULK, GOALS, METRICS, Goal, meets, rows, steadiness, verdict
from benchmarks.soak import Footprint, find_faults
from benchmarks.stats import Spread, percentile, ratios, slope, summarize
from benchmarks.table import results, spread
from benchmarks.text import number
from benchmarks.variant import assign, edit

ROOT = Path(__file__).parents[2]
POSITIVE = st.floats(0.001, 1e9)


def test_summary_is_the_median_between_the_extremes() -> None:
    assert summarize([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0, 4)


def test_nothing_measured_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        summarize([])
    with pytest.raises(ValueError, match="percentile"):
        percentile([], 99)
    with pytest.raises(ValueError, match="percentile"):
        percentile([1.0], 0)


@pytest.mark.parametrize(
    ("percent", "expected"), [(1, 1.0), (50, 50.0), (99, 99.0), (99.5, 100.0), (100, 100.0)]
)
def test_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], percent) == expected


@given(st.lists(POSITIVE, min_size=1, max_size=50), st.floats(1, 100))
def test_percentile_is_not_exceeded_by_that_many(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    share = sum(value <= found for value in values) / len(values) * 100
    assert found in values
    assert share >= percent - 1e-9


def test_ratio_is_that_of_the_medians_with_the_spread_of_the_rounds() -> None:
    assert ratios([2.0, 4.0, 9.0], [1.0, 4.0, 3.0]) == Spread(4 / 3, 1.0, 3.0, 3)


def test_rounds_of_two_ways_have_to_pair() -> None:
    with pytest.raises(ValueError, match="2 rounds beside 1"):
        ratios([1.0, 2.0], [1.0])


def test_slope_tells_linear_from_quadratic() -> None:
    assert slope([(n, 3.0 * n) for n in (10, 50, 200)]) == pytest.approx(1)
    assert slope([(n, 0.1 * n * n) for n in (10, 50, 200)]) == pytest.approx(2)


@pytest.mark.parametrize(
    ("ratio", "goal", "expected"),
    [
        (0.05, Goal("http", "classic", 0.05), "<= 0.05: met"),
        (0.06, Goal("http", "classic", 0.05), "<= 0.05: MISSED by 20 %"),
        (3.0, Goal("down1", "classic", 3, at_least=True), ">= 3: met"),
        (1.5, Goal("down1", "classic", 3, at_least=True), ">= 3: MISSED by 50 %"),
        (3, Goal("http", "published", 1.2, why="so it is"), "<= 1.2: MISSED by 150 %: so it is"),
    ],
)
def test_verdict_says_the_limit_and_the_distance(ratio: float, goal: Goal, expected: str) -> None:
    assert verdict(ratio, goal) == expected
    assert meets(ratio, goal) == expected.endswith("met")


def test_goals_name_metrics_that_exist_and_agree_on_what_is_better() -> None:
    better = {metric.key: metric.more for metric in METRICS}
    assert all(better[goal.metric] == goal.at_least for goal in GOALS)


def _rounds() -> dict[str, dict[str, list[float]]]:
    return {
        "classic": {"http": [800.0, 900.0], "down1": [200.0, 220.0], "ping": [1.0, 1.0]},
        "macnet": {"http": [2.0, 2.2], "down1": [400.0, 420.0], "ping": [0.8, 0.9]},
        "published": {"http": [1.9, 2.1], "down1": [8000.0, 8100.0]},
    }


def test_rows_hold_every_pair_that_was_measured() -> None:
    found = {(row.metric.key, row.other): row for row in rows(_rounds())}
    assert set(found) == {
        ("http", "classic"),
        ("http", "published"),
        ("ping", "classic"),
        ("down1", "classic"),
        ("down1", "published"),
    }
    assert found["http", "classic"].met is True
    assert found["down1", "classic"].met is False
    assert found["down1", "classic"].verdict == ">= 10: MISSED by 80 %"
    assert found["ping", "classic"].met is None


def test_table_holds_both_sides_their_ratio_and_the_verdict() -> None:
    text = results(rows(_rounds()))
    line = next(line for line in text.splitlines() if "download" in line and "classic" in line)
    assert "410 (400-420)" in line
    assert "1.95 (1.91-2.00)" in line
    assert line.endswith("MISSED by 80 %")


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1234"), (12.34, "12.3"), (1.234, "1.23"), (0.01234, "0.012")]
)
def test_numbers_have_three_figures(value: float, text: str) -> None:
    assert number(value) == text
    assert spread(Spread(value, value, value, 1)) == f"{text} ({text}-{text})"


def test_chart_is_svg_whose_bars_keep_the_proportions() -> None:
    panel = Panel("a < b", "ms", False, {"classic": 80.0, "macnet": 2.0, "published": 40.0})
    root = ET.fromstring(draw([panel, panel], "title & more"))  # noqa: S314 - our own output
    name = "{http://www.w3.org/2000/svg}"
    widths = {
        str(bar.get("class")): float(str(bar.get("width"))) for bar in root.iter(f"{name}rect")
    }
    assert widths["published"] == pytest.approx(widths["classic"] / 2, abs=0.1)
    assert widths["macnet"] == pytest.approx(widths["classic"] / 40, abs=0.1)
    texts = ["".join(text.itertext()) for text in root.iter(f"{name}text")]
    assert "a < b, msless is better" in texts
    assert root.get("aria-label") == "title & more"
    assert "prefers-color-scheme: dark" in draw([panel], "title")


@given(st.dictionaries(st.sampled_from(["classic", "macnet"]), POSITIVE, min_size=1))
def test_chart_stays_inside_its_page(values: dict[str, float]) -> None:
    root = ET.fromstring(draw([Panel("t", "s", True, values)], "t"))  # noqa: S314 - our own output
    page = float(str(root.get("width")))
    for bar in root.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(str(bar.get("x") or 0)) + float(str(bar.get("width"))) <= page


def test_a_variant_of_the_relay_sets_a_constant_that_is_there() -> None:
    program = (ROOT / "macnet/relay/way.py").read_text()
    assert assign(program, {}) == program
    assert "\n_BUFFER = 64 << 10\n" in assign(program, {"_BUFFER": "64 << 10"})
    with pytest.raises(ValueError, match="no constant _ROOM"):
        assign(program, {"_ROOM": "1"})


def test_edit_replaces_adds_and_takes_out_directives() -> None:
    config = "dev macnet0\ntun-mtu 16000\nmssfix 0\nsocket-flags TCP_NODELAY\n"
    edited = edit(config, {"tun-mtu": "9000", "socket-flags": None, "bcast-buffers": "4096"})
    assert edited == "tun-mtu 9000\nbcast-buffers 4096\ndev macnet0\nmssfix 0\n"


@pytest.mark.parametrize(("rate", "expected"), [(1000.0, [0.5, 0.25, 0.25]), (0.0, [])])
def test_a_reader_keeps_to_its_rate(
    monkeypatch: pytest.MonkeyPatch, rate: float, expected: list[float]
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("benchmarks.reader.time.monotonic", lambda: sum(slept))
    monkeypatch.setattr("benchmarks.reader.time.sleep", slept.append)
    pieces = [bytes(500), bytes(250), bytes(250), b""]
    stream = MagicMock(recv=lambda _: pieces.pop(0))
    got = reader.read_all(stream, rate)
    assert (got["bytes"], got["longest_wait"]) == (1000, 0.0)
    assert slept == expected
    assert pieces == []
    stream.__exit__.assert_called_once()


def test_a_reader_tells_its_longest_wait_between_two_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    waits = [5.0, 0.25, 1.5, 7.0]
    pieces = [bytes(10), bytes(10), bytes(10), b""]

    def receive(_: int) -> bytes:
        nonlocal now
        now += waits.pop(0)
        return pieces.pop(0)

    monkeypatch.setattr("benchmarks.reader.time.monotonic", lambda: now)
    got = reader.read_all(MagicMock(recv=receive), 0.0)
    assert got == {"bytes": 30, "seconds": 6.75, "longest_wait": 1.5}


def test_the_worst_of_all_bulk_metrics_is_their_steadiness() -> None:
    values = {key: [8.0, 10.0] for key in BULK}
    assert steadiness(values) == 0.8
    assert steadiness({**values, "up8": [5.0, 10.0, 9.0]}) == 0.5


def test_soak_finds_stalls_and_leaks_and_nothing_else() -> None:
    before = Footprint({"relay": 20 * 2**20, "server": 10 * 2**20}, {"relay": 231, "server": 8})
    after = Footprint({"relay": 60 * 2**20, "server": 12 * 2**20}, {"relay": 260, "server": 8})
    moved = {"down": {"longest_pause": 0.2}, "up": {"longest_pause": 7.31}}
    well = {"count": 100, "failed": 0}
    assert find_faults(moved, well, before, before) == ["up: a stream moved nothing for 7.3 s"]
    assert find_faults({}, {"count": 100, "failed": 2}, before, before) == [
        "2 of 100 connections failed"
    ]
    assert find_faults({}, well, before, after) == [
        "relay: 40 MiB more memory than before",
        "relay: 29 more open files than before",
    ]
    assert find_faults({"down": {"longest_pause": 4.9}}, well, before, before) == []
