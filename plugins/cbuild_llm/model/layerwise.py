"""Changing linear layers one decoder layer after the other: each on what the changed ones before it give.

Beside the model, memory holds the hidden states of the windows, and of one decoder layer the statistics of what enters
its linear layers; those that get the same tensor share one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from .stack import LayerStack, input_of

__all__ = ["Change", "Statistic", "change_layers"]

Call = tuple[Tensor, dict[str, Any]]  # a layer's hidden states, and what else it is called with

Statistic = Callable[[Tensor], Tensor]
"""Of inputs N×I of a linear layer, float64; summed over windows."""

Change = Callable[[str, nn.Linear, Tensor], None]
"""(name, layer, its statistic): changes the layer in place."""


@torch.inference_mode()
def change_layers(
    ctx: Context,
    model: nn.Module,
    stack: LayerStack,
    windows: Sequence[Tensor],
    names: Collection[str],
    statistic: Statistic,
    change: Change,
) -> None:
    """Change the linear layers of ``names``, which are those in the model. ``windows``: ids 1×T.

    The statistics of one decoder layer are taken before any of its linear layers is changed.
    """
    calls = _calls(model, stack, windows)
    for index, layer in enumerate(stack.layers):
        linear = {
            f"{stack.path}.{index}.{name}": each
            for name, each in layer.named_modules()
            if isinstance(each, nn.Linear) and f"{stack.path}.{index}.{name}" in names
        }
        statistics = _statistics(layer, linear, calls[index], statistic)
        for name, each in linear.items():
            change(name, each, statistics[name])
        if index + 1 < len(stack):
            for number, (states, more) in enumerate(calls[index]):
                calls[index + 1][number] = (_output(layer(states, **more)), calls[index + 1][number][1])
        calls[index] = []  # its states are not needed any more
        ctx.progress(index + 1, len(stack))


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
    layer: nn.Module, linear: Mapping[str, nn.Linear], calls: Sequence[Call], statistic: Statistic
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
        one = statistic(args[0].reshape(-1, args[0].shape[-1]).double())
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
