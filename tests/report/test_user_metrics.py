"""Several metrics of the project's own, from the Compressfile to every table, plot and verdict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_models as models
import pytest
from command import Inline
from onnx import TensorProto, helper, numpy_helper

TEXT = """\
version: 1
models: {{good: {{file: good/model.onnx}}, poor: {{file: poor/model.onnx}}}}
datasets: {{test: {{loader: "own:test"}}}}
platforms: {{cpu: {{backend: onnxruntime}}}}
evaluate:
  data: test
  metrics: [{metrics}, {{latency: {{seconds: 0.05, warmup: 1}}}}, size]
  baseline: full
targets:
  full: {{from: good, platform: cpu}}
  small: {{from: poor, platform: cpu, gates: {{{gates}}}}}
"""
CODE = """\
import numpy as np
def test():
    rng = np.random.default_rng(0)
    yield {"x": rng.standard_normal((64, 4)).astype(np.float32)}, rng.integers(0, 3, 64)
def off(outputs, labels):
    return float(np.abs(outputs["y"]).mean())
def spread(outputs, labels, power=1):
    return {"value": float(outputs["y"].std() ** power)}
def broken(outputs, labels, value="nan"):
    return {"value": float(value)}
def empty(outputs, labels):
    return {}
"""
STARS = "{user: {name: stars, direction: higher, unit: '*', function: 'own:spread'}}"
ERROR = "{user: {name: mean-error, direction: lower, unit: dB, function: 'own:off', args: {}}}"
AIMLESS = "{user: {function: 'own:off'}}"


def linear(scale: float) -> onnx.ModelProto:
    weight = np.eye(4, 3, dtype=np.float32) * np.float32(scale)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "product")
    tensors = [numpy_helper.from_array(weight, "w")]
    shapes = {"x": (TensorProto.FLOAT, ["batch", 4])}, {"y": (TensorProto.FLOAT, ["batch", 3])}
    return models.model([node], *shapes, tensors)


def project(root: Path, metrics: str, gates: str = "") -> Inline:
    made = Inline(root)
    models.save(linear(1.0), root / "good")
    models.save(linear(0.5), root / "poor")
    made.write("own.py", CODE)
    made.write("Compressfile", TEXT.format(metrics=metrics, gates=gates))
    return made


@pytest.fixture
def work(tmp_path: Path) -> Inline:
    made = project(tmp_path / "p", f"{STARS}, {ERROR}", "stars: {max-drop: 0.9, against: full}")
    assert made("all").code == 0
    return made


def test_the_tables_have_every_name_unit_and_value(work: Inline) -> None:
    built = work("all", "--remeasure").out
    markdown = work("report", "--format", "md").out
    shown = work("show", "small").out
    for name in ("stars", "mean-error"):
        assert name in built
        assert f"| {name} |" in next(line for line in markdown.splitlines() if line.startswith("| target"))
        assert name in shown
    assert " dB" in markdown
    assert " dB" in shown
    document = json.loads(work("report", "--format", "json").out)
    assert {
        name: (m["direction"], m["unit"], m["role"]) for name, m in document["metrics"].items() if m["unit"] in "*dB"
    } == {
        "stars": ("higher", "*", "quality"),
        "mean-error": ("lower", "dB", "quality"),
        "size": ("lower", "B", "cost"),
    }


def test_they_are_the_axis_of_the_plot_and_the_verdict(work: Inline) -> None:
    document = json.loads(work("report", "--format", "json").out)
    assert (document["quality"], document["speed"]) == ("stars", "latency")
    (choice,) = document["choices"]
    assert "stars" in " ".join(choice["reasons"])
    assert "Ship **" in work("report", "--format", "md").out
    work("report", "-o", "r.html")
    page = (work.root / "r.html").read_text()
    data = json.loads(page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0])
    assert (data["quality"], list(data["metrics"])[:2]) == ("stars", ["stars", "mean-error"])


def test_how_an_artifact_is_used_stands_beside_its_metrics(work: Inline) -> None:
    """Inputs and outputs as it was run, and lines that do run it."""
    document = json.loads(work("report", "--format", "json").out)
    (small,) = [target for target in document["targets"] if target["name"] == "small"]
    assert small["interface"] == {
        "seen": True,
        "inputs": [{"name": "x", "shape": ["batch", 4], "dtype": "float32"}],
        "outputs": [{"name": "y", "shape": ["batch", 3], "dtype": "float32"}],
    }
    names = {"directory": str(work.root / "build" / "small"), "inputs": {"x": np.ones((2, 4), np.float32)}}
    exec(small["loading"], names)
    np.testing.assert_allclose(names["outputs"][0], np.full((2, 3), 0.5))


def test_compare_and_history_have_them(work: Inline) -> None:
    found = {row["metric"]: row for row in json.loads(work("compare", "full", "small", "--json").out)["rows"]}
    assert (found["stars"]["better"], found["mean-error"]["better"]) == (False, True)
    text = work("compare", "full", "small").out
    assert {"stars", "mean-error"} <= {line.split()[0] for line in text.splitlines() if line}
    assert {"stars", "mean-error"} <= set(work("history", "small").out.split())


def test_another_metric_that_falls_without_a_gate_is_said_beside_the_choice(tmp_path: Path) -> None:
    """By ``mean-error`` the poor model is the better one, and nothing limits ``stars``."""
    made = project(tmp_path / "p", f"{{user: {{name: first, direction: lower, function: 'own:off'}}}}, {STARS}")
    assert made("all").code == 0
    (choice,) = json.loads(made("report", "--format", "json").out)["choices"]
    assert choice["name"] == "small"
    assert any(said.startswith("stars is ") and said.endswith("no gate limits it") for said in choice["remarks"])


def test_without_a_direction_there_is_no_verdict_and_the_reason_is_said(tmp_path: Path) -> None:
    made = project(tmp_path / "p", AIMLESS)
    assert made("all").code == 0
    lines = made("report", "--format", "md").out
    assert "No artifact to ship: 'user' does not say which way is better: give it a 'direction:'" in lines
    assert "| target | platform | user |" in lines
    made("report", "-o", "r.html")
    assert "does not say which way is better" in (made.root / "r.html").read_text()


@pytest.mark.parametrize(
    ("function", "args"), [("broken", "{value: nan}"), ("broken", "{value: inf}"), ("empty", "{}")]
)
def test_no_number_fails_its_node(function: str, args: str, tmp_path: Path) -> None:
    metric = f"{{user: {{name: bad, direction: higher, function: 'own:{function}', args: {args}}}}}"
    made = project(tmp_path / "p", metric)
    ran = made("full", code=1)
    assert "bad" in ran.text
    assert not (made.root / "build/full").exists()
    assert "Traceback" not in ran.text
