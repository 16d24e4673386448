"""What a model that reads its own batch computes in 8 bits, and what its IR holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as models
import pytest
from cbuild_onnx.model.exact import reference
from cbuild_openvino.artifact import read
from cbuild_openvino.ranks import settle_ranks
from cbuild_openvino.runner import load
from cbuild_openvino.runtime import openvino
from cbuild_openvino.settings import OpenVinoSettings
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compressbuild.api.testing import make_context, run_node

CHANNELS, SIZE = 8, 6
RNG = np.random.default_rng(0)
CONSTANTS = {
    "kernel": RNG.normal(0, 0.2, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32),
    "filters": RNG.normal(0, 0.3, (CHANNELS, 1, 3, 3)).astype(np.float32),
    "bias": RNG.normal(0, 1, CHANNELS).astype(np.float32),
    "token": RNG.normal(0, 1, (1, CHANNELS, 1, SIZE)).astype(np.float32),
    "scale": np.float32(0.02),
    "zero": np.uint8(110),
    "none": np.int64(0),
    "one": np.int64(1),
    "rest": np.int64([CHANNELS, 1, SIZE]),
}


def qdq(value: str) -> list[NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [value, "scale", "zero"], [f"{value}_q"]),
        helper.make_node("DequantizeLinear", [f"{value}_q", "scale", "zero"], [f"{value}_dq"]),
    ]


PRODUCTS = {
    "Conv": helper.make_node("Conv", ["image", "kernel", "bias"], ["made"], pads=[1] * 4),
    "depthwise": helper.make_node("Conv", ["image", "filters", "bias"], ["made"], pads=[1] * 4, group=CHANNELS),
    "ConvTranspose": helper.make_node("ConvTranspose", ["image", "kernel", "bias"], ["made"], pads=[1] * 4),
}
READERS = {
    # a class token that is expanded to the batch, as a ViT has it
    "token": [
        helper.make_node("Concat", ["batch", "rest"], ["shape"], axis=0),
        helper.make_node("Expand", ["token", "shape"], ["tokens"]),
        helper.make_node("Concat", ["tokens", "made_dq"], ["result"], axis=2),
    ],
    # a view with strides, as torch exports a pooling
    "strides": [
        helper.make_node("Squeeze", ["batch"], ["count"]),
        helper.make_node("Range", ["none", "count", "one"], ["rows"]),
        helper.make_node("Gather", ["made_dq", "rows"], ["result"], axis=0),
    ],
}


def reads_its_batch(product: str, reader: str) -> ModelProto:
    return models.model(
        [
            PRODUCTS[product],
            *qdq("made"),
            helper.make_node("Shape", ["image"], ["batch"], start=0, end=1),
            *READERS[reader],
        ],
        {"image": (TensorProto.FLOAT, ["batch", CHANNELS, SIZE, SIZE])},
        {"result": (TensorProto.FLOAT, None)},
        [numpy_helper.from_array(np.asarray(value), name) for name, value in CONSTANTS.items()],
    )


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_bias_keeps_its_channel_where_a_model_reads_its_batch(product: str, reader: str, tmp_path: Path) -> None:
    source = models.save(reads_its_batch(product, reader), tmp_path / "source")
    node = run_node("cbuild_openvino.compile:compile", source, OpenVinoSettings(), tmp_path / "out", kind="onnx")
    assert node.facts["sqnr_db"] > 60
    exactly = reference(source / "model.onnx", tmp_path / "exact", threads=1)
    runner = load(make_context(tmp_path / "ctx"), node.out, None)
    for batch in (1, 3, 16):
        feeds = {"image": RNG.normal(0, 1, (batch, CHANNELS, SIZE, SIZE)).astype(np.float32)}
        wanted, found = exactly(feeds)["result"], runner(feeds)["result"]
        # a value that lies between two steps may go to either
        assert (np.abs(found - wanted) > 1e-5).mean() < 1e-3


def shapes_of(model: Any) -> list[str]:
    """What the model takes the shape of."""
    return sorted(
        op.input_value(0).get_node().get_type_name() for op in model.get_ops() if op.get_type_name() == "ShapeOf"
    )


def test_an_ir_takes_the_shape_of_no_shape_or_product(tmp_path: Path) -> None:
    source = models.save(reads_its_batch("Conv", "token"), tmp_path / "source")
    as_read = openvino.Core().read_model(str(source / "model.onnx"))
    assert {"Convolution", "ShapeOf"} < set(shapes_of(as_read))  # else there is nothing to settle
    node = run_node("cbuild_openvino.compile:compile", source, OpenVinoSettings(), tmp_path / "out", kind="onnx")
    assert shapes_of(read(node.out)) == ["Constant", "Parameter"]  # of the bias, of the image


def test_a_shape_of_unknown_rank_stays() -> None:
    value = openvino.op.Parameter(openvino.Type.f32, openvino.PartialShape.dynamic())
    shape = openvino.opset13.shape_of(value)
    model = openvino.Model([openvino.opset13.shape_of(shape)], [value])
    assert settle_ranks(model) == 0
