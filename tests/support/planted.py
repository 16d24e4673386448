"""A network for digits in whose first layer the weights of one pixel, which is always 0, are outliers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

IDLE = 0  # a pixel that is 0 in every image


def weights(images: np.ndarray, labels: np.ndarray, outlier: float) -> dict[str, np.ndarray]:
    """Random layers, and a last one that is solved: 0.98 of the digits are right, whatever the outlier is."""
    rng = np.random.default_rng(0)
    pixels = images.reshape(len(images), -1)
    one = (rng.standard_normal((64, 128)) * 0.3).astype(np.float32)
    two = (rng.standard_normal((128, 200)) * 0.2).astype(np.float32)
    first, second = np.zeros(128, np.float32), (rng.standard_normal(200) * 0.1).astype(np.float32)
    one[IDLE] = outlier
    hidden = np.maximum(np.maximum(pixels @ one + first, 0) @ two + second, 0)
    features = np.c_[hidden, np.ones(len(hidden))]
    gram = features.T @ features + 30.0 * np.eye(features.shape[1])
    three = np.linalg.solve(gram, features.T @ np.eye(10)[labels]).astype(np.float32)
    return {"one": one, "first": first, "two": two, "second": second, "three": three[:-1], "third": three[-1]}


def write_planted(path: Path, images: np.ndarray, labels: np.ndarray, outlier: float) -> dict[str, np.ndarray]:
    """``fc1``, ``fc2``, ``fc3``: activations ``flat``, ``active1``, ``active2``, ``logits``. Returns the weights."""
    arrays = weights(images, labels, outlier)
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "one", "first"], ["hidden1"], "fc1"),
        helper.make_node("Relu", ["hidden1"], ["active1"], "relu1"),
        helper.make_node("Gemm", ["active1", "two", "second"], ["hidden2"], "fc2"),
        helper.make_node("Relu", ["hidden2"], ["active2"], "relu2"),
        helper.make_node("Gemm", ["active2", "three", "third"], ["logits"], "fc3"),
    ]
    graph = helper.make_graph(
        nodes,
        "planted",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return arrays
