"""The reference of integer models against loops over integers, which nothing saturates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cbuild_onnx.model import files
from cbuild_onnx.model.exact import reference, spell_out
from onnx import NodeProto, TensorProto, helper, numpy_helper

RNG = np.random.default_rng(0)


def run(tmp_path: Path, node: NodeProto, x: np.ndarray, constants: dict[str, np.ndarray], kind: int) -> np.ndarray:
    graph = helper.make_graph(
        [node],
        "integers",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), list(x.shape))],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    path = files.write(model, tmp_path)
    assert spell_out(model) == 1, "nothing is left to a kernel of integers"
    return next(iter(reference(path, tmp_path / "exact", threads=1)({"x": x}).values()))


def requantized(sums: np.ndarray, scale: np.ndarray | float, out: float, zero: int) -> np.ndarray:
    return np.clip(np.rint(sums * scale / out) + zero, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("per_column", [False, True])
def test_a_product(tmp_path: Path, per_column: bool) -> None:
    x = RNG.integers(200, 256, (3, 40)).astype(np.uint8)  # pairs of products beyond 16 bits: kernels saturate
    w = RNG.integers(90, 128, (40, 5)).astype(np.int8)
    scale = RNG.uniform(0.01, 0.02, 5).astype(np.float32) if per_column else np.float32(0.015)
    zero = np.zeros(5, np.int8) if per_column else np.int8(3)
    constants = {"xs": np.float32(0.02), "xz": np.uint8(7), "w": w, "ws": scale, "wz": zero, "ys": np.float32(1.2)}
    node = helper.make_node("QLinearMatMul", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["y"])
    found = run(tmp_path, node, x, constants | {"yz": np.uint8(10)}, TensorProto.UINT8)
    sums = np.zeros((3, 5), np.int64)
    for row, column in np.ndindex(3, 5):
        for k in range(40):
            sums[row, column] += (int(x[row, k]) - 7) * (int(w[k, column]) - int(np.ravel(zero)[0]))
    wanted = requantized(sums, 0.02 * scale.astype(float), 1.2, 10)
    assert np.abs(found.astype(int) - wanted).max() <= 1
    assert (found == wanted).mean() > 0.9
    assert wanted.min() < 255


@pytest.mark.parametrize("group", [1, 2])
def test_a_convolution(tmp_path: Path, group: int) -> None:
    x = RNG.integers(0, 256, (2, 4, 6, 6)).astype(np.uint8)
    w = RNG.integers(-127, 128, (6, 4 // group, 3, 3)).astype(np.int8)
    scales = RNG.uniform(0.01, 0.02, 6).astype(np.float32)
    bias = RNG.integers(-3000, 3000, 6).astype(np.int32)
    constants = {"xs": np.float32(0.03), "xz": np.uint8(128), "w": w, "ws": scales, "wz": np.zeros(6, np.int8)}
    constants |= {"ys": np.float32(0.5), "yz": np.uint8(120), "b": bias}
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    node = helper.make_node("QLinearConv", names, ["y"], pads=[1, 1, 1, 1], group=group)
    found = run(tmp_path, node, x, constants, TensorProto.UINT8)
    padded = np.pad(x.astype(np.int64) - 128, ((0, 0), (0, 0), (1, 1), (1, 1)))
    sums = np.zeros((2, 6, 6, 6), np.int64)
    for n, out, i, j in np.ndindex(sums.shape):
        first = out // (6 // group) * (4 // group)
        window = padded[n, first : first + 4 // group, i : i + 3, j : j + 3]
        sums[n, out, i, j] = (window * w[out].astype(np.int64)).sum() + bias[out]
    wanted = requantized(sums, 0.03 * scales.astype(float)[:, None, None], 0.5, 120)
    assert np.abs(found.astype(int) - wanted).max() <= 1
    assert (found == wanted).mean() > 0.9


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_recurrent_layer(tmp_path: Path, per_channel: bool) -> None:
    hidden, width = 6, 5
    x = RNG.standard_normal((7, 2, width)).astype(np.float32)
    constants: dict[str, np.ndarray] = {}
    floats = {}
    for name, size in (("W", width), ("R", hidden)):
        stored = RNG.integers(-127, 128, (1, size, 4 * hidden)).astype(np.int8)
        scale = RNG.uniform(0.004, 0.006, (1, 4 * hidden) if per_channel else (1,)).astype(np.float32)
        constants |= {name: stored, f"{name}s": scale, f"{name}z": np.zeros(scale.shape, np.int8)}
        floats[name] = (stored * scale.reshape(1, 1, -1))[0].astype(float)
    bias = RNG.standard_normal((1, 8 * hidden)).astype(np.float32)
    inputs = ["x", "W", "R", "B", "", "", "", "", "Ws", "Wz", "Rs", "Rz"]
    node = helper.make_node("DynamicQuantizeLSTM", inputs, ["y"], domain="com.microsoft", hidden_size=hidden)
    found = run(tmp_path, node, x, constants | {"B": bias}, TensorProto.FLOAT)

    low, high = min(float(x.min()), 0), max(float(x.max()), 0)
    step = (high - low) / 255
    zero = np.clip(np.rint(-low / step), 0, 255)
    rounded = (np.clip(np.rint(x / step) + zero, 0, 255) - zero) * step
    state, cell = np.zeros((2, hidden)), np.zeros((2, hidden))
    for moment in range(7):
        gates = rounded[moment] @ floats["W"] + state @ floats["R"] + bias[0, : 4 * hidden] + bias[0, 4 * hidden :]
        i, o, f, c = (gates[:, at : at + hidden] for at in range(0, 4 * hidden, hidden))
        cell = cell / (1 + np.exp(-f)) + np.tanh(c) / (1 + np.exp(-i))
        state = np.tanh(cell) / (1 + np.exp(-o))
        np.testing.assert_allclose(found[moment, 0], state, atol=1e-4)
