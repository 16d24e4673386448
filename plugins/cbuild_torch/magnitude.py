"""Unstructured pruning by magnitude: Han et al., "Learning both Weights and Connections", 2015."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compressbuild.api import Context, UserError

from .description import ModelDescription
from .module import load_model, prepare, save_model
from .params import PruneMagnitude
from .selection import check_patterns, matching, ratio_for

__all__ = ["prune"]

_PRUNED = (_ConvNd, nn.Linear, nn.MultiheadAttention, nn.RNNBase)


def prune(ctx: Context, model: Path, params: PruneMagnitude) -> dict[str, Any]:
    """Zero the smallest weights. Their tensors are marked sparse, so a later training keeps the zeros."""
    prepare(ctx)
    module = load_model(ctx, model)
    weights = _weights(module)
    check_patterns("ignore", params.ignore, weights)
    check_patterns("overrides", params.overrides, weights)
    weights = {name: weight for name, weight in weights.items() if not matching(name, params.ignore)}
    if not weights:
        raise UserError(
            "the model has no weights to prune in convolution, linear, attention or recurrent layers",
            hint="'ignore:' leaves none" if params.ignore else "quantization or distillation may fit it",
        )
    shared = {name: weight for name, weight in weights.items() if ratio_for(name, params.overrides) is None}
    for name, weight in weights.items():
        ratio = ratio_for(name, params.overrides)
        if ratio is not None or params.scope == "local":
            _zero_smallest([weight], params.sparsity if ratio is None else ratio)
    if params.scope == "global" and shared:
        _zero_smallest(list(shared.values()), params.sparsity)
    names = sorted({*ModelDescription.read(model).sparse, *weights})
    save_model(ctx, module, model, [{"op": "sparse", "parameters": names}])
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    count = sum(weight.numel() for weight in weights.values())
    return {"zeros": zeros, "weights": count, "sparsity": zeros / count}


def _weights(module: nn.Module) -> dict[str, nn.Parameter]:
    """Parameter name → weight of a convolution, linear, attention or recurrent layer; a tied one once."""
    layers = (layer for layer in module.modules() if isinstance(layer, _PRUNED))
    owned = {id(value) for layer in layers for value in layer.parameters(recurse=False) if value.dim() > 1}
    return {name: parameter for name, parameter in module.named_parameters() if id(parameter) in owned}


@torch.no_grad()
def _zero_smallest(weights: list[nn.Parameter], sparsity: float) -> None:
    """Zero exactly round(sparsity · count) of the weights, the smallest of all together; of equal ones the first."""
    magnitudes: Tensor = torch.cat([weight.abs().flatten() for weight in weights])
    count = round(sparsity * magnitudes.numel())
    mask = torch.zeros(magnitudes.numel(), dtype=torch.bool)
    mask[torch.argsort(magnitudes, stable=True)[:count]] = True
    for weight, zero in zip(weights, mask.split([weight.numel() for weight in weights]), strict=True):
        weight.masked_fill_(zero.view_as(weight), 0.0)
