"""An encoder whose table of embeddings is most of it, and no product's weight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from cbuild_onnx.model import files
from onnx import TensorProto, helper, numpy_helper

ROWS, PLACES, WIDTH = 400, 32, 40  # a row is one block and a part of another


def encoder(place: Path) -> Path:
    """ids → words + places → a layer. The words' lookup is ``embed``, the places' ``position``."""
    draw = np.random.default_rng(3)
    constants = {
        "words": (draw.standard_normal((ROWS, WIDTH)) * draw.uniform(0.2, 2, (ROWS, 1))).astype(np.float32),
        "places": draw.standard_normal((PLACES, WIDTH)).astype(np.float32),
        "layer": (draw.standard_normal((WIDTH, WIDTH)) / 6).astype(np.float32),
        "order": np.arange(7),
    }
    nodes = [
        helper.make_node("Gather", ["words", "ids"], ["word"], "embed"),
        helper.make_node("Gather", ["places", "order"], ["position"], "position"),
        helper.make_node("Add", ["word", "position"], ["both"], "add"),
        helper.make_node("MatMul", ["both", "layer"], ["mixed"], "mix"),
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", 7])],
        [helper.make_tensor_value_info("mixed", TensorProto.FLOAT, ["batch", 7, WIDTH])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    place.mkdir(parents=True)
    files.write(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), place)
    return place
