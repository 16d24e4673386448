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
