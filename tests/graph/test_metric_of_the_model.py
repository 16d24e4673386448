"""A metric of what runs that also reads the model before it was compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressbuild.compressfile.load import loads
from compressbuild.graph import Graph, build_graph
from compressbuild.platforms import Facts
from compressbuild.registry import discover

FILE = """
version: 1
models:
  net: {factory: "examples.digits.model:build", inputs: {image: {shape: [batch, 1, 8, 8], dtype: float32}}}
datasets: {calibration: {loader: "examples.digits.data:calibration"}}
platforms: {cpu: {backend: onnxruntime, threads: 1}, intel: {backend: openvino, threads: 1}}
evaluate: {metrics: [roofline, throughput], baseline: fp32}
targets:
  fp32: {from: net, steps: [export.onnx], platform: cpu}
  slim: {from: net, steps: [prune.magnitude, export.onnx], platform: cpu}
  torch: {from: net, steps: [prune.magnitude]}
  ir: {from: net, steps: [export.onnx, openvino.quantize: {data: calibration}], platform: intel}
"""


def graph(tmp_path: Path) -> Graph:
    return build_graph(loads(FILE, tmp_path / "Compressfile"), discover(cache=None), Facts.fixed({}))


def measured(found: Graph, target: str, name: str) -> Any:
    return next(m for m in found.targets[target].metrics if m.name == name)


def test_it_gets_the_model_of_its_own_target(tmp_path: Path) -> None:
    found = graph(tmp_path)
    plan = found.targets["slim"]
    node = found.nodes[measured(found, "slim", "roofline").node]
    assert node.inputs["model"] == plan.model != plan.artifact == node.inputs["subject"]
    assert found.nodes[node.inputs["model"]].kind == "onnx"
    assert {"onnxruntime", "onnx"} <= set(node.tools)
    assert "torch" not in node.tools, "an ONNX model is counted without torch"
    assert "model" not in found.nodes[measured(found, "slim", "throughput").node].inputs


def test_what_is_not_compiled_is_its_own_model(tmp_path: Path) -> None:
    found = graph(tmp_path)
    node = found.nodes[measured(found, "torch", "roofline").node]
    assert node.inputs["model"] == node.inputs["subject"]
    assert node.models == ("net",), "loading it runs the factory"
    assert node.run_with["model"].owner == "kind torch-model"


def test_a_model_that_it_cannot_read_is_said(tmp_path: Path) -> None:
    plan = measured(graph(tmp_path), "ir", "roofline")
    assert (plan.node, plan.reason) == (None, "does not apply to openvino-ir")
