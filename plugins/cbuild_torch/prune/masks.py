"""Which weights pruning may zero, and which of them it zeroes: exact counts, ties by position, so bytes repeat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compressbuild.api import UserError

from ..model.selection import check_patterns, matching, other_layers, ratio_for

__all__ = ["lowest", "prunable_weights", "zero"]

_PRUNED = (_ConvNd, nn.Linear, nn.MultiheadAttention, nn.RNNBase)


def prunable_weights(
    module: nn.Module, ignore: Iterable[str], overrides: Mapping[str, float]
) -> dict[str, nn.Parameter]:
    """Parameter name → weight of a convolution, linear, attention or recurrent layer; a tied one once.

    UserError for a pattern that matches none, or if none is left.
    """
    layers = (layer for layer in module.modules() if isinstance(layer, _PRUNED))
    owned = {id(value) for layer in layers for value in layer.parameters(recurse=False) if value.dim() > 1}
    weights = {name: parameter for name, parameter in module.named_parameters() if id(parameter) in owned}
    patterns, others = tuple(ignore), other_layers(module)
    check_patterns("ignore", patterns, weights)
    check_patterns("overrides", overrides, weights)
    left = {name: weight for name, weight in weights.items() if not matching(name, patterns)}
    if not left:
        raise UserError(
            "the model has no weights to prune in convolution, linear, attention or recurrent layers",
            hint="'ignore:' excludes them all" if patterns else others or "use quantization or distillation",
        )
    return left


def lowest(
    scores: Mapping[str, Tensor], sparsity: float, scope: str, overrides: Mapping[str, float]
) -> dict[str, Tensor]:
    """Name → mask, true where a score is among the lowest ``sparsity`` of all (``global``) or of its tensor.

    A tensor that ``overrides`` names has its own share, and no part in the global ranking.
    """
    masks: dict[str, Tensor] = {}
    shared: dict[str, Tensor] = {}
    for name, score in scores.items():
        share = ratio_for(name, overrides)
        if share is None and scope == "global":
            shared[name] = score
        else:
            masks.update(_lowest_together({name: score}, sparsity if share is None else share))
    if shared:
        masks.update(_lowest_together(shared, sparsity))
    return masks


def _lowest_together(scores: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Exactly round(share · count) of them; of equal ones the first."""
    flat = torch.cat([score.detach().flatten() for score in scores.values()])
    mask = torch.zeros(flat.numel(), dtype=torch.bool)
    mask[torch.argsort(flat, stable=True)[: round(share * flat.numel())]] = True
    parts = mask.split([score.numel() for score in scores.values()])
    return {name: part.view(score.shape) for (name, score), part in zip(scores.items(), parts, strict=True)}


@torch.no_grad()
def zero(weights: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor]) -> dict[str, float]:
    """Zero what the masks say. Returns facts: ``zeros``, ``weights`` and ``sparsity``."""
    for name, weight in weights.items():
        weight.masked_fill_(masks[name], 0.0)
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    count = sum(weight.numel() for weight in weights.values())
    return {"zeros": zeros, "weights": count, "sparsity": zeros / count}
