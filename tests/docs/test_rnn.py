"""The benchmark of recurrent models: its Compressfile resolves, and builds with every gate held."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command import Work
from pages import ROOT

from compressbuild.compressfile.load import loads
from compressbuild.graph import build_graph
from compressbuild.platforms import Facts
from compressbuild.registry import discover

PLACE = ROOT / "benchmarks" / "rnn"
PAIRS = ("units-50", "weights-70", "sparse-80", "palette-4bit", "fp16", "int8")
GATED = {f"{net}-{name}" for net in ("gru", "lstm") for name in PAIRS}


def test_its_compressfile_resolves() -> None:
    spec = loads((PLACE / "Compressfile").read_text(), PLACE / "Compressfile")
    graph = build_graph(spec, discover(cache=None), Facts.fixed({}))
    names = {node.name for node in graph.nodes}
    assert {"prune.recurrent", "prune.gradual", "share.cluster", "quantize.dynamic", "quantize.weights"} <= names
    assert {name for name, target in spec.targets.items() if target.gates} == GATED


@pytest.mark.slow
def test_every_gate_holds(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("build", "cache", ".cbuild", "__pycache__")
    shutil.copytree(PLACE, tmp_path / "rnn", ignore=ignored)
    work = Work(tmp_path / "rnn")
    work.json("all", "-k")
    assert {path.name for path in (work.root / "build").iterdir()} >= GATED
