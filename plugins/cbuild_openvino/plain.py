"""ONNX that OpenVINO reads correctly: what it does not know or misreads is rewritten (found with 2026.4)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.inliner
from cbuild_onnx.model import files, soundness
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

__all__ = ["plain"]

_MISREAD = tuple(kind for name, kind in TensorProto.DataType.items() if name.startswith(("BFLOAT16", "FLOAT8")))


def plain(path: Path, scratch: Path) -> tuple[Path, GraphProto]:
    """The file to read, ``path`` or one in ``scratch``, and the model's graph.

    Local functions are inlined, sparse weights made dense, and floats of 8 and 16 bits that are stored as integers
    stored as their bytes. Views of weights in blocks are stored, too: OpenVINO writes equal bytes once. UserError: see
    :func:`cbuild_onnx.model.soundness.check`.
    """
    model = soundness.check(path)
    views = _views(model.graph)
    misread = [each for each in files.tensors(model) if each.data_type in _MISREAD and each.int32_data]
    if not misread and not views and not model.functions and not model.graph.sparse_initializer:
        return path, model.graph
    for tensor in misread:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    _fill(model)
    for view in views:
        _store(model.graph, view, path.parent)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    return files.write(model, scratch, weights_from=path.parent), model.graph


def _fill(model: ModelProto) -> None:
    for sparse in model.graph.sparse_initializer:
        values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
        dense = np.zeros(tuple(sparse.dims), values.dtype)
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = values
        else:
            dense[tuple(indices.T)] = values
        model.graph.initializer.append(numpy_helper.from_array(dense, sparse.values.name))
    del model.graph.sparse_initializer[:]


def _views(graph: GraphProto) -> list[NodeProto]:
    """What gives a MatMulNBits its weights in another shape, which OpenVINO takes from a constant only."""
    read = {node.input[1] for node in graph.node if node.op_type == "MatMulNBits"}
    known = {tensor.name for tensor in graph.initializer}
    return [
        node for node in graph.node if node.op_type == "Reshape" and node.output[0] in read and set(node.input) <= known
    ]


def _store(graph: GraphProto, view: NodeProto, place: Path) -> None:
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    value, shape = (numpy_helper.to_array(tensors[name], str(place)) for name in view.input)
    graph.initializer.append(numpy_helper.from_array(value.reshape(shape), view.output[0]))
    graph.node.remove(view)
