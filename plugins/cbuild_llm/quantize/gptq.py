"""Rounding whose errors later columns make up for: GPTQ.

Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", 2022, arXiv:2210.17323, algorithm 1, with a grid for each group of inputs, taken when its turn comes
(section 4, "Grouping"). Columns come in their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compressbuild.api import Context

from ..model.hessian import gram, inverse_factor
from ..model.layerwise import change_layers
from ..model.stack import find_stack
from .params import QuantizeLlm
from .tool import Integers, ranges, standing_for

__all__ = ["gptq_integers", "solve"]

_BLOCK = 128  # columns whose errors are carried further at once


def gptq_integers(
    ctx: Context, module: nn.Module, bits: Mapping[str, int], windows: Sequence[Tensor], params: QuantizeLlm
) -> dict[str, Integers]:
    """Quantize ``module`` in place. ``bits``: name → bits of each layer that is quantized. ``windows``: ids 1×T.

    Each decoder layer is rounded on what the rounded ones before it give.
    """
    found: dict[str, Integers] = {}

    def rounded(name: str, layer: nn.Linear, inputs: Tensor) -> None:
        found[name] = solve(layer.weight, inputs, bits[name], params.group_size, params.symmetric)
        layer.weight.copy_(standing_for(found[name]))

    change_layers(ctx, module, find_stack(module), windows, bits, gram, rounded)
    return found


def solve(weight: Tensor, inputs: Tensor, bits: int, size: int, symmetric: bool) -> Integers:
    """``weight``: N×K. ``inputs``: their gram K×K. ``size``: inputs of a group, which divides K."""
    left = weight.double().clone()
    upper = inverse_factor(inputs, left)
    integers = torch.empty(left.shape, dtype=torch.uint8)
    scales, zeros = [], []
    for group in range(0, left.shape[1], size):
        scale, zero = ranges(left[:, group : group + size], bits, symmetric)
        for start in range(group, group + size, _BLOCK):
            end = min(start + _BLOCK, group + size)
            block, inner = left[:, start:end], upper[start:end, start:end]
            errors = torch.empty_like(block)
            for column in range(end - start):
                now = block[:, column].clone()
                chosen = ((now.float() / scale).round() + zero).clamp(0, 2**bits - 1)
                errors[:, column] = (now - ((chosen - zero) * scale).double()) / inner[column, column]
                block[:, column:] -= errors[:, column, None] * inner[column, column:]
                integers[:, start + column] = chosen.to(torch.uint8)
            left[:, end:] -= errors @ upper[start:end, end:]
        scales.append(scale)
        zeros.append(zero.to(torch.uint8))
    return integers, torch.stack(scales, 1), torch.stack(zeros, 1)
