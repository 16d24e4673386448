"""What a model keeps for each of its blocks by position: lists in its config, counts, and the blocks' own numbers."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import nn

__all__ = ["configure", "list_edits", "number_edits"]

_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_NUMBERS = ("layer_idx", "layer_id", "layer_index", "layer_number")
_PLAIN = (bool, int, float, str, type(None))


def list_edits(module: nn.Module, path: str, gone: Collection[int]) -> Iterator[dict[str, Any]]:
    """Edits that take the entries of the blocks that go out of every list with one entry for each block at ``path``,
    a list of blocks: in the attributes of the module that has it, and in its config."""
    owner, length = path.rpartition(".")[0], len(module.get_submodule(path))  # type: ignore[arg-type]
    layer = module.get_submodule(owner)
    for name, holder in (("", layer), ("config", vars(layer).get("config"))):
        values = {
            key: [entry for at, entry in enumerate(value) if at not in gone]
            for key, value in _state(holder).items()
            if isinstance(value, list | tuple)
            and len(value) == length
            and all(isinstance(each, _PLAIN) for each in value)
        }
        if name and _alone(module, path, holder):
            values |= {key: length - len(gone) for key in _COUNTS if _state(holder).get(key) == length}
        if values:
            yield {"op": "config", "module": owner, "attribute": name, "values": values}


def _alone(module: nn.Module, path: str, config: Any) -> bool:
    """Whether a config counts the blocks of one list only."""
    length = len(module.get_submodule(path))  # type: ignore[arg-type]
    lists = (
        f"{owner}.{name}" if owner else name
        for owner, layer in module.named_modules()
        if vars(layer).get("config") is config
        for name, child in layer.named_children()
        if isinstance(child, nn.ModuleList | nn.Sequential) and len(child) == length
    )
    return set(lists) == {path}


def number_edits(module: nn.Module, path: str, gone: Collection[int]) -> Iterator[tuple[str, str, int]]:
    """Module, attribute and new value of every number of a block that stays and is counted from another one now.
    Called while all blocks are there; the modules are named as they will be."""
    left = 0
    for position, (_, block) in enumerate(module.get_submodule(path).named_children()):
        if position in gone:
            continue
        for inner, layer in block.named_modules():
            for name in _NUMBERS:
                if left != position and type(vars(layer).get(name)) is int and vars(layer)[name] == position:
                    yield ".".join(filter(None, (path, str(left), inner))), name, left
        left += 1


def configure(module: nn.Module, path: str, attribute: str, values: Mapping[str, Any]) -> None:
    """Give a module's plain lists and counts, or its config's, other values. A config gets a copy, as the factory may
    keep the object. ValueError for what is not there, or is not plain."""
    layer = module.get_submodule(path)
    holder = vars(layer).get(attribute) if attribute else layer
    for name, value in values.items():
        if not _plain(_state(holder).get(name, holder)) or holder is None or not _plain(value):
            raise ValueError(
                f"model.json sets '{name}' of the config of '{path}', which is not a plain list or number of it"
            )
    if attribute:
        old, holder = holder, copy.deepcopy(holder)
        for each in module.modules():
            if vars(each).get(attribute) is old:
                setattr(each, attribute, holder)
    for name, value in values.items():
        setattr(holder, name, type(_state(holder)[name])(value))


def _state(holder: Any) -> dict[str, Any]:
    """Attributes of a module or a config; none of what is neither."""
    return getattr(holder, "__dict__", {})


def _plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, list | tuple) and all(isinstance(v, _PLAIN) for v in value))
