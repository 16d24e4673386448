"""Which weights matter least: |weight| · L2 norm of its input over tokens, ranked within each output row.

Sun, Liu, Bair, Kolter, "A Simple and Effective Pruning Approach for Large Language Models", 2023, arXiv:2306.11695. As
there, layers are pruned one after the other, each on what the pruned ones before it give. Beside the model, memory
holds the hidden states of the windows and one layer's values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.stack import LayerStack, input_of

__all__ = ["Pattern", "kept", "prune_stack"]

Call = tuple[Tensor, dict[str, Any]]  # a layer's hidden states, and what else it is called with


@dataclass(frozen=True, slots=True)
class Pattern:
    """``zeros`` of each ``group`` of neighbours along the input go; ``group`` 0: the ``share`` of each whole row."""

    group: int = 0
    zeros: int = 0
    share: float = 0.5


def kept(scores: Tensor, pattern: Pattern) -> Tensor:
    """A mask O×I of the weights that stay, of scores O×I. Of equal scores, those further left go."""
    rows, columns = scores.shape
    size = pattern.group or columns
    zeros = pattern.zeros if pattern.group else int(pattern.share * columns)
    groups = scores.reshape(rows, columns // size, size)
    least = groups.argsort(dim=-1, stable=True)[..., :zeros]
    return torch.ones_like(groups, dtype=torch.bool).scatter_(-1, least, False).reshape(rows, columns)


@torch.inference_mode()
def prune_stack(
    ctx: Context,
    model: nn.Module,
    stack: LayerStack,
    windows: Sequence[Tensor],
    choose: Callable[[str], bool],
    pattern: Pattern,
) -> dict[str, Tensor]:
    """Zero weights in place. Returns the mask of those that stay, by the name of the parameter.

    ``choose``: whether a linear layer is pruned, by its name in the model.
    """
    calls = _calls(model, stack, windows)
    masks: dict[str, Tensor] = {}
    for index, layer in enumerate(stack.layers):
        linear = {
            f"{stack.path}.{index}.{name}": each
            for name, each in layer.named_modules()
            if isinstance(each, nn.Linear) and choose(f"{stack.path}.{index}.{name}")
        }
        squares = _squares(layer, linear, calls[index])
        for name, each in linear.items():
            if pattern.group and each.in_features % pattern.group:
                raise UserError(
                    f"'{name}' has {each.in_features} inputs, no multiple of {pattern.group}",
                    hint=f"leave it out: 'ignore: [\"*{name.rpartition('.')[2]}\"]'; or 'pattern: rows'",
                )
            mask = kept(each.weight.abs() * squares[name].sqrt().to(each.weight.dtype), pattern)
            each.weight.masked_fill_(~mask, 0.0)
            masks[f"{name}.weight"] = mask
        if index + 1 < len(stack):
            for number, (states, more) in enumerate(calls[index]):
                calls[index + 1][number] = (_output(layer(states, **more)), calls[index + 1][number][1])
        calls[index] = []  # its states are not needed any more
        ctx.progress(index + 1, len(stack))
    return masks


def _calls(model: nn.Module, stack: LayerStack, windows: Sequence[Tensor]) -> list[list[Call]]:
    """How each layer is called for each window. Masks and positions are those of the whole model; the states of all
    layers but the first are filled in later, and empty until then."""
    found: list[list[Call]] = [[] for _ in stack.layers]

    def note(index: int, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if len(args) > 1:
            raise UserError(
                f"the layers of a {type(model).__name__} are called in a way that cannot be repeated one by one"
            )
        more = {name: value for name, value in kwargs.items() if name != "hidden_states"}
        states = input_of(args, kwargs)
        found[index].append((states if index == 0 else states.new_empty(0), more))

    with ExitStack() as hooks:
        for index, layer in enumerate(stack.layers):
            handle = layer.register_forward_pre_hook(partial(note, index), with_kwargs=True)
            hooks.callback(handle.remove)
        for ids in windows:
            model(input_ids=ids)
    return found


def _squares(layer: nn.Module, linear: Mapping[str, nn.Linear], calls: Sequence[Call]) -> dict[str, Tensor]:
    """Sum over tokens of the squares of each linear layer's inputs: one number for each input."""
    found = {name: torch.zeros(each.in_features, dtype=torch.float64) for name, each in linear.items()}

    def add(name: str, each: nn.Module, args: tuple[Any, ...]) -> None:
        found[name] += args[0].reshape(-1, args[0].shape[-1]).double().square().sum(0)

    with ExitStack() as hooks:
        for name, each in linear.items():
            hooks.callback(each.register_forward_pre_hook(partial(add, name)).remove)
        for states, more in calls:
            layer(states, **more)
    return found


def _output(answer: Any) -> Tensor:
    found: Tensor = answer[0] if isinstance(answer, tuple) else answer
    return found
