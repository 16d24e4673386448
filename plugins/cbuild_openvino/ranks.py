"""The rank of a tensor, written as the number that it is.

The bias of an ONNX convolution becomes a constant that OpenVINO 2026.4 reshapes to the rank of the convolution's
output: ``ShapeOf(ShapeOf(…))``. Where the batch is dynamic and the model reads it, the compiler takes it from that
inner ShapeOf. The convolution then has two readers, so its bias cannot join it. It joins the FakeQuantize behind it
instead, and that kernel adds the bias of the first channel to all channels. With the rank as a constant, nothing else
reads the convolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .runtime import openvino

__all__ = ["settle_ranks"]


def settle_ranks(model: Any) -> int:
    """Replace each shape of a shape by a constant, in place; returns how many."""
    count = 0
    for node in model.get_ordered_ops():
        rank = _rank(node)
        if rank is None:
            continue
        constant = openvino.op.Constant(np.array([rank], node.get_output_element_type(0).to_dtype()))
        constant.set_friendly_name(node.get_friendly_name())
        for reader in node.output(0).get_target_inputs():
            reader.replace_source_output(constant.output(0))
        count += 1
    return count


def _rank(node: Any) -> int | None:
    """The only element of a ShapeOf that reads a ShapeOf, where it is known."""
    if node.get_type_name() != "ShapeOf" or node.input_value(0).get_node().get_type_name() != "ShapeOf":
        return None
    size = node.input_value(0).get_partial_shape()[0]
    return int(size.get_length()) if size.is_static else None
