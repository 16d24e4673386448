"""How well what a rewriting made fits its source: clustered tensors, and layers split in two."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from cbuild_kit.fidelity import LEAST
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compressbuild.api import UserError

__all__ = ["check_clusters", "check_split", "kept_ratio", "least_kept"]

_FAULT = "this is a fault of compressbuild, not of the model: please report it"
_ROUNDING = 1e-6  # of the largest weight: float32
_SAME = 1e-3  # of an output's largest magnitude: sums in another order


@torch.no_grad()
def kept_ratio(before: Mapping[str, Tensor], after: Mapping[str, Tensor], names: Sequence[str]) -> tuple[str, float]:
    """The tensor that keeps least of its source, and its signal-to-noise ratio in decibels."""
    ratios = {}
    for name in names:
        if name in before:  # else it was computed from others
            old, noise = before[name].double(), (after[name].double() - before[name].double()).square().sum()
            ratios[name] = -10 * math.log10(max(float(noise / old.square().sum().clamp_min(1e-30)), 1e-20))
    worst = min(ratios, key=lambda name: ratios[name], default="")
    return worst, round(ratios.get(worst, 200.0), 2)


@torch.no_grad()
def check_clusters(name: str, before: Tensor, after: Tensor, *, bits: int, per_channel: bool, moved: bool) -> None:
    """UserError for more values than ``bits`` can count and, unless they ``moved`` since, for a weight with another
    value than the nearest."""
    rows = [value.flatten(1) if per_channel else value.reshape(1, -1) for value in (before, after)]
    largest = float(before.abs().max()) if before.numel() else 0.0
    for old, new in zip(*rows, strict=True):
        if new.unique().numel() > 2**bits:
            raise UserError(f"share.cluster left more than {2**bits} values in '{name}'", hint=_FAULT)
        own = old != 0  # zeros of a pruned tensor stay zeros
        values = new[own].unique()
        if moved or len(values) < 2:
            continue
        at = torch.searchsorted(values, old[own]).clamp(1, len(values) - 1)
        nearest = torch.minimum((old[own] - values[at - 1]).abs(), (values[at] - old[own]).abs())
        if float(((new[own] - old[own]).abs() - nearest).max()) > _ROUNDING * largest:
            raise UserError(f"share.cluster gave a weight of '{name}' another value than the nearest", hint=_FAULT)


@torch.no_grad()
def check_split(name: str, layer: Any, made: nn.Sequential, error: float, shape: Sequence[int]) -> None:
    """UserError unless two layers in a row are one whose weights are ``error`` (a share of their squares) off.

    The product of the two, put in the place of the layer's weights, must give what the two give on a random input of
    ``shape``, and be as far from the layer's weights as was computed.
    """
    whole = copy.deepcopy(layer)
    product = _product(*made).reshape(whole.weight.shape)
    wanted = layer.weight.double()
    found = float((product.double() - wanted).square().sum() / wanted.square().sum().clamp_min(1e-30))
    if abs(found - error) > _SAME + 0.01 * error:
        raise UserError(
            f"the layers that replace '{name}' lose {found:.1%} of its weights' squares, not {error:.1%}", hint=_FAULT
        )
    whole.weight = nn.Parameter(product.to(layer.weight.dtype))
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(tuple(shape), generator=generator).to(layer.weight.dtype)
    expected, given = whole(sample), made(sample)
    if expected.shape != given.shape or not _close(given, expected):
        raise UserError(f"the layers that replace '{name}' compute something else than their product", hint=_FAULT)


def _close(found: Tensor, wanted: Tensor) -> bool:
    peak = float(wanted.abs().max()) if wanted.numel() else 0.0
    return float((found - wanted).abs().max()) <= max(_SAME * peak, 1e-12) if found.numel() else True


def _product(first: Any, second: Any) -> Tensor:
    """The weights of one layer that does what the two do, each kernel axis of length 1 in one of them."""
    one, two = _dense(first), _dense(second)
    return torch.einsum("or...,rc...->oc...", *_on_one_kernel(two, one))


def _on_one_kernel(two: Tensor, one: Tensor) -> tuple[Tensor, Tensor]:
    kernel = [max(sizes) for sizes in zip(two.shape[2:], one.shape[2:], strict=True)]
    return two.expand(*two.shape[:2], *kernel), one.expand(*one.shape[:2], *kernel)


def _dense(layer: Any) -> Tensor:
    """In double precision, with zeros where groups are not connected."""
    weight: Tensor = layer.weight.double()
    if not isinstance(layer, _ConvNd) or layer.groups == 1:
        return weight
    rows, columns = weight.shape[0] // layer.groups, weight.shape[1]
    dense = weight.new_zeros(weight.shape[0], layer.in_channels, *weight.shape[2:])
    for group in range(layer.groups):
        at = slice(group * rows, (group + 1) * rows)
        dense[at, group * columns : (group + 1) * columns] = weight[at]
    return dense


def least_kept(name: str, ratio: float) -> None:
    """UserError for a tensor that is another one."""
    if ratio < LEAST:
        raise UserError(
            f"share.cluster made another model: '{name}' is {ratio:.1f} dB above its noise (at least {LEAST:g})",
            hint="more 'bits:', 'per-channel: true', 'init: density', or 'overrides:' for that tensor",
        )
