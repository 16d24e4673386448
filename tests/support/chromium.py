"""A real Chromium without a window, and how long a page in it takes until a first click is answered."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_WORDS = "headless=new no-sandbox disable-gpu disable-background-networking disable-component-update disable-sync"
# Run before the page's own scripts; as soon as the page is loaded it clicks on another tab, and waits until that is
# painted.
_CLICK = """
addEventListener("load", () => setTimeout(() => {
  const tab = document.querySelector("#tabs [aria-selected=false]");
  if (!tab) return;
  tab.click();
  const opened = document.getElementById("panel").getAttribute("aria-label") === tab.dataset.target;
  requestAnimationFrame(() => setTimeout(() => { window.answered = opened ? performance.now() : Infinity; }));
}));
"""
_MOMENTS = (
    "const n = performance.getEntriesByType('navigation')[0]; return [n.domInteractive, n.loadEventEnd, answered]"
)


def launch(profile: Path) -> Any:
    """A driver. Skips the test where Chromium, its driver or selenium is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs the package selenium")
    chromium = next((found for name in _NAMES if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in (*_WORDS.split(), "no-first-run", "window-size=1280,1000", f"user-data-dir={profile}"):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def moments(browser: Any, report: Path, loads: int, enough: float) -> list[tuple[float, float, float]]:
    """For each load of a report (interactive, loaded, a click answered and painted), in milliseconds of the wall's
    clock since it was asked for. Ends early with a load that was ``enough``."""
    from selenium.webdriver.support.ui import WebDriverWait

    found: list[tuple[float, float, float]] = []
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _CLICK})
    try:
        while len(found) < loads and not (found and found[-1][-1] < enough):
            browser.get("about:blank")
            browser.get(report.as_uri())
            WebDriverWait(browser, 60).until(lambda b: b.execute_script("return window.answered"))
            found.append(tuple(browser.execute_script(_MOMENTS)))
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    return found
