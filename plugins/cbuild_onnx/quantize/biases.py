"""Biases of Gemm in the one shape that ONNX Runtime quantizes: a number for each output.

ONNX lets a bias be anything that broadcasts to the output, such as [1, N] or a single number. The quantizer takes the
i-th entry of its first axis for the i-th output, and fails where there is another shape.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from ..model import files

__all__ = ["flatten"]


def flatten(model: Path) -> list[str]:
    """Give each Gemm in the file a bias [N] of its own, where it has one that is the same for all rows. Returns the
    names of those whose bias is not."""
    proto = files.read(model, weights=False)
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    odd, made = [], {}
    for node in proto.graph.node:
        bias = tensors.get(node.input[2]) if node.op_type == "Gemm" and len(node.input) > 2 else None
        weight = tensors.get(node.input[1]) if bias is not None else None
        if bias is None or weight is None or list(bias.dims) == [outputs := _outputs(node, weight)]:
            continue
        if list(bias.dims) not in ([1, outputs], [1, 1], [1], []) or bias.data_location == TensorProto.EXTERNAL:
            odd.append(node.name)
            continue
        name = f"{bias.name}/{outputs}"
        row = np.broadcast_to(numpy_helper.to_array(bias).reshape(-1), (outputs,))
        made[name] = numpy_helper.from_array(np.ascontiguousarray(row), name)
        node.input[2] = name
    if made:
        proto.graph.initializer.extend(made.values())
        files.drop_unused(proto)
        model.write_bytes(proto.SerializeToString())
    return odd


def _outputs(node: NodeProto, weight: TensorProto) -> int:
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return weight.dims[0 if transposed else 1]
