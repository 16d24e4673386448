"""Weights of a converted model, stored as the platform asks: coremltools.optimize.coreml.

https://apple.github.io/coremltools/docs-guides/source/opt-overview.html
"""

from __future__ import annotations

from typing import Any

from coremltools.optimize import coreml as optimize

from compressbuild.api import UserError

from .artifact import operations
from .settings import CoreMlSettings

__all__ = ["compress", "stored"]

_SPARSE = ("constexpr_sparse_to_dense",)


def compress(model: Any, settings: CoreMlSettings) -> tuple[Any, dict[str, Any]]:
    """The model with its weights stored as asked, and facts: see :func:`stored`. UserError if none is."""
    least = settings.weight_threshold
    if settings.sparse:
        zeros = optimize.OpThresholdPrunerConfig(threshold=0.0, minimum_sparsity_percentile=0.5, weight_threshold=least)
        model = optimize.prune_weights(model, optimize.OptimizationConfig(global_config=zeros))
        if not stored(model)["compressed_tensors"]:
            raise UserError(
                "no weight of this model is zero in half of its elements",
                hint="prune it before, with prune.magnitude or prune.nm; weights of fewer elements than "
                f"'weight-threshold: {least}' do not count",
            )
    kind, _, bits = settings.weights.partition("-")
    if kind == "float":
        return (model, stored(model)) if settings.sparse else (model, {})
    each: Any
    if kind == "palette":
        each = optimize.OpPalettizerConfig(mode="kmeans", nbits=int(bits), weight_threshold=least)
        apply = optimize.palettize_weights
    else:
        each = optimize.OpLinearQuantizerConfig(
            mode="linear_symmetric",
            dtype=kind,
            granularity="per_block" if kind == "int4" else "per_channel",
            block_size=settings.block_size,
            weight_threshold=least,
        )
        apply = optimize.linear_quantize_weights
    found = apply(model, optimize.OptimizationConfig(global_config=each), joint_compression=settings.sparse)
    facts = stored(found)
    if not facts["compressed_tensors"]:
        raise UserError(
            f"coremltools stores no weight of this model as {settings.weights}",
            hint=f"it takes convolutions, linear layers and LSTMs of 'weight-threshold: {least}' or more elements"
            + (f", whose inputs are a multiple of 'block-size: {settings.block_size}'" if kind == "int4" else ""),
        )
    return found, facts


def stored(model: Any) -> dict[str, int]:
    """Facts: ``compressed_tensors``, weights that are not plain floats, and ``sparse_tensors`` among them, if any."""
    types = operations(model.get_spec())
    sparse = sum(each in _SPARSE for each in types)
    inner = sum(each.startswith("constexpr_") and "_sparse" in each for each in types) - sparse
    # What a mask selects may be compressed itself: two operators make one weight.
    total = sum(each.startswith("constexpr_") for each in types) - inner
    return {"compressed_tensors": total} | ({"sparse_tensors": sparse} if sparse else {})
