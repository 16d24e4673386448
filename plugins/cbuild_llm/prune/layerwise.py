"""Zeroing weights layer by layer: each decoder layer on what the pruned ones before it give."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.layerwise import Statistic, change_layers
from ..model.stack import LayerStack

__all__ = ["Method", "Pattern", "prune_stack"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """``zeros`` of each ``group`` of neighbours along the input go; ``group`` 0: the ``share``, of as many as the
    method compares."""

    group: int = 0
    zeros: int = 0
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class Method:
    """``prune``: (weight O×I, the statistic of its inputs, pattern) → (weight with zeros, mask O×I of what stays)."""

    statistic: Statistic
    prune: Callable[[Tensor, Tensor, Pattern], tuple[Tensor, Tensor]]


def prune_stack(
    ctx: Context,
    model: nn.Module,
    stack: LayerStack,
    windows: Sequence[Tensor],
    names: Collection[str],
    pattern: Pattern,
    method: Method,
) -> dict[str, Tensor]:
    """Change the weights of the linear layers ``names`` in place. Returns the mask of those that stay, by the name of
    the parameter."""
    masks: dict[str, Tensor] = {}

    def zero(name: str, layer: nn.Linear, statistic: Tensor) -> None:
        if pattern.group and layer.in_features % pattern.group:
            raise UserError(
                f"'{name}' has {layer.in_features} inputs, no multiple of {pattern.group}",
                hint=f"leave it out: 'ignore: [\"*{name.rpartition('.')[2]}\"]'; or 'pattern: rows'",
            )
        weight, masks[f"{name}.weight"] = method.prune(layer.weight, statistic, pattern)
        layer.weight.copy_(weight)

    change_layers(ctx, model, stack, windows, names, method.statistic, zero)
    return masks
