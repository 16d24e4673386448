"""Metrics that their parameters give a name, a unit and a direction."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressbuild.compressfile.load import loads
from compressbuild.errors import CompressfileError
from compressbuild.evaluate.roles import Roles
from compressbuild.graph import Graph, build_graph
from compressbuild.platforms import Facts
from compressbuild.registry import discover

FILE = """
version: 1
models: {{net: {{file: model.onnx}}}}
platforms: {{cpu: {{backend: onnxruntime}}}}
datasets: {{test: {{loader: "examples.digits.data:test"}}}}
evaluate:
  data: test
  metrics: {metrics}
targets:
  t: {{from: net, platform: cpu, gates: {gates}}}
"""
WORDS = "{user: {name: word-errors, direction: lower, unit: '%', function: 'm:wer'}}"
STARS = "{user: {name: stars, direction: higher, function: 'm:stars'}}"


def graph(folder: Path, metrics: str, gates: str = "{}") -> Graph:
    spec = loads(FILE.format(metrics=metrics, gates=gates), folder / "Compressfile")
    return build_graph(spec, discover(cache=None), Facts.fixed({}))


def test_several_of_one_metric(tmp_path: Path) -> None:
    found = graph(tmp_path, f"[latency, {WORDS}, {STARS}]", "{word-errors: {max: 5}, stars: {min: 3}}")
    plan = found.targets["t"]
    assert [(m.name, m.unit, m.direction) for m in plan.metrics] == [
        ("latency", "ms", "lower"), ("word-errors", "%", "lower"), ("stars", "", "higher"),
    ]  # fmt: skip
    positions = [found.nodes[m.node].position for m in plan.metrics if m.node is not None]
    assert positions == ["t/latency", "t/word-errors", "t/stars"]
    assert [(g.spec.metric, g.metric.node) for g in plan.gates] == [
        ("word-errors", plan.metrics[1].node), ("stars", plan.metrics[2].node),
    ]  # fmt: skip
    assert found.metrics["word-errors"].unit == "%"
    roles = Roles.of(found.metrics)
    assert roles.quality_of(["latency", "word-errors", "stars"]) == "word-errors"
    assert roles.quality_of(["latency", "stars"]) == "stars"


def test_without_a_direction_it_decides_nothing(tmp_path: Path) -> None:
    found = graph(tmp_path, "[{user: {function: 'm:f'}}]")
    assert [m.name for m in found.targets["t"].metrics] == ["user"]
    assert Roles.of(found.metrics).quality_of(["user"]) is None


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (f"[{STARS}, {STARS}]", "metric 'stars' is listed twice"),
        (
            "[{user: {name: top1, function: 'm:f'}}]",
            "metric 'user' cannot have the name 'top1': another metric has that name",
        ),
        ("[{user: {name: Top One, function: 'm:f'}}]", "metric 'user', parameter 'name'"),
        ("[{user: {direction: up, function: 'm:f'}}]", "metric 'user', parameter 'direction'"),
    ],
)
def test_names_that_cannot_be(metrics: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(CompressfileError) as caught:
        graph(tmp_path, metrics)
    assert said in str(caught.value)
