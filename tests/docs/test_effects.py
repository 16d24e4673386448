"""The script behind the table of effects: what it would build resolves, and no technique is forgotten."""

from __future__ import annotations

import importlib.util
import json
import sys
from functools import cache
from types import ModuleType

import pytest
from pages import ROOT

from compressbuild.compressfile.load import loads
from compressbuild.graph import build_graph
from compressbuild.platforms import Facts
from compressbuild.registry import discover

# train and export are part of every row; cutting a graph has no effect that a ratio shows; digits are no text
NOT_A_ROW = {
    "export.tflite",
    "quantize.tflite",
    "train",
    "finetune",
    "distill",
    "export.onnx",
    "extract.subgraph",
    "tokenize.text",
}
NOT_A_ROW |= {"prune.llm-layers", "prune.llm-weights", "prune.llm-width", "quantize.llm"}
NOT_A_ROW |= {"distill.llm", "finetune.llm", "record.logits", "tokenize.choices"}


@cache
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("effects", ROOT / "benchmarks" / "techniques.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["effects"] = module
    spec.loader.exec_module(module)
    return module


def test_no_technique_is_forgotten() -> None:
    effects = script()
    rows = {row.technique for row in (*effects.ON_TORCH, *effects.ON_ONNX)}
    named = {name for name in discover(cache=None).techniques if not name.startswith("metrics.")}
    assert {name for name in named - rows if not name.startswith("metrics.")} <= NOT_A_ROW  # those are no step


@pytest.mark.parametrize("architecture", ["cnn", "transformer", "gru", "lstm"])
def test_every_row_resolves(architecture: str, tmp_path) -> None:
    effects = script()
    known = discover(cache=None)
    rows = [row for row in (*effects.ON_TORCH, *effects.ON_ONNX) if architecture in row.of]
    chosen = {f"row{i}": row for i, row in enumerate(rows) if row.technique in known.techniques}
    text = json.dumps(effects.compressfile(architecture, chosen), indent=1)
    graph = build_graph(loads(text, tmp_path / "Compressfile"), known, Facts.fixed({}))
    assert {row.technique for row in chosen.values()} <= {node.name for node in graph.nodes}


def test_every_name_in_it_is_a_technique() -> None:
    effects = script()
    known = discover(cache=None)
    rows = {row.technique for row in (*effects.ON_TORCH, *effects.ON_ONNX)}
    assert rows <= set(known.techniques)
    assert not rows & NOT_A_ROW


def test_ratios_are_to_the_baseline(tmp_path) -> None:
    for name, size, hits in (("base", 200, 0.9), ("row0", 50, 0.85)):
        (tmp_path / "build" / name).mkdir(parents=True)
        values = {
            "size": {"value": size},
            "top1": {"value": hits},
            "latency": {"value": 1.0, "ratio": 0.5, "noisy": name == "row0"},
        }
        content = json.dumps({"metrics": values | {"macs": {"value": size}, "compressed-size": {"value": size}}})
        (tmp_path / "build" / name / "metrics.json").write_text(content)
    assert script().cells(tmp_path, "row0", quiet=True) == ["0.25", "0.25", "0.25", "~0.50", "0.850", "-5.0"]
    assert script().cells(tmp_path, "row0", quiet=False) == ["0.25", "0.25", "0.25", "–", "0.850", "-5.0"]
