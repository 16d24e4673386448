"""An ONNX file built for OpenVINO by the installed command, measured beside ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path

import onnx_models as models
from command import Work

COMPRESSFILE = """
version: 1
models:
  net: {file: model.onnx}
platforms:
  ort: {backend: onnxruntime}
  intel: {backend: openvino}
  strict: {backend: openvino, compress-to-fp16: true, parity: {sqnr-db: 120}}
evaluate: {metrics: [{latency: {batch: 4, seconds: 0.05}}, size], baseline: reference}
targets:
  reference: {from: net, platform: ort}
  ir: {from: net, platform: intel}
  refused: {from: net, platform: strict}
"""


def test_built_measured_and_compared(tmp_path: Path) -> None:
    work = Work(tmp_path / "project")
    work.write("Compressfile", COMPRESSFILE)
    models.save(models.cnn(), work.root)
    work("ir", "reference")
    measured = json.loads((work.root / "build/ir/metrics.json").read_text())["metrics"]
    assert measured["latency"]["describe"]["runtime"] == "openvino"
    assert measured["latency"]["baseline"]["describe"]["runtime"] == "onnxruntime"
    assert measured["latency"]["ratio"] > 0
    shown = work("show", "ir").out
    assert ", sqnr_db: 1" in shown
    assert ", max_abs: " in shown
    failed = work.json("refused", code=1).failures
    assert len(failed) == 1
    assert "parity: output 'logits' of OpenVINO is not what its source computes" in str(failed[0].error)
    assert not (work.root / "build/refused").exists()
