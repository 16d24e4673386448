"""Unstructured pruning by magnitude: Han et al., "Learning both Weights and Connections", 2015."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressbuild.api import Context

from ..model.module import load_plain, prepare, save_model
from ..model.selection import other_layers
from .masks import lowest, prunable_weights, zero
from .params.magnitude import PruneMagnitude
from .zeroed import check_lowest, check_zeroed, check_zeros, ranked

__all__ = ["prune"]


def prune(ctx: Context, model: Path, params: PruneMagnitude) -> dict[str, Any]:
    """Zero the smallest weights. Their tensors are marked sparse, so a later training keeps the zeros."""
    prepare(ctx)
    module, description = load_plain(ctx, model)
    weights = prunable_weights(module, params.ignore, params.overrides)
    if others := other_layers(module):
        ctx.log.warning("left alone: %s", others)
    magnitudes = {name: weight.detach().abs() for name, weight in weights.items()}
    facts = zero(weights, lowest(magnitudes, params.sparsity, params.scope, params.overrides))
    names = sorted({*description.sparse, *weights})
    save_model(ctx, module, description, [{"op": "sparse", "parameters": names}])
    before, after = check_zeroed(model, ctx.out, weights, "prune.magnitude")
    groups = ranked(weights, params.sparsity, params.scope, params.overrides)
    check_zeros(ctx.out, groups, "prune.magnitude")
    for group in groups:
        check_lowest(before, after, group, "prune.magnitude")
    return facts
