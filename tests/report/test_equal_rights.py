"""A plugin's own metrics are the equal of first-party ones: in the verdict, the tables, the plot and comparisons."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from toyproject import Toy

from compressbuild.api import ArtifactMetric, RunMetric
from compressbuild.project import Project
from compressbuild.registry import discover
from compressbuild.report.data.document import gather
from compressbuild.report.text.markdown import markdown
from compressbuild.report.text.table import target_table

TEXT = """\
version: 1
models: {{full: {{file: full.txt}}, half: {{file: half.txt}}, bad: {{file: bad.txt}}}}
evaluate: {{metrics: [length, {speed}, {quality}], baseline: big}}
targets:
  big: {{from: full, steps: [toy.copy]}}
  small: {{from: half, steps: [toy.copy], gates: {{{quality}: {{max-drop: 0.1, against: big}}}}}}
  poor: {{from: bad, steps: [toy.copy]}}
"""


class Measured(Toy):
    """A project whose metrics of quality and speed have these names."""

    def __init__(self, root: Path, quality: str, speed: str) -> None:
        super().__init__(root)
        own = (
            ArtifactMetric(name=quality, run="toy:stars", direction="higher", role="quality", priority=7),
            RunMetric(
                name=speed, run="toy:joules", unit="ms", direction="lower", role="cost",
                priority=5,
            ),
        )  # fmt: skip
        self.registry = discover(cache=None, extra=["toy"])
        self.registry = replace(self.registry, metrics={**self.registry.metrics, **{m.name: m for m in own}})
        for name, text in (("full", "a" * 40), ("half", "a" * 19 + "x"), ("bad", "x" * 20)):
            self.write(f"{name}.txt", text)
        self.write("Compressfile", TEXT.format(quality=quality, speed=speed))

    def open(self, overrides: Any = ()) -> Project:
        project = super().open(overrides)
        project.__dict__["registry"] = self.registry
        return project


def said(root: Path, quality: str, speed: str) -> tuple[Any, str]:
    """All that is said of a built project, as data and text, with its metrics called Q and S."""
    toy = Measured(root / "p", quality, speed)
    report, _ = toy.build()
    document = gather(toy.open(), ["big", "small", "poor"])
    for row in (*document["targets"], *document["nodes"]):
        for volatile in ("steps", "history", "provenance", "seconds", "memory", "key", "output"):
            row.pop(volatile, None)
    document.pop("time")
    data, text = msgspec.json.encode(document).decode(), f"{markdown(document)}\n{target_table(report, False)}"
    renamed = [each.replace(quality, "Q").replace(speed, "S") for each in (data, text)]
    return msgspec.json.decode(renamed[0]), renamed[1]


def test_the_verdict_the_tables_and_the_plot_are_those_of_first_party_metrics(tmp_path: Path) -> None:
    data, text = said(tmp_path / "a", "gold", "tempers")  # names as long as the others: tables are as wide
    assert (data, text) == said(tmp_path / "b", "top1", "latency")
    assert (data["quality"], data["speed"]) == ("Q", "S")
    assert "Ship **small**: Q 0.975 is not worse than the 0.995 of big by more than 0.1; the fastest of the 2 " in text
    assert "| target | platform | Q | S |" in text
    assert "S: median at batch 4; only ratios carry over to other machines" in text


def test_they_come_first_and_decide(tmp_path: Path) -> None:
    toy = Measured(tmp_path / "p", "gold", "tempers")
    toy.build()
    document = gather(toy.open(), ["big", "small", "poor"])
    assert list(document["metrics"])[:2] == ["gold", "tempers"]
    assert document["choices"][0]["rivals"]["poor"].startswith("gold 0.595 is below 0.995 of big (McNemar p = ")
    assert {t["name"] for t in document["targets"] if t["front"]} >= {"big", "small"}
    paired = {t["name"]: t["metrics"]["gold"].get("paired") for t in document["targets"]}
    assert paired["big"] is None, "it is the baseline"
    assert paired["small"]["lost"] == {"count": 4, "samples": (195, 196, 197, 198)}
    assert paired["small"]["won"] == {"count": 0, "samples": ()}
    assert paired["poor"]["lost"]["count"] == 80
    assert paired["poor"]["lost"]["samples"] == tuple(range(119, 139)), "no more than some are named"


# What the engine's own documents and keys call things, which happen to be the names of metrics and kinds too.
OWN_WORDS = {
    "size": "bytes of a node's output",
    "layers": "the part of a report that shows layers",
    "parameters": "of a node: a part of its action key",
    "sqnr": "a column of the table of layers",
    "examples": "an input's role, and the field of a record that asks for it",
}
# A default that plugins may rely on: it goes with the next change of the records.
DEFAULTS = {("compressbuild/api/records.py", "onnx")}
# Helpers for plugins' tests that make a small artifact of these kinds; no build runs them.
DEFAULTS |= {("compressbuild/api/testing.py", kind) for kind in ("onnx", "torch-model")}
DEFAULTS |= {("compressbuild/registry/opening.py", "torch-model")}  # load_torch, which is about this kind
# A goal of 'cbuild init', and a part of the data.
DEFAULTS |= {("compressbuild/starter/choices.py", word) for word in ("latency", "train")}
DEFAULTS |= {("compressbuild/cli/tune.py", "train")}  # an option


def literals(path: Path) -> set[str]:
    """String constants of a file that are no docstrings: a docstring is never a bare name."""
    return {
        n.value
        for n in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(n, ast.Constant) and isinstance(n.value, str)
    }


def first_party() -> set[str]:
    found = discover(cache=None)
    return {*found.techniques, *found.metrics, *found.backends, *found.kinds, *found.checks}


def test_the_engine_names_no_first_party_record() -> None:
    root = Path(__file__).parents[2]
    names = first_party()
    assert {"top1", "latency", "prune.channels", "onnx"} <= names
    wrong = [
        (at, word)
        for path in sorted((root / "compressbuild").rglob("*.py"))
        for word in sorted(literals(path) & names)
        if word not in OWN_WORDS and ((at := str(path.relative_to(root))), word) not in DEFAULTS
    ]
    assert wrong == []


@pytest.mark.parametrize("name", ["report", "compare", "target", "page", "parts"])
def test_nor_do_the_pages(name: str) -> None:
    (path,) = (Path(__file__).parents[2] / "compressbuild/report").rglob(f"{name}.js")
    text = path.read_text()
    assert [word for word in first_party() - set(OWN_WORDS) if f'"{word}"' in text or f"metrics.{word}" in text] == []
