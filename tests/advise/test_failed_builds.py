"""What stopped the last build is named with its line and the change that helps; once it is changed there is silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command import Inline
from msgspec.structs import replace
from ridge import digits as samples
from ridge import write_onnx
from seen_targets import REGISTRY, SOUND, step

from compressbuild.advise import advise
from compressbuild.api import UserError
from compressbuild.api.advice import Failure, Seen
from compressbuild.plan import Failed, Failures

TEXT = """\
version: 1
models: {net: {file: model.onnx}}
datasets:
  data: {npz: data.npz, labels: label, split: {calibration: 0.5}}
  none: {npz: none.npz, labels: label}
platforms:
  cpu: {backend: onnxruntime, threads: 1}   # one core
evaluate: {data: data, metrics: [top1, size], baseline: fp32}
targets:
  fp32: {from: net, platform: cpu}
  int8:
    from: net
    steps:
      - quantize.static: {data: data.calibration}   # its ranges
    platform: cpu
"""


@pytest.fixture
def work(tmp_path: Path) -> Inline:
    made = Inline(tmp_path / "p")
    images, labels = samples()
    write_onnx(made.root / "model.onnx", images, labels)
    np.savez(made.root / "data.npz", image=images, label=labels)
    np.savez(made.root / "none.npz", image=images[:0], label=labels[:0])
    made.write("Compressfile", TEXT)
    return made


def said(work: Inline, *words: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(work("advise", *words, "--json").out)["advice"]
    return rows


def test_calibration_without_a_sample(work: Inline) -> None:
    work.edit("Compressfile", "{data: data.calibration}", "{data: none}")
    assert said(work) == [], "nothing is built, so nothing has failed"
    ran = work("int8", code=1)
    assert "error: 'none.npz' has no rows" in ran.text
    (row,) = said(work, "--apply")
    assert (row["check"], row["target"], row["where"]) == ("empty-calibration", "int8", "Compressfile:14:9")
    assert row["what"].endswith("'none' is empty; calibrate on 'data.calibration'")
    assert row["evidence"] == ["'none.npz' has no rows"]
    assert (work.root / "Compressfile").read_text() == TEXT
    assert said(work) == [], "it is another step now"
    work("all")
    assert work("advise").out == "nothing to advise on 2 targets\n"


def gelu(work: Inline) -> None:
    """An operator that opset 19 does not have."""
    model = onnx.load(work.root / "model.onnx")
    model.graph.node.append(onnx.helper.make_node("Gelu", ["logits"], ["soft"], "soft"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("soft", onnx.TensorProto.FLOAT, ["batch", 10]))
    model.opset_import[0].version = 20
    onnx.save(model, work.root / "model.onnx")


def test_a_runtime_older_than_the_opset(work: Inline) -> None:
    gelu(work)
    work.edit("Compressfile", "threads: 1}", 'threads: 1, runtime: ">=1.16"}')
    ran = work("fp32", code=1)
    assert "ONNX Runtime >=1.16 reads opset 19, which has no operator Gelu" in ran.text
    (row,) = said(work, "fp32", "--apply")
    assert (row["check"], row["where"], row["applied"]) == ("build-failed", "Compressfile:7:3", True)
    assert "has no operator Gelu" in row["what"]
    assert "'opset: 19'" in row["what"], "the next step of the error itself"
    assert 'cpu: {backend: onnxruntime, threads: 1, runtime: ">=1.17"}   # one core' in (
        (work.root / "Compressfile").read_text()
    )
    work("fp32")
    assert work("advise", "fp32").out == "nothing to advise on 1 target\n"


def test_a_runtime_older_than_its_own_operators(work: Inline) -> None:
    work.edit("Compressfile", "threads: 1}", 'threads: 1, runtime: ">=1.17"}')
    work.edit("Compressfile", "quantize.static: {data: data.calibration}", "quantize.weights: {bits: 8}")
    work("all", code=1)
    (row,) = said(work)
    assert (row["check"], row["target"]) == ("build-failed", "int8")
    assert "does not know MatMulNBits of 8 bits, which came with 1.23" in row["what"]
    assert '+  cpu: {backend: onnxruntime, threads: 1, runtime: ">=1.23"}' in row["patch"]
    work("advise", "--apply")
    work("all")
    assert said(work, "int8") == []


EXPORTED = """\
version: 1
models: {net: {factory: "nets:mlp", inputs: {x: {shape: [batch, 8]}}}}
platforms: {old: {backend: onnxruntime, threads: 1, runtime: ">=1.16"}}
targets:
  out: {from: net, steps: [export.onnx: {opset: 20}], platform: old}   # for old phones
"""


def test_the_export_is_changed_where_there_is_one(tmp_path: Path) -> None:
    """Then the devices can stay as they are."""
    work = Inline(tmp_path / "p")
    work.write(
        "nets.py", "from torch import nn\n\n\ndef mlp():\n    return nn.Sequential(nn.Linear(8, 8), nn.GELU())\n"
    )
    work.write("Compressfile", EXPORTED)
    work("out", code=1)
    (row,) = said(work, "--apply")
    assert (row["check"], row["where"]) == ("build-failed", "Compressfile:5:28")
    assert (work.root / "Compressfile").read_text() == EXPORTED.replace("opset: 20", "opset: 19")
    work("out")
    assert work("advise").out == "nothing to advise on 1 target\n"


def test_what_has_a_result_again_has_not_failed(work: Inline) -> None:
    """The same file, broken and whole again: its key is that of the success."""
    whole = (work.root / "model.onnx").read_bytes()
    work.write("model.onnx", b"no model")
    work("fp32", code=1)
    (row,) = said(work, "fp32")
    assert row["check"] == "build-failed"
    assert row["patch"] is None, "no line of the file is at fault"
    work.write("model.onnx", whole)
    assert said(work, "fp32") == []
    work("fp32")
    work.write("model.onnx", b"no model")
    assert [row["check"] for row in said(work, "fp32")] == ["build-failed"], "it would fail again"


def test_what_is_in_the_cache_has_not_failed(work: Inline) -> None:
    """Another checkout may have built what failed here."""
    from compressbuild.project import Project

    work("all")
    with work.world():
        project = Project(work.root / "Compressfile")
        kept = Failures(project.state)
        for action in project.plan(["fp32", "int8"]).actions.values():
            assert action.key is not None
            kept.record(action.key, Failed("it is broken"))
        kept.save()
        project.close()
    assert said(work) == []


def failing(seen: Seen, **fields: Any) -> list[Any]:
    failed = Failure(node=seen.steps[-1].node, role="technique", name="quantize.static", mark=seen.steps[-1].mark,
                     error="no", **fields)  # fmt: skip
    return [*advise([replace(seen, failed=failed)], REGISTRY.checks, REGISTRY.owner).advice]


def test_the_change_is_of_the_nearest_step_that_has_the_parameter() -> None:
    sound = replace(SOUND, steps=(step("export.onnx", 1, opset=20), *SOUND.steps[2:]))
    (found,) = failing(sound, change={"nonsense": "1", "opset": "19"})
    assert (found.edit.mark, found.edit.key, found.edit.text) == (sound.steps[0].mark, "opset", "19")
    (found,) = failing(sound, change={"samples": "9", "opset": "19"})
    assert (found.edit.mark, found.edit.key) == (sound.steps[1].mark, "samples")
    twice = replace(sound, steps=(step("quantize.weights", 2, samples=512), *sound.steps))
    (found,) = failing(twice, change={"samples": "9"})
    assert found.edit.mark == sound.steps[1].mark, "the nearest one"
    (found,) = failing(sound, change={"runtime": '">=1.17"'})
    assert found.edit is None, "that is the platform's, and it did not fail"


def test_a_step_that_follows_is_not_to_blame() -> None:
    later = replace(SOUND, steps=(SOUND.steps[-1], step("optimize.onnx", 7, opset=20)))
    failed = Failure(node=later.steps[0].node, role="technique", name="quantize.static", mark=later.steps[0].mark,
                     error="no", change={"opset": "19"})  # fmt: skip
    (found,) = advise([replace(later, failed=failed)], REGISTRY.checks, REGISTRY.owner).advice
    assert found.edit is None


def test_a_plugin_may_write_a_number() -> None:
    """A result with another type than text could not be read, and the error would be lost with it."""
    assert UserError("no", change={"opset": 19}).change == {"opset": "19"}  # type: ignore[dict-item]


def test_the_last_failures_are_kept(tmp_path: Path) -> None:
    made = Failures(tmp_path)
    for number in range(300):
        made.record(f"{number:064x}", Failed(str(number), change={"a": "b"}))
    made.forget(f"{299:064x}")
    assert made.save() is None
    again = Failures(tmp_path)
    assert again.get(f"{298:064x}") == Failed("298", change={"a": "b"})
    assert again.get(f"{299:064x}") is None
    assert again.get(f"{0:064x}") is None, "there is room for the last ones"
    (tmp_path / "failures").write_bytes(b"damaged")
    assert Failures(tmp_path).get(f"{298:064x}") is None
