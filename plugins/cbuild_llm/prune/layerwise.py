"""Zeroing weights layer by layer: each decoder layer on what the pruned ones before it give.

Beside the model, memory holds the hidden states of the windows, and of one decoder layer the statistics of what enters
its linear layers; those that get the same tensor share one.
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

__all__ = ["Method", "Pattern", "prune_stack"]

Call = tuple[Tensor, dict[str, Any]]  # a layer's hidden states, and what else it is called with


@dataclass(frozen=True, slots=True)
class Pattern:
    """``zeros`` of each ``group`` of neighbours along the input go; ``group`` 0: the ``share``, of as many as the
    method compares."""

    group: int = 0
    zeros: int = 0
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class Method:
    """``statistic``: of inputs N×I of a linear layer, float64; summed over windows. ``prune``: (weight O×I, that sum,
    pattern) → (weight with zeros, mask O×I of what stays)."""

    statistic: Callable[[Tensor], Tensor]
    prune: Callable[[Tensor, Tensor, Pattern], tuple[Tensor, Tensor]]


@torch.inference_mode()
def prune_stack(
    ctx: Context,
    model: nn.Module,
    stack: LayerStack,
    windows: Sequence[Tensor],
    choose: Callable[[str], bool],
    pattern: Pattern,
    method: Method,
) -> dict[str, Tensor]:
    """Change weights in place. Returns the mask of those that stay, by the name of the parameter.

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
        statistics = _statistics(layer, linear, calls[index], method)
        for name, each in linear.items():
            if pattern.group and each.in_features % pattern.group:
                raise UserError(
                    f"'{name}' has {each.in_features} inputs, no multiple of {pattern.group}",
                    hint=f"leave it out: 'ignore: [\"*{name.rpartition('.')[2]}\"]'; or 'pattern: rows'",
                )
            weight, mask = method.prune(each.weight, statistics[name], pattern)
            each.weight.copy_(weight)
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


def _statistics(
    layer: nn.Module, linear: Mapping[str, nn.Linear], calls: Sequence[Call], method: Method
) -> dict[str, Tensor]:
    """The sum over windows of each linear layer's statistic."""
    totals: dict[str, Tensor] = {}
    first: dict[str, str] = {}  # of the layers that get the same tensor: the one that was called first
    given: list[tuple[Tensor, str]] = []  # within a run of the layer

    def add(name: str, each: nn.Module, args: tuple[Any, ...]) -> None:
        first[name] = next((other for tensor, other in given if tensor is args[0]), name)
        if first[name] != name:
            return
        given.append((args[0], name))
        one = method.statistic(args[0].reshape(-1, args[0].shape[-1]).double())
        totals[name] = totals[name].add_(one) if name in totals else one

    with ExitStack() as hooks:
        for name, each in linear.items():
            hooks.callback(each.register_forward_pre_hook(partial(add, name)).remove)
        for states, more in calls:
            given.clear()
            layer(states, **more)
    idle = next((name for name in linear if name not in first), None)
    if idle is not None:
        raise UserError(f"'{idle}' is not called on these tokens", hint=f"leave it out: 'ignore: [\"{idle}\"]'")
    return {name: totals[other] for name, other in first.items()}


def _output(answer: Any) -> Tensor:
    found: Tensor = answer[0] if isinstance(answer, tuple) else answer
    return found
