"""The layer of an OpenVINO model that loses the accuracy is measured on demand, named, and kept in float."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command import Inline
from planted import write_planted
from ridge import digits as samples

pytest.importorskip("nncf", exc_type=ImportError)

PLANTED = """\
version: 1
models: {net: {file: model.onnx}}
datasets:
  data: {npz: data.npz, labels: label, split: {calibration: 0.5}}
platforms:
  vino: {backend: openvino, threads: 1}
evaluate: {data: data, metrics: [top1, edge-cases], baseline: fp32}
targets:
  fp32: {from: net, platform: vino}
  int8:
    from: net
    steps: [openvino.quantize: {data: data.calibration, overflow-fix: none}]   # one of its layers is an outlier's
    platform: vino
    gates: {top1: {max-drop: 0.005, against: fp32}}
"""


def test_it_is_named_and_kept_in_float(tmp_path: Path) -> None:
    work = Inline(tmp_path / "p")
    images, labels = samples()
    write_planted(work.root / "model.onnx", images, labels, 30.0)
    np.savez(work.root / "data.npz", image=images, label=labels)
    work.write("Compressfile", PLANTED)
    work("all", code=3)
    ran = work("advise", "--measure", "--json")
    assert "cannot be compared" not in ran.err, "the metric for ONNX is not for it, and the other one is"
    (row,) = json.loads(ran.out)["advice"]
    assert (row["check"], row["target"], row["where"]) == ("which-layer", "int8", "Compressfile:12:13")
    assert "openvino.quantize loses most of the accuracy in 'fc1/WithoutBiases': keep it in float" in row["what"]
    assert 'exclude: ["fc1/WithoutBiases"]}]   # one' in row["patch"]
    assert json.loads(work("advise", "--json").out)["advice"] == [row], "what was measured stays known"
    (target,) = [t for t in json.loads(work("report", "--format", "json").out)["targets"] if t["name"] == "int8"]
    assert max(target["errors"], key=lambda r: r["lost"])["node"] == "fc1/WithoutBiases"
    work("advise", "--measure", "--apply")
    work("all")
    assert work("advise", "--measure").out == "nothing to advise on 2 targets\n"
