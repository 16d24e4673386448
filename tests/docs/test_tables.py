"""What the pages say of parameters is what the code says: the generated parts are those that would be generated now."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from pages import ROOT
from test_techniques import registry, techniques


@cache
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables_of_the_pages", ROOT / "tools" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", tool().pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_is_stale(page: Path) -> None:
    assert tool().regenerated(page, registry()) == page.read_text(), "run 'python tools/tables.py'"


def marked(what: str, text: str) -> list[str]:
    return re.findall(rf"^<!-- {what}: (\S+) -->$", text, re.MULTILINE)


def test_every_technique_and_backend_has_its_table() -> None:
    pages = {page.stem: page.read_text() for page in (ROOT / "docs" / "techniques").glob("*.md")}
    for technique in techniques():
        assert marked("parameters", pages[technique.name]) == [technique.name]
        behind_a_metric = technique.name.startswith("metrics.")
        assert marked("excerpt", pages[technique.name]) == [technique.name] * (not behind_a_metric)
    backends = (ROOT / "docs" / "backends.md").read_text()
    assert sorted(marked("settings", backends)) == sorted(registry().backends)
    assert backends.count("<!-- settings of parity -->") == 1
    assert (ROOT / "docs" / "gates.md").read_text().count("<!-- metric parameters -->") == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [("neighbours along", "cells along"), ("`4`", "`8`"), ("integer ≥ 2", "integer"), ("n: 2,", "n: 1,")],
)
def test_an_edited_page_is_stale(tmp_path: Path, old: str, new: str) -> None:
    text = (ROOT / "docs" / "techniques" / "prune.nm.md").read_text()
    assert old in text
    page = tmp_path / "page.md"
    page.write_text(text.replace(old, new))
    assert tool().regenerated(page, registry()) == text


def test_other_markers_are_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- benchmarks/techniques.py -->\nmeasured\n<!-- end -->\n")
    assert tool().regenerated(page, registry()) == page.read_text()
