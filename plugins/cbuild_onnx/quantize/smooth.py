"""SmoothQuant: Xiao et al., ICML 2023 (arXiv:2211.10438): outliers of activations move into the weights.

What a LayerNormalization gives to matrix products is divided, channel by channel, by
s = max|X|^alpha / max|W|^(1 − alpha), and the rows of the weights are multiplied by it: the same function, but easier
to quantize.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from compressbuild.api import Context, UserError

from ..model import files
from .calibration import observed

__all__ = ["smooth"]

_SMALLEST = 1e-5


@dataclass(frozen=True, slots=True)
class _Site:
    """A normalisation and the products that read it, maybe transposed. ``alone``: nothing else reads it."""

    norm: NodeProto
    products: tuple[NodeProto, ...]
    alone: bool


def smooth(
    ctx: Context, model: Path, given: Iterable[tuple[dict[str, np.ndarray], int]], alpha: float
) -> tuple[Path, int]:
    """A copy of ``model`` in the scratch directory, smoothed on the batches ``given``, and at how many places."""
    proto = files.read(model)
    sites = list(_sites(proto))
    if not sites:
        raise UserError(
            "nothing to smooth: no product with constant weights reads a LayerNormalization",
            hint="leave out 'smooth:'; it is for transformers",
        )
    largest: dict[str, np.ndarray] = {}
    for values in observed(ctx, model, [site.norm.output[0] for site in sites], given, "smooth"):
        for name, value in values.items():
            found = np.abs(value).reshape(-1, value.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest.get(name, found), found)
    for site in sites:
        _apply(proto, site, largest[site.norm.output[0]], alpha)
    place = ctx.scratch / "smoothed"
    place.mkdir(exist_ok=True)
    return files.write(proto, place), len(sites)


def _sites(proto: ModelProto) -> Iterator[_Site]:
    constants = {tensor.name for tensor in proto.graph.initializer}
    readers: dict[str, list[NodeProto]] = {}
    for node in proto.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in proto.graph.output}
    for norm in proto.graph.node:
        if norm.op_type != "LayerNormalization" or _axis(norm) != -1:
            continue
        products: list[NodeProto] = []
        others = norm.output[0] in outputs or any(norm.output[1:])
        pending = [(norm.output[0], node) for node in readers.get(norm.output[0], ())]
        while pending:
            name, node = pending.pop(0)
            if _is_product(node, name, constants):
                products.append(node)
            elif _keeps_last_axis(node) and node.output[0] not in outputs:
                pending.extend((node.output[0], reader) for reader in readers.get(node.output[0], ()))
            else:
                others = True
        own = all(len(readers[name]) == 1 for name in norm.input[1:] if name)
        if products:
            yield _Site(norm, tuple(products), not others and own and set(norm.input[1:]) <= constants)


def _axis(norm: NodeProto) -> int:
    return next((attribute.i for attribute in norm.attribute if attribute.name == "axis"), -1)


def _is_product(node: NodeProto, source: str, constants: set[str]) -> bool:
    if node.op_type not in ("MatMul", "Gemm") or node.input[0] != source or node.input[1] not in constants:
        return False
    return not _flag(node, "transA")


def _keeps_last_axis(node: NodeProto) -> bool:
    order = next((attribute.ints for attribute in node.attribute if attribute.name == "perm"), ())
    return node.op_type == "Transpose" and len(order) > 0 and order[-1] == len(order) - 1


def _flag(node: NodeProto, name: str) -> bool:
    return any(attribute.name == name and attribute.i for attribute in node.attribute)


def _apply(proto: ModelProto, site: _Site, largest: np.ndarray, alpha: float) -> None:
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    weights = [_rows(numpy_helper.to_array(tensors[node.input[1]]), node) for node in site.products]
    rows = np.max([np.abs(weight).reshape(-1, *weight.shape[-2:]).max(axis=(0, 2)) for weight in weights], axis=0)
    scale = np.maximum(largest, _SMALLEST) ** alpha / np.maximum(rows, _SMALLEST) ** (1 - alpha)
    scale = np.maximum(scale, _SMALLEST).astype(np.float32)
    for number, (node, weight) in enumerate(zip(site.products, weights, strict=True)):
        name = f"{node.input[1]}/smooth/{site.norm.output[0]}/{number}"
        proto.graph.initializer.append(numpy_helper.from_array(_rows(weight * scale[:, None], node).copy(), name))
        node.input[1] = name
    if site.alone:
        for name in filter(None, site.norm.input[1:]):
            tensors[name].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensors[name]) / scale, name))
        return
    factor = f"{site.norm.output[0]}/smooth_factor"
    proto.graph.initializer.append(numpy_helper.from_array(1 / scale, factor))
    for name in dict.fromkeys(node.input[0] for node in site.products):
        proto.graph.node.append(helper.make_node("Mul", [name, factor], [f"{name}/smooth"], f"{name}/smooth_by"))
        for node in site.products:
            if node.input[0] == name:
                node.input[0] = f"{name}/smooth"


def _rows(weight: np.ndarray, node: NodeProto) -> np.ndarray:
    """The weight with input channels as rows, or back."""
    return weight.T if _flag(node, "transB") else weight
