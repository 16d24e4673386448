"""Metrics whose parameters reach what makes their predictions, and the examples that attacks make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compressbuild.compressfile.load import loads
from compressbuild.errors import CompressfileError
from compressbuild.graph import Graph, build_graph
from compressbuild.platforms import Facts
from compressbuild.registry import discover

FILE = """
version: 1
models:
  net: {factory: "examples.digits.model:build", inputs: {image: {shape: [batch, 1, 8, 8], dtype: float32}}}
  zoo: {file: zoo.onnx}
datasets:
  test: {loader: "examples.digits.data:test"}
  other: {loader: "examples.digits.data:calibration"}
platforms: {cpu: {backend: onnxruntime, threads: 1}}
evaluate: {data: test, metrics: [METRICS], baseline: fp32}
targets:
  fp32: {from: net, steps: [export.onnx], platform: cpu}
  int8: {from: net, steps: [export.onnx, quantize.static: {data: other}], platform: cpu}
  slim: {from: net, steps: [prune.magnitude, export.onnx], platform: cpu}
  bought: {from: zoo, platform: cpu}
"""


def graph(tmp_path: Path, metrics: str) -> Graph:
    (tmp_path / "zoo.onnx").write_bytes(b"onnx")
    spec = loads(FILE.replace("METRICS", metrics), tmp_path / "Compressfile")
    return build_graph(spec, discover(cache=None), Facts.fixed({}))


def metric(found: Graph, target: str, name: str) -> Any:
    return next(m for m in found.targets[target].metrics if m.name == name)


def examples(found: Graph, target: str, name: str) -> Any:
    """The node that makes the examples that the target's predictions are of."""
    predictions = found.nodes[found.nodes[metric(found, target, name).node].inputs["subject"]]
    assert found.nodes[predictions.inputs["subject"]].index == found.targets[target].artifact
    return found.nodes[predictions.inputs["examples"]]


def test_each_target_is_attacked_through_the_torch_model_it_was_made_from(tmp_path: Path) -> None:
    found = graph(tmp_path, "{fgsm: {eps: [0.1]}}, {pgd: {steps: 3}}")
    attack = examples(found, "int8", "fgsm")
    assert (attack.name, attack.params["eps"], attack.datasets) == ("metrics.attack-fgsm", [0.1], ("test",))
    assert found.nodes[attack.inputs["subject"]].position == "net/source"
    assert examples(found, "fp32", "fgsm") is attack
    assert attack.models == ("net",)
    own = examples(found, "slim", "pgd")
    assert found.nodes[own.inputs["subject"]].name == "prune.magnitude"
    assert own.params["steps"] == 3
    bought = metric(found, "bought", "fgsm")
    assert bought.node is None
    assert bought.reason == "'bought' is not made from a torch-model; name one: {fgsm: {surrogate: …}}"


def test_a_surrogate_is_attacked_once_for_all(tmp_path: Path) -> None:
    found = graph(tmp_path, "{fgsm: {surrogate: net}}")
    attacks = {examples(found, target, "fgsm").index for target in ("fp32", "int8", "slim", "bought")}
    assert len(attacks) == 1


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("{fgsm: {surrogate: nett}}", "parameter 'surrogate' names an unknown model or target 'nett'"),
        (
            "{fgsm: {surrogate: zoo}}",
            "metric 'fgsm', parameter 'surrogate': takes torch-model, but its input is 'onnx'",
        ),
        ("{ood: {outside: svhn}}", "parameter 'outside' names an unknown dataset 'svhn'"),
        ("ood", "metric 'ood': parameter 'outside' is required"),
        ("slices", "metric 'slices': give either 'by', a function, or 'column'"),
        ("{corruption: {corruptions: [fog]}}", "metric 'corruption', parameter 'corruptions[0]'"),
    ],
)
def test_refusals_have_their_place(metrics: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CompressfileError) as caught:
        graph(tmp_path, metrics)
    assert message in str(caught.value)
    assert {d.mark.line for d in caught.value.diagnostics if d.mark} == {10}


def test_parameters_and_datasets_of_a_metric_are_those_of_its_predictions(tmp_path: Path) -> None:
    found = graph(tmp_path, '{ood: {outside: other}}, {corruption: {severities: [2]}}, {slices: {by: "data:f"}}')
    made = {
        n: found.nodes[found.nodes[metric(found, "int8", n).node].inputs["subject"]]
        for n in ("ood", "corruption", "slices")
    }
    assert made["ood"].datasets == ("test", "other")
    assert "outside" not in made["ood"].key_params  # its data is, whatever it is called
    assert made["corruption"].params["severities"] == [2]
    assert made["slices"].functions == ("data:f",)
    assert [m.name for m in found.targets["int8"].compared] == ["slices"]


def test_what_a_metric_lacks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from compressbuild.graph import draft
    from compressbuild.platforms import Missing

    def check(needs: Any, facts: Any) -> list[Missing]:
        return [Missing("sacrebleu (not found)", needs.install)] if "sacrebleu" in needs.modules else []

    monkeypatch.setattr(draft, "check", check)
    found = metric(graph(tmp_path, '{bleu: {decode: "data:text"}}'), "fp32", "bleu")
    assert found.node is None
    assert "sacrebleu (not found)" in found.reason


def test_two_metrics_that_ask_for_different_predictions_have_a_place_each(tmp_path: Path) -> None:
    """Places tell nodes apart in traces, in events and in names of logs."""
    found = graph(tmp_path, "{fgsm: {eps: [0.1]}}, {pgd: {steps: 3}}, top1")
    predictions = [found.nodes[metric(found, "int8", name).node].inputs["subject"] for name in ("fgsm", "pgd")]
    first, second = (found.nodes[index].position for index in predictions)
    assert second == f"{first}#2"
    places = [node.position for node in found.nodes]
    assert len(set(places)) == len(places)
    assert all(node.position in found.positions[node.index] for node in found.nodes)
