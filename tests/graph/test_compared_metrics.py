"""Metrics that look at the baseline, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressbuild.project import Project

ROOT = Path(__file__).parents[2]
FILE = """
version: 1
models:
  net: {factory: "examples.digits.model:build", inputs: {image: {shape: [batch, 1, 8, 8], dtype: float32}}}
datasets:
  test: {loader: "examples.digits.data:test"}
evaluate: {data: test, metrics: [top1, agreement, {cosine: {output: y}}], baseline: big}
targets:
  big: {from: net, steps: [prune.magnitude: {sparsity: 0.1}]}
  small: {from: net, steps: [prune.magnitude: {sparsity: 0.9}]}
  alone: {from: net, evaluate: {baseline: small, metrics: [size]}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "Compressfile").write_text(FILE)
    return Project(tmp_path / "Compressfile")


def test_a_paired_metric_reads_both_predictions(project: Project) -> None:
    nodes, target = project.graph.nodes, project.graph.targets["small"]
    metrics = {m.name: m for m in target.metrics}
    node = nodes[metrics["agreement"].node or 0]
    assert {role: nodes[i].position for role, i in node.inputs.items()} == {
        "subject": "small/metrics.predict",
        "baseline": "big/metrics.predict",
    }
    assert nodes[metrics["cosine"].node or 0].params == {"output": "y"}
    assert list(nodes[metrics["top1"].node or 0].inputs) == ["subject"]


def test_a_baseline_is_not_compared_with_itself(project: Project) -> None:
    metrics = {m.name: m for m in project.graph.targets["big"].metrics}
    assert metrics["agreement"].node is None
    assert metrics["agreement"].reason == "'big' is the baseline"
    assert metrics["top1"].node is not None


def test_the_baselines_classes_are_measured_beside_the_targets(project: Project) -> None:
    graph = project.graph
    compared = graph.targets["small"].compared
    assert [(m.name, graph.nodes[m.node or 0].position) for m in compared] == [("top1", "big/top1")]
    assert compared[0].node in graph.targets["small"].nodes
    assert graph.targets["big"].compared == ()
    assert graph.targets["alone"].compared == ()


def test_details_are_measured_of_what_they_apply_to_if_anything_is(project: Project) -> None:
    graph = project.graph
    details = {name: [graph.nodes[m.node or 0].name for m in t.details] for name, t in graph.targets.items()}
    assert details == {"big": ["layers"], "small": ["layers"], "alone": ["layers"]}
    assert all(m.node in target.nodes for target in graph.targets.values() for m in target.details)
    assert all("layers" not in [m.name for m in target.metrics] for target in graph.targets.values())
    (project.root / "Compressfile").write_text(
        FILE.replace("metrics: [top1, agreement, {cosine: {output: y}}]", "metrics: []")
    )
    quiet = Project(project.root / "Compressfile").graph.targets
    assert quiet["big"].details == ()
    assert len(quiet["alone"].details) == 1
