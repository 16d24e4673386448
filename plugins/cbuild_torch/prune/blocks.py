"""Blocks that can be removed from a model: finding them, running without them, and removing them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..model.edits import drop
from ..model.positions import configure, list_edits, number_edits
from ..model.structure import EditedModel

__all__ = ["bypassed", "find_blocks", "take_out"]

_COUNTS = ("num_layers", "n_layers", "num_hidden_layers", "depth")


def find_blocks(module: nn.Module, run: Callable[[], Any]) -> dict[str, bool]:
    """Name → whether it is a member of a list or sequence, of every layer that can be removed.

    Such a layer is called once, and returns a tensor (or a tuple that starts with one) of the shape of its first input.
    """
    calls: dict[str, int] = {}
    fits: dict[str, bool] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            given, made = _first(args, kwargs), output[0] if isinstance(output, tuple) and output else output
            calls[name] = calls.get(name, 0) + 1
            both = isinstance(given, Tensor) and isinstance(made, Tensor)
            fits[name] = both and given.shape == made.shape and given.dtype == made.dtype

        return hook

    named = {name: layer for name, layer in module.named_modules() if name}
    hooks = [layer.register_forward_hook(note(name), with_kwargs=True) for name, layer in named.items()]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in hooks:
            handle.remove()
    weighty = [name for name, layer in named.items() if next(layer.parameters(), None) is not None]
    return {name: _member(module, name) for name in weighty if calls.get(name) == 1 and fits[name]}


def _first(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return args[0] if args else next(iter(kwargs.values()), None)


def _member(module: nn.Module, name: str) -> bool:
    return type(module.get_submodule(name.rpartition(".")[0])) in (nn.Sequential, nn.ModuleList)


@contextmanager
def bypassed(module: nn.Module, names: Iterable[str]) -> Iterator[None]:
    """As if these blocks returned their first input."""

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        given = _first(args, kwargs)
        return (given, *output[1:]) if isinstance(output, tuple) else given

    hooks = [module.get_submodule(name).register_forward_hook(hook, with_kwargs=True) for name in names]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def take_out(edited: EditedModel, names: Collection[str], sparse: Collection[str]) -> None:
    """Take the blocks out of their lists; the others close up, under new numbers. A block that is an attribute of its
    own becomes an identity. ``sparse``: parameters whose zeros count, under their new names."""
    module = edited.module
    before = {id(parameter): name for name, parameter in module.named_parameters()}
    containers: dict[str, list[str]] = {}
    for name in names:
        parent, _, child = name.rpartition(".")
        if _member(module, name):
            containers.setdefault(parent, []).append(child)
        else:
            edited.replace(name, nn.Identity())
    for path, children in containers.items():
        members = [name for name, _ in module.get_submodule(path).named_children()]
        gone = {members.index(name) for name in children}
        numbers = list(number_edits(module, path, gone)) if members == [str(at) for at in range(len(members))] else []
        _set_counts(edited, path, len(children))
        for edit in list(list_edits(module, path, gone)) if path else ():
            edited.edits.append(edit)
            configure(module, edit["module"], edit["attribute"], edit["values"])
        edited.edits.append({"op": "drop", "module": path, "children": sorted(children)})
        drop(module.get_submodule(path), children)
        for place, name, value in numbers:
            edited.set(place, name, value)
    still = [name for name, parameter in module.named_parameters() if before.get(id(parameter)) in sparse]
    if set(still) - set(sparse):
        edited.edits.append({"op": "sparse", "parameters": sorted(still)})


def _set_counts(edited: EditedModel, path: str, fewer: int) -> None:
    """The owner of the list may know how many there are."""
    if not path:
        return
    owner = path.rpartition(".")[0]
    layer, length = edited.module.get_submodule(owner), len(edited.module.get_submodule(path))  # type: ignore[arg-type]
    for name in _COUNTS:
        if vars(layer).get(name) == length:
            edited.set(owner, name, length - fewer)
