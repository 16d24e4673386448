"""What enters the linear layers of a decoder layer: the other side of everything that works layer by layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

__all__ = ["inputs_of"]


def inputs_of(model: Any, layer: torch.nn.Module, names: Iterable[str], ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """By the name of each linear layer in ``layer``: what it is called with when the whole model reads ``ids``, without
    a cache."""
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        layer.get_submodule(name).register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0]}))
        for name in names
    ]
    with torch.no_grad():
        model(input_ids=ids, use_cache=False)
    for hook in hooks:
        hook.remove()
    return seen
