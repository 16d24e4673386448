"""The parity check of backends that compile ONNX: against ONNX Runtime on the CPU, with every optimisation off
and integer products in floats."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cbuild_kit.parity import Precision, check_parity
from onnx import ModelProto, TensorProto, numpy_helper

from compressbuild.api import Context, Parity, Runner

from . import files
from .exact import reference
from .lookups import table_rows
from .precision import INTEGER
from .suppression import Without, kept_only

__all__ = ["check", "precision", "random_node"]

_QUANTIZED = INTEGER | {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulNBits"}
_RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
_TYPES: dict[int, Precision] = {TensorProto.BFLOAT16: "bf16", TensorProto.FLOAT16: "fp16"}


def precision(model: Path) -> Precision:
    """The coarsest arithmetic in an ONNX file."""
    proto = files.read(model, weights=False)
    for node in files.nodes(proto):
        if node.op_type in _QUANTIZED or node.op_type.startswith("QLinear"):
            return "int8"
    present = files.types(proto)
    return next((name for kind, name in _TYPES.items() if kind in present), "fp32")


def random_node(model: ModelProto) -> str | None:
    """A node whose result differs from run to run."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in files.nodes(model):
        training = constants.get(node.input[2]) if len(node.input) > 2 else None
        drops = node.op_type == "Dropout" and training is not None and bool(numpy_helper.to_array(training))
        if drops or node.op_type in _RANDOM:
            return f"node '{node.name}' ({node.op_type})"
    return None


def check(
    ctx: Context,
    settings: Parity,
    source: Path,
    compiled: Callable[[], Runner],
    *,
    name: str,
    coarsest: Precision | None = None,
    saturates: bool = False,
) -> dict[str, Any]:
    """Facts of :func:`cbuild_kit.parity.check_parity`. ``source``: the ``.onnx`` file that was compiled.
    ``coarsest``: the precision that the backend computes in, where that is not the model's. ``saturates``: as in the
    backend's record."""
    if not settings.check:
        return {"parity": "not checked"}
    proto = files.read(source, weights=False)
    chance = random_node(proto)
    if chance is not None:
        return {"parity": f"not checked: {chance} draws random numbers, which differ between runtimes"}
    found = precision(source) if coarsest is None else coarsest
    kept = kept_only(proto)
    if len(kept) == len(proto.graph.output):
        return {"parity": "not checked: every output lists what NonMaxSuppression kept"}

    def exactly(*, fused: bool = False) -> Runner:
        exact = reference(source, ctx.scratch / "exact", threads=ctx.threads, fused=fused)
        return Without(exact, kept) if kept else exact

    again = partial(exactly, fused=True) if found == "int8" else None
    checked = check_parity(
        ctx,
        settings,
        found,
        exactly,
        compiled,
        name=name,
        rows=table_rows(proto),
        again=again,
        saturates=saturates,
    )
    return {**checked, **({"not_compared": kept} if kept else {})}
