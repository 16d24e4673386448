"""Measurements that a command asks for, whatever the Compressfile says."""

from __future__ import annotations

from pathlib import Path

from compressbuild.api import Profiling, RunMetric
from compressbuild.compressfile.load import loads
from compressbuild.compressfile.nodes import Map, located
from compressbuild.graph import Ask, Graph, build_graph
from compressbuild.platforms import Facts
from compressbuild.registry import discover

FILE = """
version: 1
models: {net: {file: model.onnx}}
platforms: {cpu: {backend: onnxruntime, threads: 1}}
evaluate: {metrics: [size, {throughput: {seconds: 3}}], baseline: full}
targets:
  full: {from: net, platform: cpu}
  half: {from: net, steps: [convert.fp16], platform: cpu, gates: {size: {max: 10}}}
"""


def graph(folder: Path, *asks: Ask) -> Graph:
    return build_graph(loads(FILE, folder / "Compressfile"), discover(cache=None), Facts.fixed({}), asks)


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
