"""N:M sparsity: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021 (2:4, for sparse tensor cores)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from compressbuild.api import Context, UserError

from ..model.module import load_plain, prepare, save_model
from ..model.selection import check_patterns, matching, other_layers
from .masks import zero
from .params.nm import PruneNm
from .zeroed import check_pattern, check_zeroed

__all__ = ["n_of_m", "prune"]


def prune(ctx: Context, model: Path, params: PruneNm) -> dict[str, Any]:
    """Zero weights in the pattern; the tensors are marked sparse. Returns prune.magnitude's facts, and ``skipped``."""
    if params.n >= params.m:
        raise UserError(f"'n: {params.n}' of 'm: {params.m}' leaves every weight", hint="n must be smaller than m")
    prepare(ctx)
    module, description = load_plain(ctx, model)
    every = _weights(module)
    check_patterns("ignore", params.ignore, every)
    wanted = {name: weight for name, weight in every.items() if not matching(name, params.ignore)}
    weights = {name: weight for name, weight in wanted.items() if weight.shape[1] % params.m == 0}
    others = other_layers(module)
    if not weights:
        inputs = ", ".join(f"{name} has {weight.shape[1]}" for name, weight in list(wanted.items())[:4]) or "none"
        raise UserError(
            f"no convolution or linear layer has a multiple of {params.m} inputs ({inputs})",
            hint=others or "prune.magnitude fits every shape",
        )
    if others:
        ctx.log.warning("left alone: %s", others)
    skipped = sorted(set(wanted) - set(weights))
    if skipped:
        ctx.log.info("left alone, because their inputs are not a multiple of %d: %s", params.m, ", ".join(skipped))
    facts = zero(weights, {name: ~n_of_m(weight.detach(), params.n, params.m) for name, weight in weights.items()})
    save_model(ctx, module, description, [{"op": "sparse", "parameters": sorted({*description.sparse, *weights})}])
    before, after = check_zeroed(model, ctx.out, weights, "prune.nm")
    check_pattern(before, after, weights, params.n, params.m, "prune.nm")
    return {**facts, "skipped": skipped}


def _weights(module: nn.Module) -> dict[str, nn.Parameter]:
    """Parameter name → weight, outputs × inputs × …; what is multiplied with the inputs in one product."""
    owned: set[int] = set()
    for layer in module.modules():
        if isinstance(layer, _ConvNd | nn.Linear | nn.MultiheadAttention) and not isinstance(layer, _ConvTransposeNd):
            own = layer.named_parameters(recurse=False)
            owned.update(id(value) for name, value in own if name.endswith("weight"))
    return {name: parameter for name, parameter in module.named_parameters() if id(parameter) in owned}


def n_of_m(weight: Tensor, n: int, m: int) -> Tensor:
    """Mask of the ``n`` largest magnitudes of each ``m`` neighbours along axis 1; of equal ones the first."""
    last = weight.abs().movedim(1, -1)
    grouped = last.reshape(*last.shape[:-1], -1, m)
    order = torch.argsort(grouped, dim=-1, descending=True, stable=True)
    mask = torch.zeros(grouped.shape, dtype=torch.bool)
    mask.scatter_(-1, order[..., :n], value=True)
    return mask.reshape(last.shape).movedim(-1, 1)
