from __future__ import annotations

import importlib

from cbuild_metrics.manifest import compressbuild_kinds, compressbuild_metrics, compressbuild_techniques

from compressbuild.api import AnswerMetric, ArtifactMetric, RunMetric


def test_every_function_that_a_record_names_is_there() -> None:
    names = [metric.run for metric in compressbuild_metrics()]
    names += [technique.run for technique in compressbuild_techniques()]
    names += [kind.validate for kind in compressbuild_kinds() if kind.validate]
    for name in names:
        module, _, attribute = name.partition(":")
        assert callable(getattr(importlib.import_module(module), attribute))
    assert len(names) == len(set(names))


def test_what_predictions_are_made_with() -> None:
    techniques = {technique.name: technique for technique in compressbuild_techniques()}
    metrics = {metric.name: metric for metric in compressbuild_metrics()}
    answers = [metric for metric in metrics.values() if isinstance(metric, AnswerMetric)]
    assert {kind.name for kind in compressbuild_kinds()} == {t.produces for t in techniques.values()}
    used = {m.via for m in answers} | {m.examples for m in answers} - {None}
    assert used == set(techniques)
    for metric in answers:
        assert techniques[metric.via].produces == "predictions"
        assert metric.examples is None or techniques[metric.examples].produces == "examples"
    exclusive = {"latency", "throughput", "load-time", "peak-memory", "roofline"}
    assert {m.name for m in metrics.values() if isinstance(m, RunMetric) and m.exclusive} == exclusive
    assert [m.name for m in metrics.values() if m.per_class] == ["top1", "slices"]
    assert {m.name for m in metrics.values() if m.direction == "none"} == {"layers", "roofline", "user"}
    assert [m.name for m in metrics.values() if isinstance(m, ArtifactMetric) and m.unasked] == ["layers"]


def test_every_metric_says_its_role_and_the_deciding_ones_their_order() -> None:
    metrics = list(compressbuild_metrics())
    order = {
        role: [m.name for m in sorted(metrics, key=lambda m: -m.priority) if m.role == role and m.priority]
        for role in ("quality", "cost", "detail")
    }
    assert order == {
        "quality": [
            *("top1", "user", "f1", "perplexity", "recall", "precision"),
            *("bleu", "chrf", "top5", "pearson", "spearman", "agreement"),
        ],
        "cost": ["latency", "size", "macs"],
        "detail": [],
    }
    assert {m.name for m in metrics if m.role == "detail"} == {"layers", "quantized-share", "roofline"}
    assert {m.name for m in metrics if m.role == "cost" and isinstance(m, AnswerMetric)} == set()
