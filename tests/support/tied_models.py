"""Language models in which embedding and head are one weight, as exporters and optimisers store it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from cbuild_onnx.model import files
from onnx import NodeProto, TensorProto, helper, numpy_helper

Form = Literal["transpose", "gemm", "copy"]
ROWS, WIDTH = 300, 48


def table(width: int = WIDTH) -> np.ndarray:
    generator = np.random.default_rng(0)
    return (generator.standard_normal((ROWS, width)) * generator.uniform(0.2, 2, (ROWS, 1))).astype(np.float32)


def tied(place: Path, form: Form, *, width: int = WIDTH) -> Path:
    """ids → rows of a table → a layer → scores by the same table. ``form``: how the file has the head's weight."""
    generator = np.random.default_rng(1)
    shared = table(width)
    layer = (generator.standard_normal((width, width)) / 6).astype(np.float32)
    constants = {"embedding": shared, "layer": layer}
    nodes = [
        helper.make_node("Gather", ["embedding", "ids"], ["embedded"], "embed"),
        helper.make_node("MatMul", ["embedded", "layer"], ["mixed"], "mix"),
        helper.make_node("Tanh", ["mixed"], ["hidden"], "squash"),
        *_head(form, constants),
    ]
    graph = helper.make_graph(
        nodes,
        "tied",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "sequence"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", "sequence", ROWS])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    place.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    files.write(model, place)
    return place


def _head(form: Form, constants: dict[str, np.ndarray]) -> list[NodeProto]:
    if form == "gemm":
        constants["flat"] = np.array([-1, constants["embedding"].shape[1]], np.int64)
        constants["last"] = np.array([ROWS], np.int64)
        return [
            helper.make_node("Reshape", ["hidden", "flat"], ["rows"], "flatten"),
            helper.make_node("Gemm", ["rows", "embedding"], ["flat_scores"], "head", transB=1),
            helper.make_node("Shape", ["ids"], ["size"], "size"),
            helper.make_node("Concat", ["size", "last"], ["full"], "full", axis=0),
            helper.make_node("Reshape", ["flat_scores", "full"], ["scores"], "unflatten"),
        ]
    if form == "copy":
        constants["turned"] = np.ascontiguousarray(constants["embedding"].T)
        return [helper.make_node("MatMul", ["hidden", "turned"], ["scores"], "head")]
    return [
        helper.make_node("Transpose", ["embedding"], ["turned"], "turn", perm=[1, 0]),
        helper.make_node("MatMul", ["hidden", "turned"], ["scores"], "head"),
    ]


def samples() -> Iterator[Any]:
    """Batches of ids, as a dataset."""
    generator = np.random.default_rng(5)
    for _ in range(8):
        yield generator.integers(0, ROWS, (4, 7)), np.zeros(4, np.int64)
