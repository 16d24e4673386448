"""Low-rank factors of linear and convolution layers by truncated SVD.

Convolutions as Jaderberg et al., "Speeding up Convolutional Neural Networks with Low Rank Expansions", 2014 (spatial),
and Denton et al., "Exploiting Linear Structure Within Convolutional Networks", 2014 (channel).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.module import prepare
from ..model.selection import check_patterns, matching, other_layers
from ..model.structure import EditedModel, Use, weight_names
from .fitting import check_split
from .params.lowrank import FactorizeLowrank, Rank

__all__ = ["factorize"]

_HINT = "'ignore:' names layers whose weights the model's code reads without calling them"
_DEFAULT = 0.5


@dataclass(frozen=True, slots=True)
class _Form:
    """One way to split a layer: ``matrix`` (rows belong to the first factor), and MACs before and for each rank."""

    name: str
    matrix: Tensor
    macs: float
    macs_per_rank: float

    def rank(self, wanted: Rank, values: Tensor, round_to: int) -> int:
        """The rank asked for; the full one at most, and 0 where nothing is saved."""
        if wanted.rank is not None:
            rank = wanted.rank
        elif wanted.energy is not None:
            kept = torch.cumsum(values.square(), 0)
            rank = int(torch.searchsorted(kept, wanted.energy * kept[-1])) + 1
        else:
            saved = _DEFAULT if wanted.ratio is None else wanted.ratio
            rank = int((1 - saved) * self.macs / self.macs_per_rank)
        rank = max(round(rank / round_to), 1) * round_to
        return rank if rank <= len(values) and rank * self.macs_per_rank < self.macs else 0


@dataclass(frozen=True, slots=True)
class _Split:
    form: _Form
    rank: int
    error: float  # share of the squared singular values that is lost
    first: Tensor  # rows × rank
    second: Tensor  # rank × columns


def factorize(ctx: Context, model: Path, params: FactorizeLowrank) -> dict[str, Any]:
    """Factor every layer that gets cheaper; returns ranks, and MACs and parameters before and after."""
    prepare(ctx)
    edited = EditedModel(ctx, model)
    layers = _layers(edited, params)
    if others := other_layers(edited.module):
        ctx.log.warning("left alone: %s", others)
    before = edited.cost()
    ranks: dict[str, int] = {}
    for done, (name, (layer, use)) in enumerate(layers.items()):
        split = _best(layer, use, _wanted(name, params), params)
        if split is not None:
            made = _factors(layer, split)
            check_split(name, layer, made, split.error, use.shape)
            edited.replace(name, made)
            ranks[name] = split.rank
        ctx.progress(done + 1, len(layers))
    if not ranks:
        raise UserError(
            "no layer gets cheaper at the rank asked for", hint="raise 'ratio:', or lower 'energy:' or 'rank:'"
        )
    edited.save(hint=_HINT)
    after = edited.cost()
    return {
        "factored": len(ranks),
        "left": len(layers) - len(ranks),
        "ranks": ranks,
        "macs": after[0],
        "macs_before": before[0],
        "parameters": after[1],
        "parameters_before": before[1],
    }


def _layers(edited: EditedModel, params: FactorizeLowrank) -> dict[str, tuple[nn.Module, Use]]:
    """The layers that can be factored: called as layers, ungrouped, their weights their own."""
    names, seen = weight_names(edited.module), edited.uses()
    found = {
        name: (layer, seen[name])
        for name, layer in edited.module.named_modules()
        if type(layer) in (nn.Linear, nn.Conv1d, nn.Conv2d)
        and name in seen
        and getattr(layer, "groups", 1) == 1
        and len(names[id(layer.weight)]) == 1
    }
    if found:
        check_patterns("layers", params.layers, found)
    check_patterns("ignore", params.ignore, found)
    check_patterns("overrides", params.overrides, found)
    chosen = {n: e for n, e in found.items() if matching(n, params.layers) and not matching(n, params.ignore)}
    if not chosen:
        raise UserError(
            "the model has no linear or ungrouped convolution layer to factor",
            hint=other_layers(edited.module)
            or "recurrent and attention weights cannot be factored; prune.magnitude and quantization fit them",
        )
    return chosen


def _wanted(name: str, params: FactorizeLowrank) -> Rank:
    return next((rank for pattern, rank in params.overrides.items() if matching(name, [pattern])), params)


def _best(layer: Any, use: Use, wanted: Rank, params: FactorizeLowrank) -> _Split | None:
    """The split that loses least where a cost is given, that costs least where an error is; None if none saves."""
    splits = [split for form in _forms(layer, use, params.convolution) if (split := _split(form, wanted, params))]
    if wanted.energy is not None:
        return min(splits, key=lambda s: s.rank * s.form.macs_per_rank, default=None)
    return min(splits, key=lambda s: s.error, default=None)


@torch.no_grad()
def _split(form: _Form, wanted: Rank, params: FactorizeLowrank) -> _Split | None:
    left, values, right = torch.linalg.svd(form.matrix, full_matrices=False)
    rank = form.rank(wanted, values, params.round_to)
    if rank == 0:
        return None
    root = values[:rank].sqrt()  # shared evenly, so neither factor needs a range of its own
    error = float(values[rank:].square().sum() / values.square().sum().clamp_min(1e-30))
    return _Split(form, rank, error, left[:, :rank] * root, root[:, None] * right[:rank])


def _forms(layer: Any, use: Use, convolution: str) -> list[_Form]:
    """Ways to split a layer. MACs are counted from the positions that it and its first factor would compute."""
    weight = layer.weight.detach().to(torch.float64)
    positions = use.outputs / weight.shape[0]
    macs = positions * weight.numel()
    flat = weight.flatten(1)
    forms = []
    kernel = weight.shape[2:]
    if convolution != "spatial" or kernel.numel() == 1 or len(kernel) != 2:
        forms.append(_Form("channel", flat.T, macs, positions * sum(flat.shape)))
    if convolution != "channel" and len(kernel) == 2 and kernel.numel() > 1:
        out, channels, height, width = weight.shape
        matrix = weight.permute(1, 2, 0, 3).reshape(channels * height, out * width)
        first = positions * layer.stride[1] * channels * height  # the first factor keeps the full width
        forms.append(_Form("spatial", matrix, macs, first + positions * out * width))
    return forms


def _factors(layer: Any, split: _Split) -> nn.Sequential:
    weight = layer.weight
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        pair = (nn.Linear(layer.in_features, split.rank, bias=False), nn.Linear(split.rank, layer.out_features, bias))
    else:
        pair = _convolutions(layer, split, bias)
    with torch.no_grad():
        for part, values in zip(pair, _weights(layer, split), strict=True):
            part.to(weight.dtype)
            part.weight.copy_(values.reshape(part.weight.shape))
        if bias:
            pair[1].bias.copy_(layer.bias)
    return nn.Sequential(*pair)


def _weights(layer: Any, split: _Split) -> tuple[Tensor, Tensor]:
    if split.form.name == "channel":
        return split.first.T, split.second.T
    out, _, _, width = layer.weight.shape
    return split.first.T, split.second.reshape(split.rank, out, width).permute(1, 0, 2)


def _convolutions(layer: Any, split: _Split, bias: bool) -> tuple[nn.Module, nn.Module]:
    kind, mode = type(layer), {"padding_mode": layer.padding_mode}
    if split.form.name == "channel":
        shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        return kind(layer.in_channels, split.rank, *shape, bias=False, **mode), kind(
            split.rank, layer.out_channels, 1, bias=bias
        )

    def along(axis: int, value: Any, other: int) -> Any:
        return value if isinstance(value, str) else (value[0], other) if axis == 0 else (other, value[1])

    def shape_of(axis: int) -> tuple[Any, ...]:
        padding = along(axis, layer.padding, 0)
        return along(axis, layer.kernel_size, 1), along(axis, layer.stride, 1), padding, along(axis, layer.dilation, 1)

    return (
        nn.Conv2d(layer.in_channels, split.rank, *shape_of(0), bias=False, **mode),
        nn.Conv2d(split.rank, layer.out_channels, *shape_of(1), bias=bias, **mode),
    )
