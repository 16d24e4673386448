"""Layers that torch-pruning narrows together, and operations between them that it cannot follow channels through."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from unittest import mock

from torch import Tensor, nn
from torch_pruning import ops
from torch_pruning.dependency import index_mapping, shape_infer

from compressbuild.api import UserError

__all__ = ["nearest", "noted", "obstacle", "parts_counted", "tied"]

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


@contextlib.contextmanager
def parts_counted() -> Iterator[None]:
    """torch-pruning takes the consumers of a split for its parts, in any order, and fails where a part has two. Here
    each consumer has the size of its part. Layers whose channels are split stay as they are, so nothing else of a split
    is needed. It also fails at a reshape that makes several axes of the channels, as a shuffle of them does: such a one
    is passed over, and what then goes wrong is seen by the comparison with the masked model."""
    original, reshaped = shape_infer.init_shape_information, index_mapping.update_reshape_index_mapping

    def passed_over(graph: Any, node: Any) -> None:
        with contextlib.suppress(ZeroDivisionError):
            reshaped(graph, node)

    def patched(graph: Any) -> None:
        original(graph)
        for split in graph.module2node.values():
            sizes = split.module.split_sizes if split.type == ops.OPTYPE.SPLIT else None
            if sizes:
                split.module.split_sizes = [sizes[_part(split, node) % len(sizes)] for node in split.outputs]
                split.module.offsets = None

    with (
        mock.patch.object(shape_infer, "init_shape_information", patched),
        mock.patch.object(index_mapping, "update_reshape_index_mapping", passed_over),
    ):
        yield


def _part(split: Any, consumer: Any) -> int:
    """Which output of a split an operation takes; the first, if it takes several."""
    taken = getattr(consumer.grad_fn, "next_functions", ())
    return next((number for function, number in taken if function is split.grad_fn), 0)


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


def tied(
    graph: Any, groups: Iterable[Any], names: Mapping[nn.Module, str], fixed: Mapping[nn.Module, str]
) -> dict[nn.Module, str]:
    """Layers in none of the groups that can be pruned, each with the fixed layer that it is tied to."""
    free = {
        each.target.module for group in groups for each, _ in group if graph.is_out_channel_pruning_fn(each.handler)
    }
    found = {}
    for layer in names:
        if layer in free or layer in fixed:
            continue
        if layer not in graph.module2node:
            found[layer] = "the code does not call it as a layer, or no gradient leads to it"
            continue
        whole = graph.get_pruning_group(
            layer, graph.get_pruner_of_module(layer).prune_out_channels, list(range(graph.get_out_channels(layer)))
        )
        others = (each.target.module for each, _ in whole if graph.is_out_channel_pruning_fn(each.handler))
        other = next((module for module in others if module in fixed), None)
        found[layer] = f"its width is tied to that of '{names.get(other, type(other).__name__)}', which stays"
    return found


def nearest(place: str, layers: Iterable[str]) -> str | None:
    """Of ``layers`` the one that shares most of its path with ``place``, as a glob for all blocks; None if none is
    in the same module."""
    path = place.split(".")[:-1]

    def shared(name: str) -> int:
        pairs = zip(path, name.split("."), strict=False)
        return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(path), name.count(".") + 1))

    best = max(layers, key=shared, default="")
    if not path or shared(best) < len(path):
        return None
    return ".".join("*" if part.isdigit() else part for part in best.split("."))
