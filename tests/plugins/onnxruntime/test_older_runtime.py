"""Models for an ONNX Runtime that is older than the one here: rewritten, or refused by what it does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx_models as models
import pytest
from cbuild_onnx.model.normal import opset_of
from cbuild_onnx.quantize.params import QuantizeWeights
from cbuild_onnxruntime import older
from cbuild_onnxruntime.settings import OnnxRuntimeSettings
from lookup_models import encoder
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
    assert caught.value.change == {"opset": "19", "runtime": '">=1.17"'}


def test_a_type_that_it_does_not_know_is_named(tmp_path: Path) -> None:
    scale, weight = np.float32([0.1]), helper.make_tensor("w", TensorProto.INT4, [4], bytes([0x21, 0x43]), raw=True)
    model = of_node("Relu", 21)
    model.graph.initializer.extend([weight, onnx.numpy_helper.from_array(scale[0], "s")])
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["w", "s"], ["z"]))
    model.graph.node[1].op_type = "Add"
    model.graph.node[1].input.append("z")
    compiled(model, tmp_path / "known", ">=1.19")
    for older_one in (">=1.17", ">=1.18"):  # the latter reads the file, and has no kernel for them
        with pytest.raises(UserError, match=r"does not know numbers of type INT4, which came with 1\.19") as caught:
            compiled(model, tmp_path / older_one, older_one)
        assert caught.value.change == {"runtime": '">=1.19"'}
    model.graph.initializer.append(helper.make_tensor("f", TensorProto.FLOAT4E2M1, [2], bytes([0x21]), raw=True))
    model.ir_version = 11
    with pytest.raises(
        UserError, match=r"numbers of type FLOAT4E2M1, which ONNX Runtime >=1\.19 cannot read"
    ) as caught:
        compiled(model, tmp_path / "float4", ">=1.19")
    assert caught.value.change == {"runtime": '">=1.23"'}


def test_a_file_that_is_newer_than_the_runtime_here_can_be_written_for_it(tmp_path: Path) -> None:
    import onnxruntime

    model = of_node("Relu", 19)
    model.ir_version = 99
    with pytest.raises(UserError, match="Unsupported model IR version") as caught:
        run_node("cbuild_onnxruntime.compile:compile", models.save(model, tmp_path / "in"), OnnxRuntimeSettings(),
                 tmp_path / "out")  # fmt: skip
    here = int(onnxruntime.__version__.split(".")[1])
    assert caught.value.change == {"runtime": f'">=1.{here}"'}
    compiled(model, tmp_path / "written", f">=1.{here}")


@pytest.mark.parametrize(
    ("op", "bits", "params", "since", "what"),
    [
        ("MatMul", 4, {}, 16, "MatMulNBits"),
        ("MatMul", 4, {"method": "hqq"}, 18, "fractional zero points of MatMulNBits"),
        ("MatMul", 8, {}, 23, "MatMulNBits of 8 bits"),
        ("Gather", 4, {}, 23, "GatherBlockQuantized"),
        ("Gather", 8, {}, 23, "GatherBlockQuantized"),
        ("MatMul", 8, {"format": "qdq"}, 19, "DequantizeLinear in blocks"),
    ],
)
def test_what_no_opset_says_and_came_later_is_named(
    tmp_path: Path, op: Any, bits: Any, params: Any, since: int, what: str
) -> None:
    """The versions: those whose wheels run these very models."""
    asked = QuantizeWeights(bits=bits, op_types=(op,), **params)
    subject = encoder(tmp_path / "encoder")
    if not params.get("format"):
        source = onnx.version_converter.convert_version(onnx.load(subject / "model.onnx"), 19)
        source.ir_version = 9
        onnx.save(source, subject / "model.onnx")
    made = run_node("cbuild_onnx.quantize.weights:quantize", subject, asked, tmp_path / "made")
    model = onnx.load(made.out / "model.onnx")
    compiled(model, tmp_path / "known", f">=1.{since}")
    with pytest.raises(UserError, match=f"does not know {what}, which came with 1.{since}") as caught:
        compiled(model, tmp_path / "unknown", f">=1.{since - 1}")
    assert caught.value.change == {"runtime": f'">=1.{since}"'}


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
