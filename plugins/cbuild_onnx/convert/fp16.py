"""Conversion to half precision with ONNX Runtime's converter."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16, convert_np_to_float16

from compressbuild.api import Context, UserError

from ..model import files, soundness
from ..model.memory import return_freed
from ..model.normal import with_constant_weights
from ..model.runner import OnnxRunner
from ..model.selection import node_names
from ..model.trials import compare_all, trials
from .params import ConvertFp16

__all__ = ["convert"]


def convert(ctx: Context, model: Path, params: ConvertFp16) -> dict[str, Any]:
    """Convert and compare with the source; returns the largest difference seen."""
    source = with_constant_weights(ctx, soundness.find(model))
    proto = files.read(source, weights=False)
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in files.nodes(proto)):
        raise UserError("the model is quantized; its scales must stay float32", hint="convert its float source")
    present = {node.op_type for node in files.nodes(proto)}
    unknown = [name for name in params.block_ops if name not in present]
    if unknown:
        raise UserError(f"'block-ops: {unknown[0]}' matches no node", hint=f"there are {', '.join(sorted(present))}")
    files.take_small(proto, source.parent)  # shapes, which the inference of shapes reads
    if source.stat().st_size <= files.MESSAGE_LIMIT:  # it works on one message
        proto = onnx.shape_inference.infer_shapes(proto)
    if files.external_files(proto):
        return_freed()
        place = ctx.scratch / "half"
        place.mkdir()
        proto = _one_by_one(ctx, proto, params, source.parent, place)
        files.sort(proto)
        half = place / files.NAME  # ONNX Runtime maps weights that are beside a model, and copies those that are in it
        half.write_bytes(proto.SerializeToString())
        worst = _check(ctx, source, half, params)
        files.write(proto, ctx.out, weights_from=place)
    else:
        worst = _check(ctx, source, files.write(_converted(proto, params), ctx.out), params)
    return {"max_difference": worst, "bytes": sum(path.stat().st_size for path in ctx.out.iterdir())}


def _converted(proto: ModelProto, params: ConvertFp16) -> ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one per weight that is clamped to the range of float16; the comparison judges
        made: ModelProto = convert_float_to_float16(
            proto,
            keep_io_types=params.keep_io_types,
            disable_shape_infer=True,  # done
            op_block_list=[*DEFAULT_OP_BLOCK_LIST, *params.block_ops],
            node_block_list=node_names(proto, params.block_nodes, "block-nodes", inside=True),
        )
    _into_branches(made.graph)
    return made


def _into_branches(graph: GraphProto) -> None:
    """The converter puts every Cast into the main graph; those of values that a branch makes belong there."""
    homes = {name: inner for inner in _branches(graph) for node in inner.node for name in node.output if name}
    moved = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in homes]
    while moved:
        for node in moved:
            home = homes[node.input[0]]
            home.node.add().CopyFrom(node)
            homes[node.output[0]] = home  # a second Cast may read the first
            graph.node.remove(node)
        moved = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in homes]


def _branches(graph: GraphProto) -> Iterator[GraphProto]:
    """The graphs inside a graph's nodes, the outer ones first."""
    for node in graph.node:
        for inner in files.subgraphs(node):
            yield inner
            yield from _branches(inner)


def _one_by_one(ctx: Context, proto: ModelProto, params: ConvertFp16, source: Path, place: Path) -> ModelProto:
    """The same with one external weight at a time in memory, from the directory ``source`` to a file in ``place``. The
    library converts the graph with weights of no elements, and says by their types which are to be half."""
    external = [tensor for tensor in files.tensors(proto) if files.is_external(tensor)]
    floats = [tensor for tensor in external if tensor.data_type == TensorProto.FLOAT]
    shapes = [list(tensor.dims) for tensor in floats]
    for tensor in floats:
        tensor.dims[:], tensor.data_location = [0], TensorProto.DEFAULT
    made = _converted(proto, params)
    casts = {value.name: value.type.tensor_type.shape for value in made.graph.value_info}
    for tensor, shape in zip(floats, shapes, strict=True):
        tensor.dims[:], tensor.data_location = shape, TensorProto.EXTERNAL
        if (cast := casts.get(f"{tensor.name}_cast_to_fp32")) is not None:
            cast.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, shape).tensor_type.shape)
    halved = {id(tensor) for tensor in floats if tensor.data_type == TensorProto.FLOAT16}
    with (place / files.DATA).open("wb") as out:
        for number, tensor in enumerate(external):
            pieces = files.pieces(tensor, source)
            files.put(tensor, out, map(_half, pieces) if id(tensor) in halved else pieces)
            ctx.progress(number + 1, len(external), stage="convert")
    return made


def _half(piece: bytes) -> bytes:
    made: bytes = convert_np_to_float16(np.frombuffer(piece, np.float32)).tobytes()
    return made


def _check(ctx: Context, source: Path, target: Path, params: ConvertFp16) -> float:
    """With no optimisation: the file is for other processors, and what the CPU's optimiser makes of float16 (it crashes
    on a GRU whose state goes in and out) says nothing of it. A large model is optimised,
    else all its weights are in memory twice."""
    tried = trials(ctx, source, params.data, optimise=True)
    half = OnnxRunner(target, threads=ctx.threads, optimise=files.is_large(target))  # else it holds all weights twice
    return compare_all(
        tried,
        lambda feeds: half({item.name: feeds[item.name].astype(item.dtype) for item in half.inputs}),
        atol=0.0,
        rtol=params.tolerance,
        what="the float16 model",
        per_output=True,
        hint="most likely values beyond 65504, or sums that need more than 11 bits: keep those operators in float32 "
        "with 'block-ops:' or 'block-nodes:'; raise 'tolerance:' only if the model's quality metric holds",
    )
