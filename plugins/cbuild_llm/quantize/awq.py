"""Where AWQ moves the scales of channels: from the inputs of linear layers into what makes these inputs.

auto-round finds the pairs by the names of modules. Whether a pair is one, in this model, is tried here beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from compressbuild.api import UserError

from ..model.probing import run

__all__ = ["check_smoothing"]

_SAME = 1e-3  # of the largest logit: float32, with other factors


def check_smoothing(module: nn.Module, probes: Sequence[Tensor]) -> None:
    """UserError if auto-round knows no pairs in this model, or the model is another one with a channel's factor in a
    layer and its inverse in what makes the layer's input. ``probes``: ids N×T."""
    from auto_round.algorithms.transforms.awq.mappings import resolve_mappings

    pairs = resolve_mappings(module, None, skip_moe=True)
    if not pairs:
        raise UserError(
            f"auto-round knows no layers of a {type(module).__name__} whose scales AWQ can move",
            hint="take 'method: gptq' or 'method: auto-round'",
        )
    wanted = run(module, probes)
    if _same(module, pairs, probes, wanted):
        return
    wrong = next((pair for pair in pairs if not _same(module, [pair], probes, wanted)), pairs[0])
    raise UserError(
        f"AWQ would change the model: not only {', '.join(wrong.balance_names)} read '{wrong.smooth_name}', or not "
        "linearly",
        hint="take 'method: gptq' or 'method: auto-round'",
    )


def _same(module: nn.Module, pairs: Sequence[Any], probes: Sequence[Tensor], wanted: Sequence[Tensor]) -> bool:
    with _scaled(pairs):
        found = run(module, probes)
    return all(float((a - b).abs().max()) <= _SAME * float(b.abs().max()) for a, b in zip(found, wanted, strict=True))


@contextmanager
def _scaled(pairs: Sequence[Any]) -> Iterator[None]:
    """Within it, channels are divided by factors from 1/2 to 2, and multiplied again where the layers read them."""
    generator = torch.Generator().manual_seed(0)
    with ExitStack() as hooks:
        for pair in pairs:
            factors = 2 ** (2 * torch.rand(pair.balance_layers[0].in_features, generator=generator) - 1)
            hooks.callback(pair.smooth_layer.register_forward_hook(partial(_divided, factors)).remove)
            for layer in pair.balance_layers:
                hooks.callback(layer.register_forward_pre_hook(partial(_multiplied, factors)).remove)
        yield


def _divided(factors: Tensor, layer: nn.Module, given: Any, answer: Tensor) -> Tensor:
    whole = answer.new_ones(answer.shape[-1])
    whole[-len(factors) :] = factors  # of a layer that makes more, such as queries, keys and values: the last
    return answer / whole


def _multiplied(factors: Tensor, layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (given[0] * factors, *given[1:])
