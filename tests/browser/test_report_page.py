"""The report in Chromium, from file://: what a person sees, clicks and types."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

By = pytest.importorskip("selenium.webdriver.common.by", reason="needs the package selenium").By
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys


@pytest.fixture
def browser(chromium: Any, report: Path) -> Any:
    """The page, just opened; afterwards nothing may have been logged."""
    chromium.get_log("browser")
    chromium.get("about:blank")
    chromium.get(report.as_uri())
    assert chromium.execute_script("return document.documentElement.dataset.ready") == "yes"
    yield chromium
    assert chromium.get_log("browser") == []


def rows(browser: Any) -> list[str]:
    """Names in the table of targets, as shown."""
    found = browser.find_elements(By.CSS_SELECTOR, "#table tbody tr")
    return [row.get_attribute("data-target") for row in found if row.is_displayed()]


def plotted(browser: Any) -> list[str]:
    return browser.execute_script("return plot.data.datasets[0].data.map((p) => p.target.name)")  # type: ignore[no-any-return]


def test_it_says_what_to_ship_and_why(browser: Any) -> None:
    said = browser.find_element(By.ID, "choice").text
    assert "int8" in said
    assert "Why: as good" in said
    assert "×0.25 of big" in said  # the size
    browser.find_element(By.CSS_SELECTOR, "#choice summary").click()
    assert "big: as good, but slower" in browser.find_element(By.ID, "choice").text


def test_text_from_outside_stays_text(browser: Any) -> None:
    assert browser.find_element(By.TAG_NAME, "h1").text == "planted <i>& quoted</i>"
    assert browser.execute_script("return window.broken") is None
    assert "no baseline <b>here</b>" in browser.find_element(By.ID, "panel").text


def test_it_asks_nothing_of_the_network(browser: Any, report: Path) -> None:
    urls = browser.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert urls == []
    text = report.read_text()
    assert len(text) < 3_000_000
    outside = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//[^"'\s)]+""", text.split("<script>")[0])
    assert outside == []


def test_filters(browser: Any) -> None:
    assert rows(browser) == ["big", "int8", "pruned", "slow", "raw"]
    assert plotted(browser) == ["big", "int8", "pruned", "slow"], "what is not measured is not in the plot"
    browser.find_element(By.CSS_SELECTOR, "#platforms input[value=edge]").click()
    assert rows(browser) == ["big", "int8", "pruned", "raw"]
    browser.find_element(By.ID, "only-front").click()
    assert set(rows(browser)) == set(plotted(browser)) == {"big", "int8", "pruned"}
    assert "sweep" not in browser.find_element(By.ID, "plot-says").text


def test_axes_can_be_chosen(browser: Any) -> None:
    from selenium.webdriver.support.select import Select

    Select(browser.find_element(By.ID, "x")).select_by_value("size")
    assert "front of top1 and size" in browser.find_element(By.ID, "plot-says").text
    assert browser.execute_script("return plot.data.datasets[0].data[0].x") == 4000


def test_a_click_on_a_point_opens_its_target(browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = browser.find_element(By.ID, "plot")
    x, y = browser.execute_script(
        "const e = plot.getDatasetMeta(0).data[2], c = plot.canvas.getBoundingClientRect();"
        "return [e.x - c.width / 2, e.y - c.height / 2]"
    )
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    ActionChains(browser).move_to_element_with_offset(canvas, round(x), round(y)).click().perform()
    panel = browser.find_element(By.ID, "panel")
    assert panel.get_attribute("aria-label") == "pruned"
    assert "top1 min 0.9" in panel.text
    assert "fail" in panel.text
    assert browser.current_url.endswith("#pruned")


def test_tabs_by_keyboard(browser: Any) -> None:
    tab = browser.find_element(By.CSS_SELECTOR, "#tabs [aria-selected=true]")
    assert tab.text == "int8"
    tab.send_keys(Keys.ARROW_RIGHT)
    assert browser.find_element(By.ID, "panel").get_attribute("aria-label") == "pruned"
    assert browser.switch_to.active_element.text == "pruned"
    browser.switch_to.active_element.send_keys(Keys.END)
    assert browser.find_element(By.ID, "panel").get_attribute("aria-label") == "raw"
    assert len(browser.find_elements(By.CSS_SELECTOR, "#tabs [aria-selected=true]")) == 1


def test_a_collapse_is_seen_at_once(browser: Any) -> None:
    row = browser.find_element(By.CSS_SELECTOR, "#table tr[data-target=slow]")
    assert "⚠" in row.text
    row.find_element(By.TAG_NAME, "button").click()
    assert "top1 collapsed in class 2" in browser.find_element(By.CSS_SELECTOR, "#panel .warning").text


def test_sorting(browser: Any) -> None:
    heads = browser.find_elements(By.CSS_SELECTOR, "#table thead th")
    latency = next(head for head in heads if head.text == "latency")
    latency.find_element(By.TAG_NAME, "button").click()
    assert rows(browser) == ["pruned", "int8", "big", "slow", "raw"]
    assert latency.get_attribute("aria-sort") == "ascending"
    latency.find_element(By.TAG_NAME, "button").click()
    assert rows(browser) == ["slow", "big", "int8", "pruned", "raw"], "what is not measured stays last"


def test_history_is_drawn_and_written(browser: Any) -> None:
    assert browser.execute_script("return charts.length") == 2
    browser.find_element(By.XPATH, "//summary[text()='as a table']").click()
    assert "0.92" in browser.find_element(By.ID, "panel").text
    browser.find_element(By.CSS_SELECTOR, "#tabs [data-target=big]").click()
    assert browser.execute_script("return charts.length") == 1, "what is left is taken down"


def test_dark_and_light(browser: Any) -> None:
    def colour() -> str:
        return browser.execute_script("return getComputedStyle(document.body).backgroundColor")  # type: ignore[no-any-return]

    before = colour()
    browser.find_element(By.ID, "theme").click()
    assert colour() != before
    browser.find_element(By.ID, "theme").click()
    assert colour() == before
    for scheme, theme in (("dark", "dark"), ("light", "light")):
        feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
        browser.refresh()
        assert browser.execute_script("return document.documentElement.dataset.theme") == theme


def test_everything_has_a_name_for_a_screen_reader(browser: Any) -> None:
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    wanted = {"button", "combobox", "checkbox", "tab", "tabpanel", "link", "image", "region"}
    nameless = [
        node["role"]["value"]
        for node in tree
        if not node.get("ignored") and node["role"]["value"] in wanted and not node.get("name", {}).get("value")
    ]
    assert nameless == []


def test_it_is_there_at_once(browser: Any) -> None:
    """Interactive under a second of the page's own work, whatever else the machine does: script and layout time."""
    browser.execute_cdp_cmd("Performance.enable", {})
    browser.refresh()
    found = {m["name"]: m["value"] for m in browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]}
    assert found["ScriptDuration"] + found["LayoutDuration"] < 1.0
