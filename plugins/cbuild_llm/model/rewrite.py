"""An ``hf-model`` with fewer layers, with zeros, or with other values, written file by file, one shard at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compressbuild.api import UserError

from .checkpoint import Checkpoint, copy_beside

__all__ = [
    "as_files",
    "edited_config",
    "round_as_files",
    "write_layers",
    "write_masked",
    "write_narrower",
    "write_values",
]

_INDEX = "model.safetensors.index.json"


def write_layers(folder: Path, found: Checkpoint, path: str, config: Any, kept: Sequence[int], out: Path) -> None:
    """Write the model with the layers ``kept``, in that order.

    ``path``: of the list of layers in the module. ``config``: as transformers reads it, with what it derives.
    """
    copy_beside(folder, out)
    said = edited_config(found.config, config, kept)
    (out / "config.json").write_text(json.dumps(said, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    names = _renamed(list(found.tensors), path, config.num_hidden_layers, kept)
    _write_shards(folder, found, names, out)


def write_masked(folder: Path, found: Checkpoint, masks: Mapping[str, Any], out: Path) -> None:
    """Write the model with zeros: of the tensors that ``masks`` names, only what its mask is true for stays."""
    copy_beside(folder, out)

    def masked(name: str, tensor: Any) -> Any:
        return tensor.masked_fill(~masks[name], 0) if name in masks else tensor

    _write_shards(folder, found, {name: name for name in found.tensors}, out, masked)


def write_narrower(
    folder: Path, found: Checkpoint, config: Mapping[str, Any], change: Callable[[str, Any], Any], out: Path
) -> None:
    """Write the model with other widths. ``config``: what its ``config.json`` says; ``change``: (name, tensor) → what
    becomes of it."""
    copy_beside(folder, out)
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    _write_shards(folder, found, {name: name for name in found.tensors}, out, change)


def round_as_files(values: Mapping[str, Any], found: Checkpoint) -> None:
    """Round float32 tensors in place, as the files will hold them."""
    import torch

    with torch.no_grad():
        for name, value in values.items():
            value.copy_(as_files(value, found, name))


def as_files(value: Any, found: Checkpoint, name: str) -> Any:
    """A tensor in float32, rounded as the files will hold it."""
    import torch

    types = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    return value.to(types[found.tensors[name].dtype]).float()


def write_values(folder: Path, found: Checkpoint, values: Mapping[str, Any], out: Path) -> None:
    """Write the model with the tensors that ``values`` has in place of the files', each in the type of the files."""
    copy_beside(folder, out)

    def changed(name: str, tensor: Any) -> Any:
        return values[name].detach().to(tensor.dtype).contiguous() if name in values else tensor

    _write_shards(folder, found, {name: name for name in found.tensors}, out, changed)


def edited_config(said: dict[str, Any], config: Any, kept: Sequence[int]) -> dict[str, Any]:
    """``config.json`` with the new number of layers. Lists that have an entry for each layer keep those of the layers
    that stay; those that transformers derives from the layers' positions (``layer_types``) are written out, because
    the positions change."""
    count = config.num_hidden_layers
    key = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    lists = {
        name: [values[index] for index in kept]
        for name, values in config.to_dict().items()
        if "layer" in name and isinstance(values, list | tuple) and len(values) == count
    }
    return {**said, **lists, key: len(kept)}


def _renamed(names: Sequence[str], path: str, count: int, kept: Sequence[int]) -> dict[str, str]:
    """Name of each tensor that stays → its name afterwards."""
    leaf = path.rpartition(".")[2]
    pattern = re.compile(rf"(?P<head>(?:.*?\.)??{re.escape(leaf)}\.)(?P<index>\d+)(?P<tail>\..*)")
    matches = {name: match for name in names if (match := pattern.fullmatch(name))}
    heads = {match["head"] for match in matches.values()}
    whole = f"{path}."
    heads = {head for head in heads if whole.endswith(head) or head.endswith(whole)}
    own = {name: match for name, match in matches.items() if match["head"] in heads}
    if len(heads) != 1 or {int(match["index"]) for match in own.values()} != set(range(count)):
        raise UserError(
            f"the weights of the {count} layers in '{path}' are not found in the files by their names",
            hint="load the model with transformers 5, and save it again with save_pretrained",
        )
    position = {old: new for new, old in enumerate(kept)}
    renamed = {}
    for name in names:
        match = own.get(name)
        if match is None:
            renamed[name] = name
        elif (old := int(match["index"])) in position:
            renamed[name] = f"{match['head']}{position[old]}{match['tail']}"
    return renamed


def _as_it_is(name: str, tensor: Any) -> Any:
    return tensor


def _write_shards(
    folder: Path,
    found: Checkpoint,
    names: Mapping[str, str],
    out: Path,
    change: Callable[[str, Any], Any] = _as_it_is,
) -> None:
    """``names``: of each tensor that is written → its new name. ``change``: what becomes of it."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    shards: dict[str, list[str]] = {}
    for name in names:
        shards.setdefault(found.tensors[name].file, []).append(name)
    single = len(shards) == 1
    where: dict[str, str] = {}
    size = 0
    for number, (file, members) in enumerate(sorted(shards.items()), 1):
        target = "model.safetensors" if single else f"model-{number:05}-of-{len(shards):05}.safetensors"
        with safe_open(folder / file, "pt") as source:
            tensors = {names[name]: change(name, source.get_tensor(name)) for name in members}
        save_file(tensors, out / target, metadata={"format": "pt"})
        where |= dict.fromkeys(tensors, target)
        size += sum(tensor.nbytes for tensor in tensors.values())
    if not single:
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(where.items()))}
        (out / _INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
