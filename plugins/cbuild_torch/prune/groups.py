"""Layers that torch-pruning narrows together, and operations between them that it cannot follow channels through."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from compressbuild.api import UserError

__all__ = ["noted", "obstacle"]

_REARRANGING = {
    "ChannelShuffleBackward0": ("ChannelShuffle", "puts them in another order"),
    "PixelShuffleBackward0": ("PixelShuffle", "makes pixels of them"),
    "PixelUnshuffleBackward0": ("PixelUnshuffle", "makes more of them of pixels"),
    "TrilinearBackward0": ("Bilinear", "has a weight for each pair of them"),
}
_HALVING = {"GluBackward0": ("GLU", "multiplies one half of them with the other")}  # if along the axis of channels
"""Operation of the autograd graph → its layer in torch.nn, and what that does with channels."""


@contextlib.contextmanager
def noted(module: nn.Module) -> Iterator[dict[Any, str]]:
    """Operation of the autograd graph → name of the layer that ended with it, of what runs meanwhile."""
    made_by: dict[Any, str] = {}

    def hook(name: str) -> Any:
        def note(_: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.grad_fn is not None:
                made_by.setdefault(output.grad_fn, name)

        return note

    hooks = [layer.register_forward_hook(hook(name)) for name, layer in module.named_modules() if name]
    try:
        yield made_by
    finally:
        for each in hooks:
            each.remove()


def obstacle(
    group: Any, made_by: Mapping[Any, str], names: Mapping[nn.Module, str], *, failed: bool = False
) -> UserError | None:
    """What is wrong with a group, if an operation in it mixes channels. ``names``: of the layers that can be pruned.
    ``failed``: the library could not prune it, so what may mix them does."""
    known = _REARRANGING | _HALVING if failed else _REARRANGING
    for dependency, _ in group:
        operation = dependency.target.grad_fn
        kind, does = known.get(type(operation).__name__, ("", ""))
        if kind:
            layers = dict.fromkeys(names[each.target.module] for each, _ in group if each.target.module in names)
            name = f"{kind} '{made_by[operation]}'" if operation in made_by else kind
            return UserError(
                f"prune.channels cannot follow channels through {name}, which {does}: "
                f"between {' and '.join(map(repr, layers))}",
                hint=f"'ignore: [{next(iter(layers))}]' leaves that width as it is; prune.magnitude fits every model",
            )
    return None
