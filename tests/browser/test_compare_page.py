"""The comparison in Chromium, from file://."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbuild_kit.previews import png

from compressbuild.api import Operator, Profile
from compressbuild.evaluate.answers import Flip
from compressbuild.evaluate.compare import Comparison, compare_quality, paired_speed, row
from compressbuild.report.data.beside import beside
from compressbuild.report.page.pages import comparison_page

HOSTILE = "</script><img src=x onerror='window.broken = 1'>\nnot <b>bold</b>"
PROFILES = [
    Profile(
        operators=tuple(
            Operator(name=f"{layer}/{op}", op=op, time_us=us, layer=layer)
            for layer, op, us in (("a.conv", f"{kind}Conv", 40.0 * us), ("", "Reshape", 1.0), *more)
        ),
        run_us=60.0,
        batch=8,
    )
    for kind, us, more in (("", 1, [("a", "Relu", 3.0)]), ("Q", 0.25, [("<i>b</i>", "QuantizeLinear", 2.0)]))
]

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
    picture = base64.b64encode(png(np.arange(192, dtype=np.uint8).reshape(3, 8, 8))).decode()
    samples: dict[str, dict[str, str]] = {"0": {"image": picture}, "1": {"text": HOSTILE}, "2": {}}
    path = tmp_path_factory.mktemp("compare") / "compare.html"
    path.write_text(comparison_page(found, tables, beside(*PROFILES), samples), encoding="utf-8")
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


def test_flipped_samples_are_pictures_or_text(browser: Any) -> None:
    cards = browser.find_elements(By.CSS_SELECTOR, "#samples figure")
    assert len(cards) == 20
    (picture,) = browser.find_elements(By.CSS_SELECTOR, "#samples img")
    assert browser.execute_script("return [arguments[0].complete, arguments[0].naturalWidth]", picture) == [True, 8]
    assert picture.get_attribute("alt") == "sample 0"
    assert cards[0].text.splitlines() == ["sample 0", "label 3", "big </script>: 3", "int8: 5"]
    assert browser.find_element(By.CSS_SELECTOR, "#samples blockquote").text == HOSTILE
    assert browser.execute_script("return window.broken") is None
    _, *answers = cards[0].find_elements(By.CSS_SELECTOR, "figcaption span")
    assert [each.get_attribute("class") for each in answers] == ["better", "worse"]


def test_operators_stand_side_by_side(browser: Any) -> None:
    def rows() -> list[str]:
        found = browser.find_elements(By.CSS_SELECTOR, "#operators tbody tr")
        return [" ".join(r.text.split()) for r in found if r.is_displayed()]

    assert rows() == [
        "a.conv 40.0 10.0 ×0.25 2 on one side", "<i>b</i> – 2.0 only in int8", "a 3.0 – only in big </script>",
        "of no module 1.0 1.0 ×1.00", "outside operators 16.0 47.0",
    ]  # fmt: skip
    button = browser.find_element(By.CSS_SELECTOR, "#operators tbody button")
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    assert rows()[1:3] == ["Conv only in big </script> 40.0 –", "QConv only in int8 – 10.0"]
    button.click()
    assert len(rows()) == 5
    assert "on one side only, because they were fused, removed or added: 2 in big </script>, 2 in int8." in text(
        browser, "operators"
    )


@pytest.mark.parametrize("width", [700, 1440])
def test_nothing_is_wider_than_the_page(browser: Any, width: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    )
    try:
        for part in ("#samples", "#operators .scroll"):
            box = browser.find_element(By.CSS_SELECTOR, part)
            assert browser.execute_script("return arguments[0].scrollWidth - arguments[0].clientWidth", box) <= 0
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_asks_nothing_of_the_network_and_everything_has_a_name(browser: Any) -> None:
    asked = "return performance.getEntriesByType('resource').filter((r) => !r.name.startsWith('data:')).length"
    assert browser.execute_script(asked) == 0
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    wanted = {"button", "combobox", "image", "region", "link"}
    named = [n for n in tree if not n.get("ignored") and n["role"]["value"] in wanted]
    assert [n["role"]["value"] for n in named if not n.get("name", {}).get("value")] == []


def test_the_theme_can_be_switched(browser: Any) -> None:
    before = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    browser.find_element(By.ID, "theme").click()
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") != before
