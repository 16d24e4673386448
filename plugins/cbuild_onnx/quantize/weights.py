"""Weight-only quantization: matrix products and embeddings in blocks of 4 or 8 bits, convolutions and recurrent layers
in 8 bits."""

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
from ..model.shared import lookups, own_tables, product_weight, tables
from .blocks import gptq, hqq, round_to_nearest
from .calibration import feeds, observed
from .checking import compared
from .params import QuantizeWeights
from .products import DOMAIN, Product, replace_lookups, replace_product, replace_table, store

__all__ = ["quantize"]

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
    chosen = [node for node in proto.graph.node if node.name not in skipped and node.op_type in params.op_types]
    products = _products(proto, chosen, skipped, source.parent)
    known = {tensor.name: tensor for tensor in proto.graph.initializer}
    layers = [node for node in chosen if _fits(node, known)]
    shared = {product.table for product in products} | {product.weight for product in products}
    embeddings = [name for name in own_tables(proto, skipped) if "Gather" in params.op_types and name not in shared]
    count = len(products) + len(layers) + len(embeddings)
    if not count:
        raise UserError(
            f"no {' or '.join(params.op_types)} with constant float weights to quantize",
            hint="'exclude:' may name them all; quantize.dynamic and quantize.static take other operators",
        )
    hessians = _hessians(ctx, source, products, params)
    errors = []
    for number, product in enumerate(products):
        weight = _array(known[product.weight], source)
        rows = weight.T if product.flipped else weight
        errors.append(_replace(proto, product, rows, hessians, params))
        ctx.progress(number + 1, count, stage="quantize")
    for number, node in enumerate(layers, len(products)):
        for position, axis in _CHANNELS[node.op_type]:
            weight = _array(known[node.input[position]], source)
            errors.append(_error(_replace_by_channel(proto, node, position, weight, axis), weight))
        ctx.progress(number + 1, count, stage="quantize")
    for number, name in enumerate(embeddings, count - len(embeddings)):
        rows = _array(known[name], source)
        errors.append(_replace_table(proto, name, rows, params))
        ctx.progress(number + 1, count, stage="quantize")
    _share_equal(proto, known)
    files.drop_dead(proto)
    if params.format == "nbits" and all(entry.domain != DOMAIN for entry in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    files.write(proto, ctx.out, weights_from=source.parent)
    return {
        "layers": count,
        "shared_tables": len({product.table for product in products if product.table}),
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


def _products(proto: ModelProto, chosen: list[NodeProto], skipped: set[str], place: Path) -> list[Product]:
    """The products with a constant float weight, each with the table of embeddings that shares it."""
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    made_by = {name: node for node in proto.graph.node for name in node.output if name}
    found = [(node, weight) for node in chosen if (weight := product_weight(node, tensors, made_by)) is not None]
    plain = [
        (node, weight)
        for node, weight in found
        if tensors[weight.name].data_type == TensorProto.FLOAT and (node.op_type == "MatMul" or _plain_gemm(node))
    ]
    shared = tables(proto, [weight for _, weight in plain], place)
    kept = {name for name in shared.values() if any(each.name in skipped for each in lookups(proto, name))}
    return [
        Product(node, weight.name, weight.flipped, table if (table := shared.get(weight)) not in kept else None)
        for node, weight in plain
    ]


def _plain_gemm(node: NodeProto) -> bool:
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return values.get("alpha", 1.0) == 1.0 and values.get("beta", 1.0) == 1.0 and not values.get("transA", 0)


def _fits(node: NodeProto, tensors: dict[str, TensorProto]) -> bool:
    """Whether a layer's weights are float constants, each with a scale per output channel."""
    places = [position for position, _ in _CHANNELS.get(node.op_type, ()) if position < len(node.input)]
    weights = [tensors.get(node.input[position]) for position in places]
    return bool(weights) and all(each is not None and each.data_type == TensorProto.FLOAT for each in weights)


def _array(tensor: TensorProto, source: Path) -> np.ndarray:
    return np.asarray(numpy_helper.to_array(tensor, str(source.parent)), np.float32)


def _error(made: np.ndarray, weight: np.ndarray) -> float:
    return float(np.linalg.norm(made - weight) / max(float(np.linalg.norm(weight)), 1e-12))


def _hessians(ctx: Context, source: Path, products: list[Product], params: QuantizeWeights) -> dict[str, np.ndarray]:
    """Input name → Xᵀ·X over the samples, K×K."""
    names = [product.node.input[0] for product in products if product.table is None]
    if params.method != "gptq" or params.data is None or not names:
        return {}
    given = feeds(ctx, source, params.data, samples=params.samples, batch_size=params.batch_size)
    sums: dict[str, np.ndarray] = {}
    for values in observed(ctx, source, names, given, "observe"):
        for name, value in values.items():
            rows = value.reshape(-1, value.shape[-1]).astype(np.float64)
            sums[name] = sums.get(name, 0.0) + rows.T @ rows
    return sums


def _replace(
    proto: ModelProto, product: Product, rows: np.ndarray, hessians: dict[str, np.ndarray], params: QuantizeWeights
) -> float:
    """The error of the weight that a product now has. ``rows``: outputs × inputs. A weight that is a table of
    embeddings too is rounded to nearest: lookups have whole zero points, and read it row by row, for which gptq's
    corrections along a row are nothing but noise."""
    options = {"bits": params.bits, "block": params.block_size}
    if product.table is None and params.method == "gptq":
        blocks = gptq(rows, hessians[product.node.input[0]], **options, symmetric=params.symmetric)
    elif product.table is None and params.method == "hqq":
        blocks = hqq(rows, **options)
    else:
        blocks = round_to_nearest(rows, **options, symmetric=params.symmetric)
    replace_product(proto, product, blocks, params.format, params.symmetric)
    if product.table is not None:
        replace_lookups(proto, product, blocks, params.format, params.symmetric)
    return _error(blocks.weight(), rows)


def _replace_table(proto: ModelProto, name: str, rows: np.ndarray, params: QuantizeWeights) -> float:
    """The error of a table of embeddings that now has blocks along its rows. Lookups have whole zero points."""
    blocks = round_to_nearest(rows, bits=params.bits, block=params.block_size, symmetric=params.symmetric)
    replace_table(proto, name, blocks, params.format, params.symmetric)
    return _error(blocks.weight(), rows)


def _replace_by_channel(proto: ModelProto, node: NodeProto, position: int, weight: np.ndarray, axis: int) -> np.ndarray:
    """An int8 weight with a scale per output channel (of both directions), dequantized before the node."""
    others = tuple(each for each in range(weight.ndim) if each != axis)
    scales = np.abs(weight).max(axis=others) / 127
    scales = np.where(scales == 0, 1.0, scales).astype(np.float32)
    shape = [-1 if each == axis else 1 for each in range(weight.ndim)]
    values = np.clip(np.rint(weight / scales.reshape(shape)), -127, 127).astype(np.int8)
    stem = f"{node.input[position]}/{node.name or node.output[0]}"
    names = store(proto, stem, [values, scales, np.zeros(len(scales), np.int8)])
    made = helper.make_node("DequantizeLinear", names, [f"{stem}/float"], f"{stem}/dequantize", axis=axis)
    proto.graph.node.insert(list(proto.graph.node).index(node), made)
    node.input[position] = f"{stem}/float"
    return values * scales.reshape(shape)


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
