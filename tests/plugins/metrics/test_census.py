"""A kind that no plugin of the project knows is counted like the others, by its own census."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from cbuild_metrics.manifest import compressbuild_metrics
from toyproject import Toy

from compressbuild.api import ArtifactMetric, Macs, RunMetric, UserError
from compressbuild.api.testing import make_context
from compressbuild.project import Project
from compressbuild.registry import discover
from compressbuild.report.data.document import gather

METRICS = ("macs", "parameters", "nonzeros", "distinct", "roofline")
FILE = """
version: 1
models: {m: {file: m.tally}}
evaluate: {metrics: [macs, parameters, nonzeros, distinct, roofline: {batch: 4, seconds: 0.05, warmup: 1}]}
targets:
  t: {from: m, steps: [tally.halve]}
  quiet: {from: m, steps: [tally.mute]}
"""
WEIGHT = np.array([[0.0, 1.0, 2.0], [4.0, 2.0, 0.0]], np.float32)


class Tally(Toy):
    def open(self, overrides: Any = ()) -> Project:
        project = super().open(overrides)
        project.__dict__["registry"] = discover(cache=None, extra=["tally"])
        return project


@pytest.fixture
def tally(tmp_path: Path) -> Tally:
    made = Tally(tmp_path)
    made.write("Compressfile", FILE)
    np.savetxt(tmp_path / "m.tally", WEIGHT)
    return made


def test_a_third_party_kind_is_counted_and_measured(tally: Tally) -> None:
    report, _ = tally.build("t")
    assert report.exit_code == 0
    found = report.targets[0].metrics
    assert {name: found[name]["value"] for name in METRICS if name != "roofline"} == {
        "macs": 6,
        "parameters": 6,
        "nonzeros": 4,
        "distinct": 4,
    }
    assert found["macs"]["by_operator"] == {"Product": 6}
    assert found["roofline"]["flops"] == 2 * 4 * 6
    assert found["roofline"]["traffic"] == {"weights": 6 * 4, "inputs": 4 * 2 * 4, "outputs": 4 * 3 * 4}
    project = tally.open()
    (layers,) = gather(project, ["t"])["layers"].values()
    project.close()
    assert [(row["name"], row["op"], row["nonzero"]) for row in layers["rows"]] == [("w", "Product", 4)]


def test_a_kind_without_a_census_is_not_counted(tally: Tally) -> None:
    report, _ = tally.build("quiet")
    assert report.targets[0].unmeasured == dict.fromkeys(METRICS, "does not apply to mute")


def test_the_code_of_the_census_is_in_the_key(tally: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def code(source: str) -> dict[str, str]:
        monkeypatch.syspath_prepend(str(tmp_path / "plugin"))
        (tmp_path / "plugin").mkdir(exist_ok=True)
        (tmp_path / "plugin" / "tally.py").write_text(source)
        monkeypatch.delitem(sys.modules, "tally", raising=False)
        project = tally.open()
        nodes = [node for node in project.graph.nodes if node.role == "metric"]
        found = {node.name: str(project.keyer.parts(node, {})["plugin code"]) for node in nodes}
        project.close()
        return found

    source = (Path(__file__).parents[2] / "support" / "tally.py").read_text()
    before, same = code(source), code(source + "\n# a comment\n")
    assert before == same
    after = code(source.replace('"float", read(path).size', '"float", 2 * read(path).size'))
    assert {name for name in before if after[name] != before[name]} == {*METRICS, "layers"}


def test_the_stack_of_the_kind_is_in_the_key(tally: Tally) -> None:
    project = tally.open()
    nodes = {node.name: node for node in project.graph.nodes if node.role == "metric"}
    project.close()
    for name in ("macs", "layers", "parameters"):
        census = nodes[name].run_with["subject"]
        assert (census.load, census.is_census) == ("tally:census", True)
    assert nodes["roofline"].run_with["model"].is_census
    assert not nodes["roofline"].run_with["subject"].is_census
    torch = discover(cache=None).kinds["torch-model"]
    assert "safetensors" in torch.stack.tools


def test_what_a_kind_lacks_is_said(tally: Tally) -> None:
    project = tally.open()
    kinds = dict(project.registry.kinds)
    kinds["tally"] = _with(kinds["tally"], modules=("no_such_counter",))
    project.__dict__["registry"] = msgspec.structs.replace(project.registry, kinds=kinds)
    plan = {metric.name: metric for metric in project.graph.targets["t"].metrics}
    project.close()
    assert plan["macs"].node is None
    assert "needs the Python package no_such_counter (not installed)" in plan["macs"].reason


def _with(kind: Any, **stack: Any) -> Any:
    return msgspec.structs.replace(kind, load=None, stack=kind.stack.also(**stack))


def test_who_is_not_counted_says_so(tmp_path: Path) -> None:
    ctx = make_context(tmp_path / "out", subject=tmp_path, kind="mute")
    with pytest.raises(UserError, match="nothing counts the weights and operators of kind 'mute' here"):
        ctx.census("subject")


def test_macs_of_a_run_are_of_one_sample() -> None:
    ran = [("MatMul", "int8", 10), ("Conv", "float", 6), ("MatMul", "float", 4)]
    found = Macs.of_run(ran, batch=2, axes={"seq": 3}, uncounted={"DFT"})
    assert (found.value, found.by_operator) == (10, {"Conv": 3, "MatMul": 7})
    assert (found.by_type, found.axes, found.uncounted) == ({"int8": 5, "float": 5}, {"seq": 3}, ("DFT",))


def test_the_metrics_that_count_name_no_kind() -> None:
    counting = {m.name for m in compressbuild_metrics() if isinstance(m, ArtifactMetric | RunMetric) and m.census}
    assert counting == {*METRICS, "layers", "quantized-share"}
    import cbuild_metrics

    kinds = [name for name, kind in discover(cache=None).kinds.items() if kind.census]
    assert kinds == ["onnx", "tflite", "torch-model"]
    for path in Path(_home(cbuild_metrics)).rglob("*.py"):
        if path.parent.name != "robustness":  # an attack is of a torch model, with its gradients
            assert not any(f'"{kind}"' in path.read_text() for kind in kinds), path


def _home(module: ModuleType) -> str:
    return str(module.__path__[0])
