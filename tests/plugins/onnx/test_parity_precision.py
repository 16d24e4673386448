"""How coarse a model is judged to be: by its operators, whichever makes them."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from cbuild_onnx.model.parity import precision
from cbuild_onnx.model.precision import INTEGER
from onnx import TensorProto, helper


def written(path: Path, operator: str, kind: int = TensorProto.FLOAT) -> Path:
    """A file with one operator, which need not run."""
    node = helper.make_node(operator, ["x"], ["y"], domain="com.microsoft" if operator in INTEGER else "")
    ends = [helper.make_tensor_value_info(name, kind, [1]) for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:])), path)
    return path


@pytest.mark.parametrize("operator", [*sorted(INTEGER), "DynamicQuantizeLinear", "MatMulNBits", "QLinearAdd"])
def test_an_operator_of_integers_is_judged_as_int8(operator: str, tmp_path: Path) -> None:
    """A recurrent layer that quantizes while it runs is one operator, with no other around it."""
    assert precision(written(tmp_path / "m.onnx", operator)) == "int8"


def test_floats_are_judged_by_their_type(tmp_path: Path) -> None:
    kinds = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}
    for kind, name in kinds.items():
        assert precision(written(tmp_path / f"{name}.onnx", "Relu", kind)) == name
