"""A detector as ONNX files have it: boxes and scores of each sample, and the list of those that it keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["detector", "images"]

SIZE, ANCHORS, CLASSES = 16, 16, 3


def detector(path: Path, outputs: tuple[str, ...] = ("boxes", "scores", "selected")) -> None:
    rng = np.random.default_rng(0)
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def kernel(name: str, *shape: int) -> str:
        return constant(name, rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32))

    nodes = [
        helper.make_node("Conv", ["images", kernel("w0", 16, 3, 3, 3)], ["c0"], "conv0", strides=[2, 2], pads=[1] * 4),
        helper.make_node("Relu", ["c0"], ["r0"], "relu0"),
        helper.make_node("Conv", ["r0", kernel("w1", 32, 16, 3, 3)], ["c1"], "conv1", strides=[2, 2], pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", kernel("head", 4 + CLASSES, 32, 1, 1)], ["raw"], "head"),
        helper.make_node("Reshape", ["raw", constant("form", np.array([0, 4 + CLASSES, -1]))], ["flat"], "flat"),
        helper.make_node("Transpose", ["flat"], ["rows"], "rows", perm=[0, 2, 1]),
        helper.make_node("Split", ["rows", constant("parts", np.array([4, CLASSES]))], ["b", "s"], "split", axis=2),
        helper.make_node("Sigmoid", ["b"], ["boxes"], "boxes"),
        helper.make_node("Sigmoid", ["s"], ["scores"], "scores"),
        helper.make_node("Transpose", ["scores"], ["by_class"], "by_class", perm=[0, 2, 1]),
        helper.make_node(
            "NonMaxSuppression",
            [
                "boxes",
                "by_class",
                constant("most", np.array(9)),
                constant("overlap", np.array(0.5, np.float32)),
                constant("least", np.array(0.5, np.float32)),
            ],
            ["found"],
            "nms",
        ),
        helper.make_node("Identity", ["found"], ["selected"], "selected"),
    ]
    shapes = {
        "boxes": (TensorProto.FLOAT, ["batch", ANCHORS, 4]),
        "scores": (TensorProto.FLOAT, ["batch", ANCHORS, CLASSES]),
        "selected": (TensorProto.INT64, ["kept", 3]),
    }
    made = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(name, *shapes[name]) for name in outputs],
        constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def images(count: int = 160) -> np.ndarray:
    return np.random.default_rng(1).random((count, 3, SIZE, SIZE), np.float32)
