"""How active channels, neurons and heads are, on token ids.

Muralidharan et al., "Compact Language Models via Pruning and Knowledge Distillation" (Minitron), 2024,
arXiv:2407.14679: of a neuron and of a channel the mean of |activation|, of a head the mean norm of what it gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from compressbuild.api import Context

from ..model.stack import LayerStack
from ..model.widths import Widths

__all__ = ["Activity", "measure"]


@dataclass(frozen=True, slots=True)
class Activity:
    """Means over tokens, float64. ``neurons``: L×I, after the gate. ``heads``: L×heads. ``channels``: H, after a norm,
    summed over norms. ``squares``: by the name of a norm, H, of what enters it."""

    neurons: Tensor
    heads: Tensor
    channels: Tensor
    squares: Mapping[str, Tensor]


@torch.inference_mode()
def measure(
    ctx: Context, model: nn.Module, stack: LayerStack, norms: Sequence[str], widths: Widths, windows: Sequence[Tensor]
) -> Activity:
    """Runs each window once. ``norms``: names of the modules whose output is the hidden state, scaled."""
    count = len(stack)
    neurons = torch.zeros(count, widths.intermediate, dtype=torch.float64)
    heads = torch.zeros(count, widths.heads, dtype=torch.float64)
    channels = torch.zeros(widths.hidden, dtype=torch.float64)
    squares = {name: torch.zeros(widths.hidden, dtype=torch.float64) for name in norms}
    tokens = sum(window.numel() for window in windows)

    def of_neurons(index: int, module: nn.Module, args: tuple[Any, ...]) -> None:
        neurons[index] += args[0].reshape(-1, widths.intermediate).double().abs().sum(0) / tokens

    def of_heads(index: int, module: nn.Module, args: tuple[Any, ...]) -> None:
        heads[index] += args[0].reshape(-1, widths.heads, widths.head_dim).double().norm(dim=-1).sum(0) / tokens

    def of_norm(name: str, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        squares[name].add_(args[0].reshape(-1, widths.hidden).double().square().sum(0) / tokens)
        channels.add_(output.reshape(-1, widths.hidden).double().abs().sum(0) / tokens)

    with ExitStack() as hooks:
        for index, layer in enumerate(stack.layers):
            for name, module in layer.named_modules():
                leaf = name.rpartition(".")[2]
                if leaf in ("down_proj", "o_proj"):
                    add = of_neurons if leaf == "down_proj" else of_heads
                    hooks.callback(module.register_forward_pre_hook(partial(add, index)).remove)
        for name in norms:
            hooks.callback(model.get_submodule(name).register_forward_hook(partial(of_norm, name)).remove)
        for done, ids in enumerate(windows, 1):
            model(input_ids=ids)
            ctx.progress(done, len(windows))
    return Activity(neurons, heads, channels, squares)
