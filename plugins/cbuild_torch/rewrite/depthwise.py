"""Convolutions as depthwise and pointwise ones, fitted by SVD.

Howard et al., "MobileNets", 2017, for the form; Guo et al., "Network Decoupling: From Regular to Depthwise Separable
Convolutions", BMVC 2018, for the fit: per input channel the best sum of ``multiplier`` depthwise × pointwise products.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.module import prepare
from ..model.selection import check_patterns, matching
from ..model.structure import EditedModel, weight_names
from .fitting import check_split
from .params.depthwise import ReplaceDepthwise

__all__ = ["replace"]

_FEWEST = 8  # input channels; with fewer, as in a first layer, too few filters are left to see with


def replace(ctx: Context, model: Path, params: ReplaceDepthwise) -> dict[str, Any]:
    """Replace every k×k convolution that gets cheaper; returns layers, energy kept, MACs and parameters."""
    prepare(ctx)
    edited = EditedModel(ctx, model)
    layers = _layers(edited, params)
    before = edited.cost()
    kept: dict[str, float] = {}
    used = edited.uses()
    for done, (name, layer) in enumerate(layers.items()):
        separable, energy = _separable(layer, params.multiplier)
        check_split(name, layer, separable, 1 - energy, used[name].shape)
        edited.replace(name, separable)
        kept[name] = round(energy, 6)
        ctx.progress(done + 1, len(layers))
    edited.save(hint="'ignore:' names layers whose weights the model's code reads without calling them")
    after = edited.cost()
    return {
        "replaced": len(kept),
        "energy": kept,
        "macs": after[0],
        "macs_before": before[0],
        "parameters": after[1],
        "parameters_before": before[1],
    }


def _layers(edited: EditedModel, params: ReplaceDepthwise) -> dict[str, Any]:
    names, seen = weight_names(edited.module), edited.uses()
    found: dict[str, Any] = {
        name: layer
        for name, layer in edited.module.named_modules()
        if type(layer) is nn.Conv2d
        and name in seen
        and layer.groups == 1
        and layer.in_channels >= _FEWEST
        and layer.weight[0, 0].numel() > 1
        and len(names[id(layer.weight)]) == 1
    }
    if not found:
        raise UserError(
            f"the model has no ungrouped k×k convolution of {_FEWEST} input channels or more",
            hint="factorize.lowrank fits linear layers, prune.channels 1×1 convolutions",
        )
    check_patterns("layers", params.layers, found)
    check_patterns("ignore", params.ignore, found)
    chosen = {n: c for n, c in found.items() if matching(n, params.layers) and not matching(n, params.ignore)}
    cheaper = {name: layer for name, layer in chosen.items() if _saves(layer, params.multiplier)}
    if not cheaper:
        raise UserError("no convolution gets cheaper", hint="lower 'multiplier:', or check 'layers:' and 'ignore:'")
    return cheaper


def _saves(layer: nn.Conv2d, multiplier: int) -> bool:
    """Whether both new layers cost fewer MACs together; the first has as many positions as the second."""
    size = layer.weight[0, 0].numel()
    return multiplier <= size and multiplier * (size + layer.out_channels) < size * layer.out_channels


@torch.no_grad()
def _separable(layer: nn.Conv2d, multiplier: int) -> tuple[nn.Sequential, float]:
    """Depthwise then pointwise, and the share of the squared weights that they keep."""
    weight = layer.weight.double()  # out × in × h × w
    outputs, inputs = weight.shape[:2]
    left, values, right = torch.linalg.svd(weight.permute(1, 0, 2, 3).flatten(2), full_matrices=False)  # of each input
    multiplier = min(multiplier, values.shape[1])
    root = values[:, :multiplier].sqrt()
    depth: Tensor = root[:, :, None] * right[:, :multiplier]  # in × multiplier × h·w
    point: Tensor = (left[:, :, :multiplier] * root[:, None, :]).permute(1, 0, 2)  # out × in × multiplier
    energy = float(values[:, :multiplier].square().sum() / values.square().sum().clamp_min(1e-30))
    first = nn.Conv2d(
        inputs,
        inputs * multiplier,
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        groups=inputs,
        bias=False,
        padding_mode=layer.padding_mode,
    )
    second = nn.Conv2d(inputs * multiplier, outputs, 1, bias=layer.bias is not None)
    for made, values_of in ((first, depth), (second, point)):
        made.to(layer.weight.dtype)
        made.weight.copy_(values_of.reshape(made.weight.shape))
    if layer.bias is not None and second.bias is not None:
        second.bias.copy_(layer.bias)
    return nn.Sequential(first, second), energy
