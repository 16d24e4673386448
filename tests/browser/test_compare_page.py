"""The comparison in Chromium, from file://."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compressbuild.evaluate.answers import Flip
from compressbuild.evaluate.compare import Comparison, compare_quality, paired_speed, row
from compressbuild.report.page.pages import comparison_page

By = pytest.importorskip("selenium.webdriver.common.by", reason="needs the package selenium").By


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    first = [True] * 90 + [False] * 10
    second = [False] * 20 + [True] * 72 + [False] * 8
    quality = compare_quality("top1", first, second)
    flipped = tuple(Flip(sample=i, label=3, first=3, second=5) for i in quality.lost if isinstance(i, int))
    metrics = [
        ("top1", "", "higher", 0.9, 0.72),
        ("latency", "ms", "lower", 2.0, 1.0),
        ("size", "B", "lower", 4000, 1000),
    ]
    rows = tuple(row(name, unit, way, {"value": a}, {"value": b}) for name, unit, way, a, b in metrics)
    found = Comparison(
        first="big </script>", second="int8", quality=quality, flipped=flipped, rows=rows,
        speed=paired_speed("latency", [2.0, 2.1, 2.2, 2.0, 1.9, 2.0, 2.3], [1.0, 1.1, 1.0, 1.2, 1.0, 0.9, 1.0]),
        sizes=(4000, 1000),
        missing={"macs": "not <b>here</b>"},
    )  # fmt: skip
    tables = [{"metric": "top1", "by": "class", "rows": {"3": {"value": 0.2, "base": 0.9, "n": 50}}}]
    path = tmp_path_factory.mktemp("compare") / "compare.html"
    path.write_text(comparison_page(found, tables), encoding="utf-8")
    return path


@pytest.fixture
def browser(chromium: Any, comparison: Path) -> Any:
    chromium.get_log("browser")
    chromium.get("about:blank")
    chromium.get(comparison.as_uri())
    assert chromium.execute_script("return document.documentElement.dataset.ready") == "yes"
    yield chromium
    assert chromium.get_log("browser") == []


def text(browser: Any, part: str) -> str:
    return browser.find_element(By.ID, part).text  # type: ignore[no-any-return]


def test_the_verdict_comes_first(browser: Any) -> None:
    said = text(browser, "verdict")
    assert "int8 against big </script>: worse, faster, smaller" in said
    assert "not compared: macs: not <b>here</b>" in said
    assert browser.find_element(By.ID, "verdict").get_attribute("class") == "bad"


def test_quality(browser: Any) -> None:
    said = text(browser, "quality")
    assert "difference -0.1800" in said
    assert "McNemar's test (exact): p = 0.000121" in said
    cells = [
        [c.text for c in r.find_elements(By.CSS_SELECTOR, "th, td")]
        for r in browser.find_elements(By.CSS_SELECTOR, "#quality table")[0].find_elements(By.TAG_NAME, "tr")
    ]
    assert cells[1:] == [["big </script> right", "70", "20"], ["big </script> wrong", "2", "8"]]


def test_flipped_samples_can_be_filtered(browser: Any) -> None:
    from selenium.webdriver.support.select import Select

    def listed() -> list[str]:
        return [r.text for r in browser.find_elements(By.CSS_SELECTOR, "#flips tbody tr") if r.is_displayed()]

    assert len(listed()) == 22
    assert listed()[0] == "0 now wrong 3 3 5"
    Select(browser.find_element(By.CSS_SELECTOR, "#flips select")).select_by_visible_text("now right")
    assert listed() == ["90 now right – – –", "91 now right – – –"]


def test_latency_and_metrics(browser: Any) -> None:
    assert "median of the ratios of 7 pairs faster" in text(browser, "speed")
    strips = [s.get_attribute("aria-label") for s in browser.find_elements(By.CSS_SELECTOR, ".strip")]
    assert strips[0].startswith("difference -0.1800, from -0.2")
    assert strips[1].startswith("ratio 0.5")
    assert "×0.250 better" in text(browser, "rows")
    assert browser.execute_script("return charts[0].data.labels") == ["top1", "latency", "size"]
    assert browser.find_element(By.CSS_SELECTOR, "#tables details[open] td.worse").text == "-0.7000"


def test_it_asks_nothing_of_the_network_and_everything_has_a_name(browser: Any) -> None:
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    wanted = {"button", "combobox", "image", "region", "link"}
    named = [n for n in tree if not n.get("ignored") and n["role"]["value"] in wanted]
    assert [n["role"]["value"] for n in named if not n.get("name", {}).get("value")] == []


def test_the_theme_can_be_switched(browser: Any) -> None:
    before = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    browser.find_element(By.ID, "theme").click()
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") != before
