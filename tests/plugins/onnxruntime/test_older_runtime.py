"""Models for an ONNX Runtime that is older than the one here: rewritten, or refused by what it does not know."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnx_models as models
import pytest
from cbuild_onnx.model.normal import opset_of
from cbuild_onnxruntime import older
from cbuild_onnxruntime.settings import OnnxRuntimeSettings
from onnx import TensorProto, helper

from compressbuild.api import UserError
from compressbuild.api.testing import NodeRun, run_node


def compiled(model: onnx.ModelProto, place: Path, runtime: str) -> NodeRun:
    return run_node(
        "cbuild_onnxruntime.compile:compile", models.save(model, place / "in"), OnnxRuntimeSettings(runtime=runtime),
        place / "out",
    )  # fmt: skip


def newest() -> onnx.ModelProto:
    """In the opset of ONNX Runtime 1.24."""
    made = onnx.version_converter.convert_version(models.cnn(), 25)
    made.ir_version = 13
    return made


def of_node(kind: str, opset: int, **attributes: object) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"], **attributes)], "g", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


@pytest.mark.parametrize(("runtime", "opset", "version"), [(">=1.17", 20, 9), (">= 1.15.1", 19, 9), (">=1.99", 25, 13)])
def test_it_is_written_in_what_the_older_one_reads(tmp_path: Path, runtime: str, opset: int, version: int) -> None:
    node = compiled(newest(), tmp_path, runtime)
    made = onnx.load(node.out / "model.onnx")
    onnx.checker.check_model(made)
    assert (opset_of(made), made.ir_version) == (opset, version)
    assert node.facts["saved_level"] is None, "nothing is fused that an older one may not know"
    assert node.facts["max_abs"] < 1e-4, "it computes what its source does"


def test_what_it_reads_already_is_published_as_it_came(tmp_path: Path) -> None:
    node = compiled(models.cnn(), tmp_path, ">=1.17")
    assert (node.out / "model.onnx").read_bytes() == (tmp_path / "in/model.onnx").read_bytes()


def test_an_operator_that_it_does_not_know_is_named(tmp_path: Path) -> None:
    compiled(of_node("Gelu", 20), tmp_path / "known", ">=1.17")
    with pytest.raises(UserError, match=r"ONNX Runtime >=1\.16 reads opset 19, which has no operator Gelu") as caught:
        compiled(of_node("Gelu", 20), tmp_path / "unknown", ">=1.16")
    assert "'opset: 19'" in str(caught.value.hint)


def test_a_type_that_it_does_not_know_is_named(tmp_path: Path) -> None:
    scale, weight = np.float32([0.1]), helper.make_tensor("w", TensorProto.INT4, [4], bytes([0x21, 0x43]), raw=True)
    model = of_node("Relu", 21)
    model.graph.initializer.extend([weight, onnx.numpy_helper.from_array(scale[0], "s")])
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["w", "s"], ["z"]))
    model.graph.node[1].op_type = "Add"
    model.graph.node[1].input.append("z")
    compiled(model, tmp_path / "known", ">=1.18")
    with pytest.raises(UserError, match=r"numbers of type INT4, which ONNX Runtime >=1\.17 cannot read"):
        compiled(model, tmp_path / "unknown", ">=1.17")


def test_every_pair_is_one_of_a_release_of_onnx() -> None:
    released = {(opset, version) for _, version, opset, *_ in helper.VERSION_TABLE}
    assert set(older._READS.values()) <= released
    assert sorted(older._READS.values()) == list(older._READS.values()), "newer ones read no less"


@pytest.mark.parametrize("wrong", ["1.17", ">1.17", ">=2.0", "==1.17", ">=1.x"])
def test_another_form_is_refused(wrong: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"runtime": wrong}, OnnxRuntimeSettings)


def test_one_that_is_too_old_is_refused() -> None:
    with pytest.raises(UserError, match=r"1\.15 is the oldest"):
        older.reads(">=1.2")
