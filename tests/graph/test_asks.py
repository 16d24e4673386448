"""Measurements that a command asks for, whatever the Compressfile says."""

from __future__ import annotations

from pathlib import Path

from compressbuild.api import Profiling, RunMetric
from compressbuild.compressfile.load import loads
from compressbuild.compressfile.nodes import Map, located
from compressbuild.graph import Ask, Graph, MetricPlan, build_graph
from compressbuild.platforms import Facts
from compressbuild.registry import discover

SAMPLES = """
version: 1
models: {net: {file: model.onnx}}
datasets: {test: {loader: data:test}, other: {loader: data:test}}
platforms: {cpu: {backend: onnxruntime, threads: 1}}
evaluate: {data: test, metrics: [top1, size, corruption], baseline: full}
targets:
  full: {from: net, platform: cpu}
  half: {from: net, steps: [convert.fp16], platform: cpu}
  more: {from: net, platform: cpu, evaluate: {data: other, metrics: [top1]}}
"""

FILE = """
version: 1
models: {net: {file: model.onnx}}
platforms: {cpu: {backend: onnxruntime, threads: 1}}
evaluate: {metrics: [size, {throughput: {seconds: 3}}], baseline: full}
targets:
  full: {from: net, platform: cpu}
  half: {from: net, steps: [convert.fp16], platform: cpu, gates: {size: {max: 10}}}
"""


def graph(folder: Path, *asks: Ask, text: str = FILE) -> Graph:
    return build_graph(loads(text, folder / "Compressfile"), discover(cache=None), Facts.fixed({}), asks)


THROUGHPUT = discover(cache=None).metrics["throughput"]


def test_what_is_asked_stands_beside_what_the_target_measures(tmp_path: Path) -> None:
    plain, found = graph(tmp_path), graph(tmp_path, Ask(THROUGHPUT, "half", beside="net"))
    before, after = plain.targets["half"], found.targets["half"]
    assert [m.name for m in after.metrics] == [m.name for m in before.metrics]
    assert len(after.gates) == len(before.gates)
    (asked,) = after.asked
    assert asked.node is not None
    assert asked.node in after.nodes
    node = found.nodes[asked.node]
    assert (node.position, node.params["seconds"]) == ("half/throughput@net", 3)
    assert (before.asked, found.targets["full"].asked) == ((), ())


def test_alone(tmp_path: Path) -> None:
    mark = loads(FILE, tmp_path / "Compressfile").targets["half"].mark
    params = located({"repeats": 7}, mark)
    assert isinstance(params, Map)
    record = RunMetric(name="mine", run="m:f", params=Profiling)
    found = graph(tmp_path, Ask(record, "half", params=params, alone=True))
    plan = found.targets["half"]
    assert (plan.metrics, plan.gates, plan.details) == ((), (), ())
    (asked,) = plan.asked
    assert asked.node is not None
    assert (found.nodes[asked.node].name, found.nodes[asked.node].params["repeats"]) == ("mine", 7)
    assert set(plan.nodes) == {plan.artifact, plan.model, asked.node}
    assert [m.name for m in found.targets["full"].metrics] == ["size", "throughput"]


def shown(folder: Path, of: str, *samples: int, metric: str = "top1") -> tuple[MetricPlan, Graph]:
    record = discover(cache=None).metrics[metric]
    found = graph(folder, Ask(record, of, alone=True, samples=samples), text=SAMPLES)
    (plan,) = found.targets[of].asked
    return plan, found


def test_a_preview_of_samples_takes_the_dataset_alone(tmp_path: Path) -> None:
    """So that the model is not run for it, and two targets with equal questions share the answer."""
    plan, found = shown(tmp_path, "half", 3, 7)
    assert plan.node is not None
    node = found.nodes[plan.node]
    assert (node.inputs, node.run_with, node.models) == ({}, {}, ())
    assert (node.position, node.params["data"], node.params["samples"]) == ("half/samples", "test", [3, 7])
    assert (node.datasets, list(node.data_with), node.facts) == (("test",), [], ())
    assert "data" not in node.key_params  # what a dataset is called is in no key
    same, other = shown(tmp_path, "half", 3, 7), shown(tmp_path, "half", 3)
    own, again, others = (each.identities[plan.node or 0] for plan, each in ((plan, found), same, other))
    assert own == again != others


def test_samples_that_nothing_can_show(tmp_path: Path) -> None:
    plan, _ = shown(tmp_path, "half", 3, metric="corruption")
    assert (plan.node, plan.reason) == (None, "'metrics.predict-corrupted' cannot show samples")
    plan, _ = shown(tmp_path, "half", 3, metric="size")
    assert plan.node is None
    assert "cannot show samples" in plan.reason
