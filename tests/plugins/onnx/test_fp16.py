from __future__ import annotations

import digits
import numpy as np
import onnx
import pytest
from cbuild_onnx.convert.params import ConvertFp16
from cbuild_onnx.model import files
from cbuild_onnx.quantize.params import QuantizeStatic
from onnx import TensorProto, helper, numpy_helper

from compressbuild.api import UserError

CONVERT = "cbuild_onnx.convert.fp16:convert"


def weight_types(model: onnx.ModelProto) -> set[int]:
    return {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}


def test_it_is_half_the_size_and_agrees(technique, exported, model_of):
    node = technique(CONVERT, exported, ConvertFp16(data="test"))
    assert node.facts["bytes"] == (node.out / "model.onnx").stat().st_size
    assert node.facts["bytes"] < 0.55 * (exported / "model.onnx").stat().st_size
    assert weight_types(model_of(node.out)) == {TensorProto.FLOAT16}
    assert digits.accuracy(node.out) == pytest.approx(digits.accuracy(exported), abs=0.005)
    assert 0 < node.facts["max_difference"] < 0.1
    files.validate(node.out)


@pytest.mark.parametrize("keep", [True, False])
def test_inputs_and_outputs_stay_float32_if_asked(technique, exported, keep):
    out = technique(CONVERT, exported, ConvertFp16(keep_io_types=keep)).out
    wanted = np.float32 if keep else np.float16
    feeds = {"image": np.ones((2, 1, 8, 8), wanted)}
    assert digits.outputs(out, feeds)["output"].dtype == wanted


def test_blocked_operators_stay_float32(technique, exported, model_of):
    out = technique(CONVERT, exported, ConvertFp16(block_ops=("Conv",))).out
    assert weight_types(model_of(out)) == {TensorProto.FLOAT}
    first = next(node.name for node in model_of(exported).graph.node if node.op_type == "Conv")
    out = technique(CONVERT, exported, ConvertFp16(block_nodes=(first,))).out
    assert weight_types(model_of(out)) == {TensorProto.FLOAT, TensorProto.FLOAT16}
    with pytest.raises(UserError, match="'block-ops: LSTM' matches no node"):
        technique(CONVERT, exported, ConvertFp16(block_ops=("LSTM",)))


def test_a_model_that_overflows_is_refused_and_blocking_mends_it(technique, mlp, tmp_path):
    model = onnx.load(mlp / "model.onnx")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "one")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1e5), "one"))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1e-5), "tiny"))
    model.graph.node.append(helper.make_node("Mul", ["flat", "tiny"], ["small"], "shrink"))
    next(node for node in model.graph.node if node.name == "first").input[0] = "small"
    (tmp_path / "wide").mkdir()
    files.write(model, tmp_path / "wide")
    with pytest.raises(UserError, match="the float16 model differs from its source") as error:
        technique(CONVERT, tmp_path / "wide", ConvertFp16())
    assert "block-nodes" in (error.value.hint or "")
    node = technique(CONVERT, tmp_path / "wide", ConvertFp16(block_nodes=("first",)))
    assert node.facts["max_difference"] < 1


def test_a_quantized_model_is_refused(technique, exported):
    params = QuantizeStatic(data="calibration", scheme="u8-affine")
    done = technique("cbuild_onnx.quantize.static:quantize", exported, params).out
    with pytest.raises(UserError, match="the model is quantized"):
        technique(CONVERT, done, ConvertFp16())


def test_a_gru_whose_state_goes_in_and_out(technique, tmp_path):
    """ONNX Runtime's optimiser crashes on its float16 file, which is for other runtimes."""
    generator = np.random.default_rng(0)
    weights = {"w": (1, 24, 4), "r": (1, 24, 8), "b": (1, 48)}
    graph = helper.make_graph(
        [helper.make_node("GRU", ["x", "w", "r", "b", "", "state"], ["y", "next"], "cells", hidden_size=8)],
        "step",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["time", "batch", 4]),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, "batch", 8]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["time", 1, "batch", 8]),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1, "batch", 8]),
        ],
        [
            numpy_helper.from_array(generator.standard_normal(shape).astype(np.float32) * 0.3, name)
            for name, shape in weights.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    (tmp_path / "step").mkdir()
    files.write(model, tmp_path / "step")
    node = technique(CONVERT, tmp_path / "step", ConvertFp16())
    assert 0 < node.facts["max_difference"] < 0.01
