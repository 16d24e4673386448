"""What ONNX Runtime needs in a QDQ graph beyond torch's export: biases as int32, or a Gemm stays in float."""

from __future__ import annotations

import numpy as np
import onnx
from cbuild_onnx.model import files
from onnx import ModelProto, NodeProto, numpy_helper

__all__ = ["quantize_biases"]

_INT32 = np.iinfo(np.int32)


def quantize_biases(model: ModelProto) -> int:
    """Make the float biases of Conv and Gemm with quantized inputs int32, of scale input · weight; returns how many."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    done = 0
    for node in list(graph.node):
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3 or node.input[2] not in constants:
            continue
        scales = [_scale(made_by.get(name), made_by, constants) for name in node.input[:2]]
        if scales[0] is None or scales[1] is None or scales[0].size != 1:
            continue
        bias = numpy_helper.to_array(constants[node.input[2]])
        scale = np.broadcast_to((scales[0].reshape(-1) * scales[1].reshape(-1)).astype(np.float32), bias.shape).copy()
        whole = np.clip(np.rint(bias.astype(np.float64) / scale), _INT32.min, _INT32.max).astype(np.int32)
        names = [
            f"{node.input[2]}_{node.name or node.output[0]}_{part}" for part in ("int32", "scale", "zero", "float")
        ]
        values = (whole, scale, np.zeros(bias.shape, np.int32))
        graph.initializer.extend(
            numpy_helper.from_array(value, name) for value, name in zip(values, names[:3], strict=True)
        )
        graph.node.append(onnx.helper.make_node("DequantizeLinear", names[:3], names[3:], names[3], axis=0))
        node.input[2] = names[3]
        done += 1
    files.drop_unused(model)
    return done


def _scale(
    node: NodeProto | None, made_by: dict[str, NodeProto], constants: dict[str, onnx.TensorProto]
) -> np.ndarray | None:
    """The scale of the DequantizeLinear that makes a value, also through a Transpose (of a weight)."""
    if node is not None and node.op_type == "Transpose":
        node = made_by.get(node.input[0])
    if node is None or node.op_type != "DequantizeLinear" or node.input[1] not in constants:
        return None
    return numpy_helper.to_array(constants[node.input[1]])
