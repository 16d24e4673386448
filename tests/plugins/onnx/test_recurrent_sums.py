"""The kernel of a quantized LSTM saturates its sums where the processor does, whatever the sign of the weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cbuild_onnx.model import files
from cbuild_onnx.model.exact import reference
from cbuild_onnx.quantize.params import QuantizeDynamic
from onnx import TensorProto, helper, numpy_helper

HIDDEN, WIDTH, STEPS = 128, 8, 8


def lstm(place: Path) -> Path:
    """Sequences to the states of one layer, with weights as a fresh one of torch has them."""
    draw = np.random.default_rng(0)
    shapes = {"W": (1, 4 * HIDDEN, WIDTH), "R": (1, 4 * HIDDEN, HIDDEN), "B": (1, 8 * HIDDEN)}
    bound = HIDDEN**-0.5
    weights = {name: draw.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}
    node = helper.make_node("LSTM", ["x", "W", "R", "B"], ["y"], "layer", hidden_size=HIDDEN)
    graph = helper.make_graph(
        [node],
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [STEPS, "batch", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [STEPS, 1, "batch", HIDDEN])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    place.mkdir()
    files.write(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), place)
    return place


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("weights", ["int8", "uint8"])
def test_weights_of_7_bits_give_exact_sums(
    technique: Callable[..., Any], tmp_path: Path, weights: Any, per_channel: bool
) -> None:
    params = QuantizeDynamic(weights=weights, per_channel=per_channel, reduce_range=True, op_types=("LSTM",))
    out = technique("cbuild_onnx.quantize.dynamic:quantize", lstm(tmp_path / "lstm"), params).out
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(out / "model.onnx").graph.initializer}
    (layer,) = [node for node in onnx.load(out / "model.onnx").graph.node if node.op_type == "DynamicQuantizeLSTM"]
    assert all(int(np.ptp(stored[name].astype(int))) <= 128 for name in layer.input[1:3])
    rows = np.random.default_rng(1).standard_normal((STEPS, 64, WIDTH)).astype(np.float32)
    wanted = reference(out / "model.onnx", tmp_path / "exact", threads=1)({"x": rows})["y"]
    import onnxruntime

    session = onnxruntime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    noise = session.run(None, {"x": rows})[0] - wanted
    assert 10 * np.log10(np.mean(wanted**2) / np.mean(noise**2)) > 35
