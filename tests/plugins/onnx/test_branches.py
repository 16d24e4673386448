"""float16 inside of branches, and comparisons on inputs that show differences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbuild_onnx.convert.fp16 as fp16
import cbuild_onnx.graph.optimize as optimize
import numpy as np
import onnx
import onnxruntime
import pytest
import tied_models
from cbuild_onnx.convert.params import ConvertBf16, ConvertFp16
from cbuild_onnx.graph.params import OptimizeOnnx
from cbuild_onnx.model import files
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from compressbuild.api import UserError

CONVERT = "cbuild_onnx.convert.fp16:convert"


def branching(place: Path) -> Path:
    generator = np.random.default_rng(0)

    def branch(name: str, weight: str) -> GraphProto:
        nodes = [
            helper.make_node("MatMul", ["x", weight], [f"{name}_product"], f"{name}_multiply"),
            helper.make_node("Softmax", [f"{name}_product"], [name], f"{name}_softmax"),
        ]
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])

    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["x"], ["sum"], "sum", keepdims=0),
            helper.make_node("Greater", ["sum", "zero"], ["positive"], "compare"),
            helper.make_node(
                "If", ["positive"], ["chosen"], "if", then_branch=branch("yes", "a"), else_branch=branch("no", "b")
            ),
            helper.make_node("MatMul", ["chosen", "c"], ["y"], "out"),
        ],
        "branching",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])],
        [numpy_helper.from_array(generator.standard_normal((8, 8)).astype(np.float32), name) for name in "abc"]
        + [numpy_helper.from_array(np.float32(0), "zero")],
    )
    place.mkdir()
    files.write(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), place)
    return place


@pytest.mark.parametrize(
    "params",
    [
        ConvertFp16(block_ops=("Softmax",)),
        ConvertFp16(block_ops=("MatMul",)),
        ConvertFp16(block_nodes=("yes_multiply",)),
        ConvertFp16(block_ops=("MatMul",), keep_io_types=False),
    ],
)
def test_blocked_operators_inside_a_branch(technique: Callable[..., Any], tmp_path: Path, params: ConvertFp16) -> None:
    subject = branching(tmp_path / "branching")
    made = technique(CONVERT, subject, params).out
    files.validate(made)
    weights = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(subject / "model.onnx").graph.initializer
    }
    session = onnxruntime.InferenceSession(str(made / "model.onnx"), providers=["CPUExecutionProvider"])
    for sign in (1, -1):
        x = sign * np.abs(np.random.default_rng(1).standard_normal((3, 8)))
        product = np.exp(x @ weights["a" if sign > 0 else "b"])
        wanted = product / product.sum(-1, keepdims=True) @ weights["c"]
        found = session.run(None, {"x": x.astype(np.float32 if params.keep_io_types else np.float16)})[0]
        np.testing.assert_allclose(found, wanted, atol=0.01)


def test_bfloat16_names_what_reaches_into_branches(technique: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not convert models with If, Loop or Scan"):
        technique("cbuild_onnx.convert.bf16:convert", branching(tmp_path / "branching"), ConvertBf16())


def forgetful(made: ModelProto) -> ModelProto:
    """Right for ids 0 and 1 alone."""
    table = next(tensor for tensor in made.graph.initializer if tensor.name == "embedding")
    rows = numpy_helper.to_array(table).copy()
    rows[2:] = rows[1]
    table.CopyFrom(numpy_helper.from_array(rows, "embedding"))
    return made


def short(made: ModelProto) -> ModelProto:
    """Right up to sixteen tokens alone."""
    for number, value in enumerate(([0], [16], [1])):
        made.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), f"bound_{number}"))
    gather = next(node for node in made.graph.node if node.op_type == "Gather")
    gather.output[0] = "all"
    bounds = [f"bound_{number}" for number in range(3)]
    made.graph.node.append(helper.make_node("Slice", ["all", *bounds], ["embedded"], "cut"))
    files.sort(made)
    return made


@pytest.mark.parametrize(("fault", "said"), [(forgetful, "differs from its source"), (short, "the shape")])
def test_what_only_other_ids_or_sizes_show_is_refused(
    technique: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any, said: str
) -> None:
    subject = tied_models.tied(tmp_path / "tied", "transpose")
    assert technique(CONVERT, subject, ConvertFp16()).facts["max_difference"] > 0
    converted, optimised = fp16._converted, optimize.offline
    monkeypatch.setattr(fp16, "_converted", lambda *given: fault(converted(*given)))
    monkeypatch.setattr(optimize, "offline", lambda *given: fault(optimised(*given)))
    with pytest.raises(UserError, match=said):
        technique(CONVERT, subject, ConvertFp16())
    with pytest.raises(UserError, match=said):
        technique("cbuild_onnx.graph.optimize:optimize", subject, OptimizeOnnx(method="basic"))
