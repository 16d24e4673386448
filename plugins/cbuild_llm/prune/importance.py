"""How much each decoder layer matters, on token ids.

``influence``: Block Influence, 1 - mean cosine of a layer's input and output over tokens (Men et al., "ShortGPT: Layers
in Large Language Models are More Redundant Than You Expect", 2024, arXiv:2403.03853). ``loss``: what the loss becomes
without a layer (Kim et al., "Shortened LLaMA: A Simple Depth Pruning for Large Language Models", 2024,
arXiv:2402.02834), here with the others that went before it left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from compressbuild.api import Context

from ..model.stack import LayerStack, bypassed, input_of

__all__ = ["influence", "least_loss"]


@torch.inference_mode()
def influence(ctx: Context, model: nn.Module, stack: LayerStack, windows: Sequence[Tensor]) -> list[float]:
    """Block Influence of each layer: 0 for one that leaves the direction of every token as it is."""
    sums = torch.zeros(len(stack), dtype=torch.float64)
    count = 0

    def add(index: int, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        before = input_of(args, kwargs).double()
        after = (output[0] if isinstance(output, tuple) else output).double()
        sums[index] += nn.functional.cosine_similarity(before, after, dim=-1).sum()

    with ExitStack() as hooks:
        for index, layer in enumerate(stack.layers):
            handle = layer.register_forward_hook(partial(add, index), with_kwargs=True)
            hooks.callback(handle.remove)
        for done, ids in enumerate(windows, 1):
            model(input_ids=ids)
            count += ids.numel()
            ctx.progress(done, len(windows))
    return [float(1 - total / count) for total in sums]


@torch.inference_mode()
def least_loss(
    ctx: Context, model: nn.Module, stack: LayerStack, windows: Sequence[Tensor], count: int
) -> tuple[list[int], float]:
    """(layers that go, in the order of choosing; the loss without them), one layer at a time."""
    gone: list[int] = []
    least = 0.0
    for number in range(count):
        left = [index for index in range(len(stack)) if index not in gone]
        found = []
        for index in left:
            found.append((_loss(model, stack, windows, [*gone, index]), index))
            ctx.progress(number + len(found) / len(left), count, loss=found[-1][0])
        least, worst = min(found)
        gone.append(worst)
    return gone, least


def _loss(model: Callable[..., Any], stack: LayerStack, windows: Sequence[Tensor], gone: Collection[int]) -> float:
    """Mean of -ln p(token) over all tokens of the windows but the first of each."""
    total, count = 0.0, 0
    with bypassed(stack, gone):
        for ids in windows:
            rows = model(input_ids=ids).logits[0, :-1].float()
            total += float(nn.functional.cross_entropy(rows, ids[0, 1:], reduction="sum"))
            count += len(rows)
    return total / count
