"""Matrix products on integer weights in blocks, and lookups in tables of embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ..model.shared import lookups
from .blocks import Blocks

__all__ = ["DOMAIN", "Product", "replace_lookups", "replace_product", "replace_table", "store"]

DOMAIN = "com.microsoft"


@dataclass(frozen=True, slots=True)
class Product:
    """A MatMul or Gemm, and the constant that is its weight. ``flipped``: that is inputs × outputs. ``table``: the
    embeddings that hold the same numbers, whose lookups read what is stored for the product."""

    node: NodeProto
    weight: str
    flipped: bool
    table: str | None


def replace_product(proto: ModelProto, product: Product, blocks: Blocks, form: str, symmetric: bool) -> None:
    """A product on blocks instead, and an addition where a Gemm has a bias. ``form``: nbits or qdq."""
    node = product.node
    result, bias = node.output[0], node.input[2] if len(node.input) > 2 else ""
    output = f"{result}/product" if bias else result
    write = _nbits if form == "nbits" else _dequantize
    made = write(proto, product, blocks, output, symmetric)
    if bias:
        made.append(helper.make_node("Add", [output, bias], [result], f"{node.name}/bias"))
    _put_instead(proto, node, made)


def replace_lookups(proto: ModelProto, product: Product, blocks: Blocks, form: str, symmetric: bool) -> None:
    """The lookups of a product's table read what :func:`replace_product` stored."""
    assert product.table is not None
    stem = _stem(product)
    for gather in lookups(proto, product.table):
        if form == "qdq":
            gather.input[0] = f"{stem}/float"
            continue
        _put_instead(proto, gather, _rows(proto, gather, stem, blocks, symmetric))


def replace_table(proto: ModelProto, table: str, blocks: Blocks, form: str, symmetric: bool) -> None:
    """The lookups in a table that no product shares read its rows in blocks. ``form``: nbits or qdq."""
    if form == "qdq":
        values, scales, zeros = _signed(blocks, symmetric)
        made = _store_blocks(proto, table, blocks, (values, scales, zeros), symmetric, axis=1)
        proto.graph.node.insert(0, made)
        for gather in lookups(proto, table):
            gather.input[0] = made.output[0]
        return
    constants = [_pack(blocks.values, blocks.bits).reshape(len(blocks.values), -1), blocks.scales]
    store(proto, table, constants if symmetric else [*constants, _pack(blocks.zeros, blocks.bits)])
    for gather in lookups(proto, table):
        _put_instead(proto, gather, _rows(proto, gather, table, blocks, symmetric))


def _put_instead(proto: ModelProto, node: NodeProto, made: list[NodeProto]) -> None:
    place = list(proto.graph.node).index(node)
    del proto.graph.node[place]
    for offset, each in enumerate(made):
        proto.graph.node.insert(place + offset, each)


def _stem(product: Product) -> str:
    """How the names of its constants begin."""
    return product.table or f"{product.node.input[1]}/{product.node.name or product.node.output[0]}"


def _nbits(proto: ModelProto, product: Product, blocks: Blocks, output: str, symmetric: bool) -> list[NodeProto]:
    """MatMulNBits of ONNX Runtime: weights N × blocks × bytes, zero points packed along the blocks. Constants that a
    lookup reads too have a row for each output; the product's weights are a view of them."""
    node, stem, zeros = product.node, _stem(product), blocks.zeros
    constants = [_pack(blocks.values, blocks.bits), blocks.scales]
    if not symmetric:
        constants.append(zeros if zeros.dtype == np.float32 else _pack(zeros, blocks.bits))
    shape, made = constants[0].shape, []
    if product.table is None:
        constants[1:] = [each.reshape(-1) for each in constants[1:]]
    else:
        constants[0] = constants[0].reshape(len(blocks.values), -1)
    fresh = not _has(proto, f"{stem}/values")
    names = store(proto, stem, constants)
    if product.table is not None:
        if fresh:
            proto.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f"{stem}/shape"))
            made.append(helper.make_node("Reshape", [names[0], f"{stem}/shape"], [f"{stem}/blocks"], f"{stem}/blocks"))
        names[0] = f"{stem}/blocks"
    sizes = {"K": blocks.inputs, "N": len(blocks.values), "bits": blocks.bits, "block_size": blocks.size}
    inputs = [node.input[0], *names]
    return [*made, helper.make_node("MatMulNBits", inputs, [output], node.name or output, domain=DOMAIN, **sizes)]


def _rows(proto: ModelProto, gather: NodeProto, stem: str, blocks: Blocks, symmetric: bool) -> list[NodeProto]:
    """GatherBlockQuantized on the constants of a MatMulNBits; what fills the last block is cut off."""
    name, result = gather.name or gather.output[0], gather.output[0]
    parts = ("scales",) if symmetric else ("scales", "zeros")
    read = [f"{stem}/values", gather.input[1], *(f"{stem}/{part}" for part in parts)]
    full = result if blocks.inputs % blocks.size == 0 else f"{result}/full"
    attributes = {"bits": blocks.bits, "block_size": blocks.size, "gather_axis": 0, "quantize_axis": 1}
    made = [helper.make_node("GatherBlockQuantized", read, [full], name, domain=DOMAIN, **attributes)]
    if full != result:
        bounds = (("start", 0), ("end", blocks.inputs), ("axis", -1))
        proto.graph.initializer.extend(
            numpy_helper.from_array(np.array([value], np.int64), f"{full}/{part}") for part, value in bounds
        )
        made.append(helper.make_node("Slice", [full, *(f"{full}/{part}" for part, _ in bounds)], [result], full))
    return made


def _pack(values: np.ndarray, bits: int) -> np.ndarray:
    """Two 4-bit values in a byte along the last axis, the first in the low half."""
    if bits == 8:
        return values
    even = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, values.shape[-1] % 2)])
    packed: np.ndarray = even[..., ::2] | (even[..., 1::2] << 4)
    return packed


def _dequantize(proto: ModelProto, product: Product, blocks: Blocks, output: str, symmetric: bool) -> list[NodeProto]:
    """A DequantizeLinear in blocks along the inputs, and a MatMul. The weight is inputs × outputs; outputs × inputs
    with a Transpose after it where a lookup reads it too."""
    node, stem = product.node, _stem(product)
    weight = f"{stem}/float" if product.table is None else f"{stem}/turned"
    multiply = helper.make_node("MatMul", [node.input[0], weight], [output], node.name or output)
    if _has(proto, f"{stem}/values"):  # of another product with the same table
        return [multiply]
    values, scales, zeros = _signed(blocks, symmetric)
    if product.table is None:
        values, scales, zeros = values.T, scales.T, zeros.T
    axis = 0 if product.table is None else 1
    made = [_store_blocks(proto, stem, blocks, (values, scales, zeros), symmetric, axis=axis)]
    if product.table is not None:
        made.append(helper.make_node("Transpose", [f"{stem}/float"], [weight], f"{stem}/turn", perm=[1, 0]))
    return [*made, multiply]


def _signed(blocks: Blocks, symmetric: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values (outputs × inputs), scales and zero points; around 0 where they are symmetric."""
    values = blocks.values.reshape(len(blocks.values), -1)[:, : blocks.inputs].astype(np.int16)
    zeros = blocks.zeros.astype(np.int16)
    return (values - 2 ** (blocks.bits - 1), blocks.scales, zeros * 0) if symmetric else (values, blocks.scales, zeros)


def _store_blocks(
    proto: ModelProto, stem: str, blocks: Blocks, constants: tuple[np.ndarray, ...], symmetric: bool, *, axis: int
) -> NodeProto:
    """The DequantizeLinear that gives ``{stem}/float``; its constants are stored. ``axis``: along which blocks lie."""
    values, scales, zeros = constants
    kinds = {(4, False): "UINT4", (4, True): "INT4", (8, False): "UINT8", (8, True): "INT8"}
    kind = getattr(TensorProto, kinds[blocks.bits, symmetric])
    proto.graph.initializer.extend(
        [
            helper.make_tensor(f"{stem}/values", kind, values.shape, values.reshape(-1).tolist()),
            numpy_helper.from_array(np.ascontiguousarray(scales), f"{stem}/scales"),
            helper.make_tensor(f"{stem}/zeros", kind, zeros.shape, zeros.reshape(-1).tolist()),
        ]
    )
    inputs = [f"{stem}/{part}" for part in ("values", "scales", "zeros")]
    options = {"axis": axis, "block_size": blocks.size}
    return helper.make_node("DequantizeLinear", inputs, [f"{stem}/float"], f"{stem}/dequantize", **options)


def store(proto: ModelProto, stem: str, constants: list[np.ndarray]) -> list[str]:
    """Add values, scales and perhaps zero points as initializers, unless they are there; returns their names."""
    names = [f"{stem}/{part}" for part in ("values", "scales", "zeros")[: len(constants)]]
    if not _has(proto, names[0]):
        proto.graph.initializer.extend(
            numpy_helper.from_array(np.ascontiguousarray(value), name)
            for value, name in zip(constants, names, strict=True)
        )
    return names


def _has(proto: ModelProto, name: str) -> bool:
    return any(tensor.name == name for tensor in proto.graph.initializer)
