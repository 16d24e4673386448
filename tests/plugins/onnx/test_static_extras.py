"""quantize.static with 16-bit activations, and smoothed."""

from __future__ import annotations

import digits
import numpy as np
import pytest
from cbuild_onnx.model import files
from cbuild_onnx.quantize.params import QuantizeStatic
from onnx import TensorProto, helper, numpy_helper

from compressbuild.api import UserError

STATIC = "cbuild_onnx.quantize.static:quantize"


def error(one, other) -> float:
    feeds = {"image": digits.held_out()[0]["image"]}
    wanted, found = (next(iter(digits.outputs(each, feeds).values())) for each in (one, other))
    return float(np.abs(found - wanted).mean() / np.abs(wanted).mean())


@pytest.mark.parametrize("kind", ["uint16", "int16"])
def test_sixteen_bits_are_closer_than_eight(technique, exported, kind):
    def made(activations: str):
        return technique(
            STATIC, exported, QuantizeStatic(data="calibration", scheme="u8-affine", activations=activations)
        )

    assert error(exported, made(kind).out) < 0.7 * error(exported, made("auto").out)


def test_sixteen_bits_do_not_fit_the_symmetric_scheme(technique, exported):
    with pytest.raises(UserError, match="s8-symmetric has int8 activations, not int16"):
        technique(STATIC, exported, QuantizeStatic(data="calibration", scheme="s8-symmetric", activations="int16"))


@pytest.fixture(params=["alone", "with a residual"])
def outliers(request, tmp_path):
    """A normalisation that scales a few channels up, before weights that scale them down: equal outputs, but a range
    of activations that 8 bits do not cover."""
    generator = np.random.default_rng(0)
    scale = np.ones(64, np.float32)
    scale[[3, 30, 41]] = 300
    weight = (generator.standard_normal((64, 64)) / scale[:, None]).astype(np.float32)
    nodes = [
        helper.make_node("Reshape", ["image", "shape"], ["flat"], "flatten"),
        helper.make_node("LayerNormalization", ["flat", "scale", "bias"], ["normal"], "norm"),
        helper.make_node("MatMul", ["normal", "weight"], ["logits"], "product"),
    ]
    if request.param != "alone":
        nodes[-1].output[0] = "made"
        nodes.append(helper.make_node("Concat", ["made", "normal"], ["both"], "join", axis=1))
        nodes.append(helper.make_node("Slice", ["both", "zero", "width", "one"], ["logits"], "cut"))
    tensors = {"shape": [0, 64], "zero": [0], "width": [64], "one": [1]}
    constants = {name: np.array(value, np.int64) for name, value in tensors.items()}
    constants |= {"scale": scale, "bias": np.zeros(64, np.float32), "weight": weight}
    graph = helper.make_graph(
        nodes,
        "outliers",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 64])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    (tmp_path / "outliers").mkdir()
    files.write(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "outliers"
    )
    return tmp_path / "outliers"


def test_smoothing_takes_the_harm_out_of_outliers(technique, outliers):
    params = {"data": "calibration", "scheme": "u8-affine", "op_types": ("MatMul",)}
    with pytest.raises(UserError, match="damaged the model") as plain:
        technique(STATIC, outliers, QuantizeStatic(**params))
    assert "outlier" in plain.value.hint
    assert "'smooth:'" in plain.value.hint
    smoothed = technique(STATIC, outliers, QuantizeStatic(**params, smooth=0.5))
    assert smoothed.facts["smoothed"] == 1
    assert smoothed.facts["sqnr_db"]["logits"] > 15


def test_a_smoothed_transformer_is_as_accurate(technique, exported_sequence):
    subject = exported_sequence("transformer")
    node = technique(STATIC, subject, QuantizeStatic(data="calibration", scheme="u8-affine", smooth=0.5))
    assert node.facts["smoothed"] == 3  # the last normalisation is averaged before it meets a product
    assert digits.accuracy(node.out) > digits.accuracy(subject) - 0.03


def test_a_model_without_normalisation_is_not_smoothed(technique, exported):
    with pytest.raises(UserError, match="nothing to smooth") as error:
        technique(STATIC, exported, QuantizeStatic(data="calibration", scheme="u8-affine", smooth=0.5))
    assert "transformers" in (error.value.hint or "")


@pytest.fixture
def in_pixels(tmp_path):
    """Coordinates of 0 to 1, scaled and moved by numbers without axes."""
    weight = np.random.default_rng(0).standard_normal((4, 1, 3, 3)).astype(np.float32)
    numbers = [numpy_helper.from_array(np.float32(value), name) for name, value in (("size", 640), ("corner", -32))]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "weight"], ["made"], "product"),
            helper.make_node("Sigmoid", ["made"], ["share"], "share"),
            helper.make_node("Mul", ["share", "size"], ["scaled"], "size"),
            helper.make_node("Add", ["scaled", "corner"], ["boxes"], "corner"),
        ],
        "boxes",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["batch", 4, 6, 6])],
        [numpy_helper.from_array(weight, "weight"), *numbers],
    )
    return files.write(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path)


def test_a_number_without_axes_stays_in_float_for_tensorrt(technique, in_pixels, model_of):
    """TensorRT: "Quantized constant … is only allowed before DQ", though a DequantizeLinear follows it."""

    def made(scheme: str):
        return technique(STATIC, in_pixels.parent, QuantizeStatic(data="calibration", scheme=scheme))

    symmetric = made("s8-symmetric")
    constants = {tensor.name: tensor for tensor in model_of(symmetric.out).graph.initializer}
    operations = [node for node in model_of(symmetric.out).graph.node if node.op_type in ("Mul", "Add")]
    found = [numpy_helper.to_array(constants[name]) for node in operations for name in node.input if name in constants]
    assert found == [pytest.approx(640, rel=1e-6), pytest.approx(-32, rel=1e-6)]
    assert any(tensor.dims and tensor.data_type == TensorProto.INT8 for tensor in constants.values())  # the weights
    assert symmetric.facts["sqnr_db"]["boxes"] > 25
    affine = [node for node in model_of(made("u8-affine").out).graph.node if node.op_type in ("Mul", "Add")]
    assert all(name.endswith("DequantizeLinear_Output") for node in affine for name in node.input)
