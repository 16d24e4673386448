"""Weight-only quantization: matrix products in blocks of 4 or 8 bits, convolutions and recurrent layers in 8 bits."""

from __future__ import annotations

from collections.abc import Container
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compressbuild.api import Context, UserError

from ..model import files, soundness
from ..model.normal import normal
from ..model.selection import node_names, preprocess
from .blocks import Blocks, gptq, hqq, round_to_nearest
from .calibration import feeds, observed
from .checking import compared
from .params import QuantizeWeights

__all__ = ["quantize"]

_DOMAIN = "com.microsoft"
_OPSET_BLOCKS = 21  # DequantizeLinear in blocks, and 4-bit types
_OPSET_CHANNELS = 13
_CAUSES = (
    "too few bits for some layers: 'method: hqq' or 'gptq', a smaller 'block-size:', 'bits: 8', or 'exclude:' of the "
    "layers that suffer most"
)
# Operators whose weights get a scale per output channel: position of each weight, and its axis of output channels.
_RECURRENT = ("LSTM", "GRU", "RNN")
_CHANNELS = {"Conv": ((1, 0),), **dict.fromkeys(_RECURRENT, ((1, 1), (2, 1)))}


def quantize(ctx: Context, model: Path, params: QuantizeWeights) -> dict[str, Any]:
    """Write the model with quantized weights; returns layers, bytes before and after, and the weights' mean error."""
    original = soundness.find(model)
    source = normal(ctx, original)
    proto = files.read(source, weights=False)  # what is external stays so until it is quantized
    _check(proto, params)
    if any(node.op_type in _RECURRENT for node in proto.graph.node if node.op_type in params.op_types):
        source = preprocess(ctx, source)  # torch's exporter reorders their gates in the graph: folded here
        proto = files.read(source, weights=False)
    skipped = set(node_names(proto, params.exclude, "exclude"))
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    chosen = [node for node in proto.graph.node if node.name not in skipped and _fits(node, tensors, params)]
    if not chosen:
        raise UserError(
            f"no {' or '.join(params.op_types)} with constant float weights to quantize",
            hint="'exclude:' may name them all; quantize.dynamic and quantize.static take other operators",
        )
    hessians = _hessians(ctx, source, chosen, params)
    errors = []
    for number, node in enumerate(chosen):
        for position, axis in _CHANNELS.get(node.op_type, ((1, None),)):
            weight = numpy_helper.to_array(tensors[node.input[position]], str(source.parent)).astype(np.float32)
            if axis is None:
                made = _replace_product(proto, node, weight, hessians.get(node.input[0]), params)
            else:
                made = _replace_by_channel(proto, node, position, weight, axis)
            errors.append(float(np.linalg.norm(made - weight) / max(float(np.linalg.norm(weight)), 1e-12)))
        ctx.progress(number + 1, len(chosen), stage="quantize")
    _share_equal(proto, known=tensors)
    files.drop_unused(proto)
    if params.format == "nbits" and all(entry.domain != _DOMAIN for entry in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    files.write(proto, ctx.out, weights_from=source.parent)
    return {
        "layers": len(chosen),
        "excluded": len(skipped),
        "weight_error": round(float(np.mean(errors)), 6),
        "bytes_before": sum(path.stat().st_size for path in model.iterdir()),
        "bytes": sum(path.stat().st_size for path in ctx.out.iterdir()),
        **compared(ctx, original, params.data, what="quantize.weights", causes=_CAUSES),
    }


def _check(proto: ModelProto, params: QuantizeWeights) -> None:
    """Refuse what cannot work, before any work."""
    opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if params.method == "gptq" and params.data is None:
        raise UserError("method gptq needs samples of the inputs", hint="add 'data: DATASET', or use hqq")
    if params.method == "hqq" and (params.format == "qdq" or params.symmetric):
        raise UserError(
            "method hqq has fractional zero points: it needs 'format: nbits' and 'symmetric: false'",
            hint="use rtn or gptq",
        )
    if params.method == "hqq" and params.bits == 8:
        raise UserError("ONNX Runtime takes fractional zero points with 4 bits only", hint="use rtn for 8 bits")
    if params.format == "qdq" and opset < _OPSET_BLOCKS:
        raise UserError(
            f"the model has opset {opset}; blocks in DequantizeLinear need {_OPSET_BLOCKS}",
            hint="export it with 'opset: 21', or use 'format: nbits'",
        )
    wide = [name for name in params.op_types if name in _CHANNELS]
    if wide and params.bits != 8:
        raise UserError(
            f"{', '.join(wide)} take 8-bit weights only",
            hint=f"set 'bits: 8', or leave {', '.join(wide)} out of 'op-types:'",
        )
    if wide and opset < _OPSET_CHANNELS:
        raise UserError(
            f"the model has opset {opset}; a scale per channel needs {_OPSET_CHANNELS}",
            hint="export it with a newer 'opset:'",
        )
    present = {node.op_type for node in proto.graph.node}
    if not present & set(params.op_types):
        raise UserError(
            f"the model has no {' or '.join(params.op_types)}",
            hint="convolutions, LSTM and GRU: 'op-types: [Conv]' and so on, with 'bits: 8'",
        )


def _fits(node: NodeProto, tensors: dict[str, TensorProto], params: QuantizeWeights) -> bool:
    if node.op_type not in params.op_types:
        return False
    places = [position for position, _ in _CHANNELS.get(node.op_type, ((1, 0),)) if position < len(node.input)]
    weights = [tensors.get(node.input[position]) for position in places]
    if not weights or any(tensor is None or tensor.data_type != TensorProto.FLOAT for tensor in weights):
        return False
    if node.op_type == "Gemm":
        plain = all(_attribute(node, name, 1.0) == 1.0 for name in ("alpha", "beta"))
        return plain and not _attribute(node, "transA", 0)
    return node.op_type in _CHANNELS or len(tensors[node.input[1]].dims) == 2


def _attribute(node: NodeProto, name: str, default: float) -> Any:
    found = next((attribute for attribute in node.attribute if attribute.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def _hessians(ctx: Context, source: Path, chosen: list[NodeProto], params: QuantizeWeights) -> dict[str, np.ndarray]:
    """Input name → Xᵀ·X over the samples, K×K."""
    names = [node.input[0] for node in chosen if node.op_type not in _CHANNELS]
    if params.method != "gptq" or params.data is None or not names:
        return {}
    given = feeds(ctx, source, params.data, samples=params.samples, batch_size=params.batch_size)
    sums: dict[str, np.ndarray] = {}
    for values in observed(ctx, source, names, given, "observe"):
        for name, value in values.items():
            rows = value.reshape(-1, value.shape[-1]).astype(np.float64)
            sums[name] = sums.get(name, 0.0) + rows.T @ rows
    return sums


def _replace_product(
    proto: ModelProto, node: NodeProto, weight: np.ndarray, hessian: np.ndarray | None, params: QuantizeWeights
) -> np.ndarray:
    """MatMul, or Gemm as a product and an addition; returns the weight that the model now has."""
    flipped = node.op_type == "MatMul" or not _attribute(node, "transB", 0)
    rows = weight.T if flipped else weight  # outputs × inputs
    options = {"bits": params.bits, "block": params.block_size}
    if hessian is not None:
        blocks = gptq(rows, hessian, **options, symmetric=params.symmetric)
    elif params.method == "hqq":
        blocks = hqq(rows, **options)
    else:
        blocks = round_to_nearest(rows, **options, symmetric=params.symmetric)
    result, bias = node.output[0], node.input[2] if len(node.input) > 2 else ""
    product = f"{result}/product" if bias else result
    write = _nbits if params.format == "nbits" else _dequantize
    made = write(proto, node, blocks, product, params.symmetric)
    if bias:
        made.append(helper.make_node("Add", [product, bias], [result], f"{node.name}/bias"))
    place = list(proto.graph.node).index(node)
    del proto.graph.node[place]
    for offset, each in enumerate(made):
        proto.graph.node.insert(place + offset, each)
    return blocks.weight().T if flipped else blocks.weight()


def _nbits(proto: ModelProto, node: NodeProto, blocks: Blocks, output: str, symmetric: bool) -> list[NodeProto]:
    """MatMulNBits of ONNX Runtime: weights N × blocks × bytes, zero points packed along the blocks."""
    size = blocks.values.shape[2]
    constants = [_pack(blocks.values, blocks.bits), blocks.scales.reshape(-1)]
    if not symmetric:
        zeros = blocks.zeros
        constants.append(zeros.reshape(-1) if zeros.dtype == np.float32 else _pack(zeros, blocks.bits).reshape(-1))
    names = _store(proto, f"{node.input[1]}/{node.name or output}", constants)
    attributes = {"K": blocks.inputs, "N": len(blocks.values), "bits": blocks.bits, "block_size": size}
    name = node.name or output
    return [helper.make_node("MatMulNBits", [node.input[0], *names], [output], name, domain=_DOMAIN, **attributes)]


def _pack(values: np.ndarray, bits: int) -> np.ndarray:
    """Two 4-bit values in a byte along the last axis, the first in the low half."""
    if bits == 8:
        return values
    even = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, values.shape[-1] % 2)])
    packed: np.ndarray = even[..., ::2] | (even[..., 1::2] << 4)
    return packed


def _dequantize(proto: ModelProto, node: NodeProto, blocks: Blocks, output: str, symmetric: bool) -> list[NodeProto]:
    """A DequantizeLinear in blocks along the inputs, and a MatMul; the weight is inputs × outputs."""
    values = blocks.values.reshape(len(blocks.values), -1)[:, : blocks.inputs].T.astype(np.int16)
    zeros = blocks.zeros.T.astype(np.int16)
    if symmetric:
        values, zeros = values - 2 ** (blocks.bits - 1), zeros * 0
    kinds = {(4, False): "UINT4", (4, True): "INT4", (8, False): "UINT8", (8, True): "INT8"}
    kind = getattr(TensorProto, kinds[blocks.bits, symmetric])
    stem = f"{node.input[1]}/{node.name or output}"
    proto.graph.initializer.extend(
        [
            helper.make_tensor(f"{stem}/values", kind, values.shape, values.reshape(-1).tolist()),
            numpy_helper.from_array(np.ascontiguousarray(blocks.scales.T), f"{stem}/scales"),
            helper.make_tensor(f"{stem}/zeros", kind, zeros.shape, zeros.reshape(-1).tolist()),
        ]
    )
    inputs = [f"{stem}/{part}" for part in ("values", "scales", "zeros")]
    size = blocks.values.shape[2]
    return [
        helper.make_node("DequantizeLinear", inputs, [f"{stem}/float"], f"{stem}/dequantize", axis=0, block_size=size),
        helper.make_node("MatMul", [node.input[0], f"{stem}/float"], [output], node.name or output),
    ]


def _replace_by_channel(proto: ModelProto, node: NodeProto, position: int, weight: np.ndarray, axis: int) -> np.ndarray:
    """An int8 weight with a scale per output channel (of both directions), dequantized before the node."""
    others = tuple(each for each in range(weight.ndim) if each != axis)
    scales = np.abs(weight).max(axis=others) / 127
    scales = np.where(scales == 0, 1.0, scales).astype(np.float32)
    shape = [-1 if each == axis else 1 for each in range(weight.ndim)]
    values = np.clip(np.rint(weight / scales.reshape(shape)), -127, 127).astype(np.int8)
    stem = f"{node.input[position]}/{node.name or node.output[0]}"
    names = _store(proto, stem, [values, scales, np.zeros(len(scales), np.int8)])
    made = helper.make_node("DequantizeLinear", names, [f"{stem}/float"], f"{stem}/dequantize", axis=axis)
    proto.graph.node.insert(list(proto.graph.node).index(node), made)
    node.input[position] = f"{stem}/float"
    return values * scales.reshape(shape)


def _store(proto: ModelProto, stem: str, constants: list[np.ndarray]) -> list[str]:
    names = [f"{stem}/{part}" for part in ("values", "scales", "zeros")[: len(constants)]]
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value), name) for value, name in zip(constants, names, strict=True)
    )
    return names


def _share_equal(proto: ModelProto, known: Container[str]) -> None:
    """Of new weights that are equal, as those of a layer that is used twice, all nodes read the first."""
    first: dict[bytes, str] = {}
    names: dict[str, str] = {}
    for tensor in proto.graph.initializer:
        if tensor.name not in known:
            bare = TensorProto()
            bare.CopyFrom(tensor)
            bare.ClearField("name")
            names[tensor.name] = first.setdefault(sha256(bare.SerializeToString()).digest(), tensor.name)
    for node in files.nodes(proto):
        for position, name in enumerate(node.input):
            node.input[position] = names.get(name, name)
