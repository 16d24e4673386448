"""How much a language model loses where one part of it is quantized alone: measured, on token ids.

Of each part and number of bits: the mean Kullback-Leibler divergence, in nats per token, of the next tokens from those
of the float model. Layers that read the same values (queries, keys and values; gate and up) are one part: servers join
them into one matrix, which has one form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from compressbuild.api import Context

__all__ = ["measure", "parts"]

_ROWS = 64  # so many are in float64 at a time

Parts = list[tuple[str, ...]]


def parts(module: nn.Module, names: Sequence[str], probe: Tensor) -> Parts:
    """``names`` of linear layers, those with the same input together, in the order of the model. ``probe``: ids 1×T."""
    seen: dict[str, Tensor] = {}
    hooks = [
        module.get_submodule(name).register_forward_pre_hook(
            lambda layer, given, name=name: seen.__setitem__(name, given[0])
        )
        for name in names
    ]
    try:
        with torch.inference_mode():
            module(input_ids=probe)
    finally:
        for hook in hooks:
            hook.remove()
    found: dict[Any, list[str]] = {}
    for name in names:
        key = (name.rpartition(".")[0], id(seen[name])) if name in seen else name
        found.setdefault(key, []).append(name)
    return [tuple(each) for each in found.values()]


def measure(
    ctx: Context,
    module: nn.Module,
    groups: Parts,
    bits: Sequence[int],
    windows: Sequence[Tensor],
    rounded: Callable[[Tensor, int], Tensor],
) -> list[dict[int, float]]:
    """Of each part: bits → divergence. ``windows``: ids 1×T. ``rounded``: what becomes of a weight.

    Logits of one window are in memory at a time, for two models.
    """
    sums = [dict.fromkeys(bits, 0.0) for _ in groups]
    rows, done, total = 0, 0, len(windows) * len(groups) * len(bits)
    with torch.inference_mode():
        for ids in windows:
            wanted = module(input_ids=ids).logits[0]
            rows += len(wanted)
            for group, found in zip(groups, sums, strict=True):
                for count in bits:
                    with _swapped(module, group, lambda weight, count=count: rounded(weight, count)):
                        found[count] += _divergence(wanted, module(input_ids=ids).logits[0])
                    done += 1
                    ctx.progress(done, total)
    return [{count: value / rows for count, value in found.items()} for found in sums]


@contextmanager
def _swapped(module: nn.Module, names: Sequence[str], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within it, the layers have other weights."""
    layers: Mapping[str, Any] = {name: module.get_submodule(name) for name in names}
    kept = {name: layer.weight.data for name, layer in layers.items()}
    try:
        for layer in layers.values():
            layer.weight.data = change(layer.weight.data)
        yield
    finally:
        for name, layer in layers.items():
            layer.weight.data = kept[name]


def _divergence(wanted: Tensor, found: Tensor) -> float:
    """Sum over rows R×V."""
    total = 0.0
    for at in range(0, len(wanted), _ROWS):
        known = wanted[at : at + _ROWS].double().log_softmax(1)
        own = found[at : at + _ROWS].double().log_softmax(1)
        total += float((known.exp() * (known - own)).sum())
    return max(total, 0.0)  # rounding alone makes it negative
