"""What ``cbuild recipes`` shows of what recipes gave: for each of ours, as it was measured, and nothing made up."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command import Inline

from compressbuild.errors import CbuildError
from compressbuild.starter.measured import measured

FILE = {
    "date": "2026-01-02",
    "machine": "a machine",
    "software": {"tool": "1.0"},
    "recipes": {
        "r": {
            "rows": [
                {"model": "m", "runtime": "b", "quality": "top1", "value": 0.95, "baseline": 0.9666, "samples": 60,
                 "size": 0.25, "latency": [1.5, 1.25, 1.75], "noisy": True, "missed": ["quality", "latency"]},
                {"model": "n", "runtime": "c", "size": 0.5, "date": "2026-01-09", "machine": "another"},
            ],
            "failed": ["o: no such layer"],
        }
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    ran = Inline(tmp_path_factory.mktemp("recipes"))("recipes", "--json")
    return {found["name"]: found for found in map(json.loads, ran.out.splitlines())}


def test_each_recipe_was_measured_on_a_runtime_of_its_own_and_is_judged_by_its_gates(shown: dict[str, Any]) -> None:
    assert len(shown) >= 16
    for name, recipe in shown.items():
        if recipe["role"] != "compress":
            continue  # it exports or trains: there is nothing to compare
        given = recipe["measured"]
        assert given["rows"] or given["failed"], name
        assert {"onnxruntime", "torch"} <= given["software"].keys()
        for row in given["rows"]:
            assert row["runtime"] in recipe["runtimes"], name
            gates, missed = recipe["gates"], set()
            if row["quality"] is not None:
                drop = round(row["baseline"] - row["value"], 4)
                missed |= {"quality"} if drop > gates["quality-drop"] else set()
            missed |= {"size"} if gates["size"] is not None and row["size"] > gates["size"] else set()
            if row["latency"] is not None:
                ratio, low, high = row["latency"]
                assert low <= ratio <= high
                missed |= {"latency"} if gates["latency"] is not None and ratio > gates["latency"] else set()
            assert set(row["missed"]) == missed, name


def given(folder: Path, text: str) -> Any:
    (folder / "recipes").mkdir(exist_ok=True)
    (folder / "recipes" / "measured.json").write_text(text)
    registry = SimpleNamespace(plugins=[SimpleNamespace(name="p", file=str(folder / "manifest.py"))])
    return measured(registry, SimpleNamespace(plugin="p", name="r"))


def test_it_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = given(tmp_path, json.dumps(FILE))
    monkeypatch.setattr("compressbuild.starter.measured.measured", lambda registry, recipe: found)
    ran = Inline(tmp_path)("recipes", "static-int8")
    assert ran.out.partition("\nmeasured ")[2] == (
        "2026-01-02 on a machine; tool 1.0\n"
        "  m, b: top1 0.9666 → 0.95 (60 samples), size ×0.25, latency ×1.50 [1.25–1.75] (noisy); "
        "misses its gate on quality, latency\n"
        "  n, c (2026-01-09, another): compiled, not run, size ×0.5\n"
        "  not measured: o: no such layer\n"
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"date": 1}', json.dumps(FILE).replace("0.25,", '"small",')])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(CbuildError, match="what plugin 'p' measured cannot be read") as error:
        given(tmp_path, text)
    assert str(tmp_path) in str(error.value.hint)


def test_a_recipe_that_nobody_measured_shows_nothing(tmp_path: Path) -> None:
    assert given(tmp_path, json.dumps({**FILE, "recipes": {}})) is None
    (tmp_path / "recipes" / "measured.json").unlink()
    registry = SimpleNamespace(plugins=[SimpleNamespace(name="p", file=str(tmp_path / "manifest.py"))])
    assert measured(registry, SimpleNamespace(plugin="p", name="r")) is None
