"""The layer that loses the accuracy is measured on demand, named, and kept in float; then the accuracy is back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command import Inline
from msgspec.structs import replace
from seen_targets import INT8, REGISTRY, SOUND, step, with_params

from compressbuild.advise import advise
from compressbuild.api.advice import Advice, Seen

PLANTED = """\
version: 1
models: {net: {file: model.onnx}}
datasets:
  data: {npz: data.npz, labels: label, split: {calibration: 0.5}}
platforms:
  cpu: {backend: onnxruntime, threads: 1}
evaluate: {data: data, metrics: [top1, edge-cases], baseline: fp32}
targets:
  fp32: {from: net, platform: cpu}
  int8:
    from: net
    steps: [quantize.static: {data: data.calibration, per-channel: false, reduce-range: true}]   # one scale a weight
    platform: cpu
    gates: {top1: {max-drop: 0.005, against: fp32}}
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Inline:
    import numpy as np
    from planted import write_planted
    from ridge import digits as samples

    made = Inline(tmp_path_factory.mktemp("planted") / "p")
    images, labels = samples()
    write_planted(made.root / "model.onnx", images, labels, 14.0)
    np.savez(made.root / "data.npz", image=images, label=labels)
    made.write("Compressfile", PLANTED)
    assert made("all", code=None).code != 0, "the gate is missed"
    return made


def test_it_is_named_and_kept_in_float(planted: Inline, tmp_path: Path) -> None:
    work = planted.copy(tmp_path / "copy")
    (row,) = json.loads(work("advise", "--json").out)["advice"]
    assert row["check"] == "which-step", "no layer is measured yet"
    assert "'cbuild advise --measure int8' finds the layer" in row["what"]
    (row,) = json.loads(work("advise", "--measure", "--json").out)["advice"]
    assert (row["check"], row["target"]) == ("which-layer", "int8")
    assert "loses most of the accuracy in 'fc1': keep it in float" in row["what"]
    assert row["evidence"][0].startswith("fc1 (Gemm+Relu): ")
    assert 'per-channel: false, reduce-range: true, exclude: ["fc1"]}]   # one scale a weight' in row["patch"]
    assert json.loads(work("advise", "--json").out)["advice"] == [row], "what was measured stays known"
    (target,) = [t for t in json.loads(work("report", "--format", "json").out)["targets"] if t["name"] == "int8"]
    assert max(target["errors"], key=lambda r: r["lost"])["node"] == "fc1"
    work("advise", "--measure", "--apply")
    work("all")
    assert work("advise", "--measure").out == "nothing to advise on 2 targets\n"


def test_as_a_metric_it_can_be_gated(planted: Inline, tmp_path: Path) -> None:
    work = planted.copy(tmp_path / "copy")
    work.edit("Compressfile", "metrics: [top1,", "metrics: [top1, layer-error: {samples: 20},")
    work.edit("Compressfile", "{max-drop: 0.005, against: fp32}", "{max-drop: 0.5, against: fp32}")
    work("all")
    said = json.loads((work.root / "build" / "int8" / "metrics.json").read_text())["metrics"]["layer-error"]
    assert said["value"] == min(row["own"] for row in said["per_layer"].values())
    assert said["samples"] == 20
    base = json.loads((work.root / "build" / "fp32" / "metrics.json").read_text())
    assert "no step changed the onnx of 'fp32'" in base["unmeasured"]["layer-error"]
    work.edit("Compressfile", "gates: {", "gates: {layer-error: {min: 25}, ")
    assert "layer-error" in work("int8", code=None).text


def test_what_cannot_be_measured_says_why(planted: Inline, tmp_path: Path) -> None:
    work = planted.copy(tmp_path / "copy")
    (work.root / "loaders.py").write_text(
        "import numpy as np\n\ndef rows():\n    found = np.load('data.npz')\n    yield found['image'], found['label']\n"
    )
    work("all", code=None)
    (work.root / "data.npz").unlink()
    ran = work("advise", "--measure", code=None)
    assert ran.code != 0
    assert "data.npz" in ran.text
    assert "Traceback" not in ran.text


ROW = {"op": "Gemm", "own": 3.0, "sqnr": 2.5, "rounding": 0.0}


def lost(step_: Any = INT8, **layers: dict[str, Any]) -> Seen:
    rows = {name: {"node": name, **ROW, **row} for name, row in layers.items()}
    return replace(SOUND, steps=(step_,), value=0.5, details={"layer-error": {"per_layer": rows}})


def only(seen: Seen) -> Advice:
    (found,) = advise([seen], REGISTRY.checks, REGISTRY.owner).advice
    return found


def test_the_patch_keeps_what_is_excluded_and_takes_no_name_for_a_glob() -> None:
    seen = lost(
        with_params(INT8, exclude=("head*",)), **{"a[0]": {"lost": 0.9, "share": 0.7}, "b": {"lost": 0.3, "share": 0.3}}
    )
    found = only(seen)
    assert found.edit is not None
    assert (found.edit.key, found.edit.text) == ("exclude", '["head*", "a[[]0]"]')
    assert (
        found.evidence[0]
        == "a[0] (Gemm): 90% of its channels' signal lost, 70% of what all lose; 3.0 dB of its own, 2.5 dB in all"
    )


def test_several_layers_are_kept_together_and_many_are_not() -> None:
    two = only(lost(with_params(INT8, exclude=()), a={"lost": 0.5, "share": 0.4}, b={"lost": 0.4, "share": 0.3}))
    assert "'a' and 'b': keep them in float" in two.what
    assert two.edit is not None
    many = {f"l{number}": {"lost": 0.1, "share": 0.1} for number in range(10)}
    found = only(lost(**many))
    assert found.edit is None
    assert "no layer of quantize.static stands out" in found.what
    assert "quantize.mixed" in found.what


def test_an_output_that_8_bits_cannot_hold_is_another_case() -> None:
    """To keep the layer in float would leave its output in 8 bits for those that read it."""
    row = {"lost": 0.9, "share": 1.0, "rounding": 0.8}
    found = only(lost(with_params(INT8, exclude=(), method="minmax"), a=row))
    assert found.edit is not None
    assert (found.edit.key, found.edit.text) == ("method", "percentile")
    assert only(lost(with_params(INT8, exclude=(), method="percentile"), a=row)).edit is None


def test_it_is_silent_where_no_layer_lost_anything_or_nothing_is_lost() -> None:
    row = {"lost": 0.9, "share": 1.0}
    assert advise([replace(lost(a=row), value=SOUND.value)], REGISTRY.checks, REGISTRY.owner).advice == ()
    assert advise([lost(a={**row, "lost": 0.001})], REGISTRY.checks, REGISTRY.owner).advice == ()
    floats = step("prune.channels", 1, ratio=0.1)
    assert advise([replace(lost(floats, a=row), steps=(floats,))], REGISTRY.checks, REGISTRY.owner).advice == ()
