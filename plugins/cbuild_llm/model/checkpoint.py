"""The files of an ``hf-model``: checked without loading a tensor, and without running or unpickling anything.

::

    config.json                     of a causal language model whose code is in transformers
    generation_config.json, tokenizer.json, tokenizer_config.json, chat_template.jinja, …
    model.safetensors               or model.safetensors.index.json and the shards that it names
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from cbuild_huggingface.model.directory import beside, read_config, read_json, weight_files

from compressbuild.api import UserError

__all__ = [
    "PARTS",
    "Checkpoint",
    "Tensor",
    "copy_beside",
    "read_checkpoint",
    "read_quantized",
    "validate",
    "validate_quantized",
]

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_FLOATS = ("F64", "F32", "F16", "BF16")
PARTS: dict[Any, tuple[str, ...]] = {
    "compressed-tensors": ("weight_packed", "weight_scale", "weight_shape"),
    "gptq": ("qweight", "qzeros", "scales", "g_idx"),
    "awq": ("qweight", "qzeros", "scales"),
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in a file. ``dtype``: as safetensors calls it: ``F32``, ``BF16``."""

    file: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``config``: of ``config.json``. ``tensors``: by name, in the order of names. ``files``: names of all files, those
    of the weights last."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    files: tuple[str, ...]

    @property
    def packed(self) -> list[str]:
        """Names of the layers whose weights are packed integers."""
        ends = (".weight_packed", ".qweight")
        return [name.rpartition(".")[0] for name in self.tensors if name.endswith(ends)]

    @property
    def parameters(self) -> int:
        """Numbers in all tensors; tied ones count once, as they are stored once."""
        return sum(prod(tensor.shape) for tensor in self.tensors.values())


def read_checkpoint(folder: Path, shown: str) -> Checkpoint:
    """What lies in a directory. UserError unless all of it is there, and the files fit each other.

    ``shown``: the directory, for messages.
    """
    found = _read(folder, shown, read_config(folder, shown))
    odd = next((name for name, tensor in found.tensors.items() if tensor.dtype not in _FLOATS), None)
    if odd is not None:
        raise UserError(
            f"'{shown}': the weight '{odd}' is {found.tensors[odd].dtype}, and not of a float type",
            hint="start from the float weights: techniques quantize those",
        )
    return found


def read_quantized(folder: Path, shown: str) -> Checkpoint:
    """As :func:`read_checkpoint`, of a model whose linear layers are packed: compressed-tensors, GPTQ or AWQ."""
    config = read_json(folder / "config.json", shown)
    said = config.get("quantization_config")
    method = said.get("quant_method") if isinstance(said, dict) else None
    if method not in PARTS or config.get("auto_map"):
        raise UserError(
            f"'{shown}/config.json' is not that of a model in compressed-tensors, GPTQ or AWQ, but says '{method}'"
        )
    found = _read(folder, shown, config)
    packed = found.packed
    if not packed:
        raise UserError(f"'{shown}' has no packed weight, though its config.json says that it is quantized")
    for layer in packed:
        part = next((part for part in PARTS[method] if f"{layer}.{part}" not in found.tensors), None)
        if part is not None:
            raise UserError(f"'{shown}': the packed layer '{layer}' has no '{part}'", hint="copy all files again")
    return found


def _read(folder: Path, shown: str, config: dict[str, Any]) -> Checkpoint:
    for path in beside(folder):
        if path.suffix == ".json":
            _check_json(path, shown)
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise UserError(
            f"'{shown}' has no tokenizer ({', '.join(_TOKENIZERS[:3])} …)",
            hint="copy all files of the model, or save its tokenizer there with save_pretrained",
        )
    weights = weight_files(folder, shown)
    tensors: dict[str, Tensor] = {}
    for name in weights:
        if name.endswith(".safetensors"):
            tensors |= _tensors(folder, name, shown)
    if len(weights) > 1:
        _check_index(folder, weights[0], tensors, shown)
    names = [path.relative_to(folder).as_posix() for path in beside(folder)]
    return Checkpoint(config, dict(sorted(tensors.items())), (*names, *weights))


def validate(directory: Path) -> None:
    """ValueError unless the directory is an ``hf-model``."""
    _validated(directory, read_checkpoint)


def validate_quantized(directory: Path) -> None:
    """ValueError unless the directory is an ``hf-quantized``."""
    _validated(directory, read_quantized)


def _validated(directory: Path, read: Callable[[Path, str], Checkpoint]) -> None:
    try:
        found = read(directory, "the artifact")
    except UserError as error:
        raise ValueError(str(error)) from error
    present = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    if strange := sorted(present - set(found.files)):
        raise ValueError(f"it has a file '{strange[0]}', which no part of the model names")


def copy_beside(folder: Path, out: Path) -> None:
    """Copy what is not weights: configurations, tokenizer, chat template."""
    for path in beside(folder):
        target = out / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _check_json(path: Path, shown: str) -> None:
    """Of any JSON value: a vocabulary is a mapping, a list of modules is none."""
    import json

    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"'{shown}/{path.name}' cannot be read: {error}", hint="copy the file of the model again"
        ) from error


def _tensors(folder: Path, name: str, shown: str) -> dict[str, Tensor]:
    """The header of a file. The library checks that types, shapes and offsets agree, and leave no gap."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / name, "numpy") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118  it is no mapping
            return {key: Tensor(name, tuple(one.get_shape()), str(one.get_dtype())) for key, one in slices.items()}
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"'{shown}/{name}' is damaged: {' '.join(str(error).split())[:200]}", hint="copy the file again"
        ) from error


def _check_index(folder: Path, index: str, tensors: dict[str, Tensor], shown: str) -> None:
    listed: dict[str, str] = read_json(folder / index, shown)["weight_map"]
    for name in sorted({*listed, *tensors}):
        there = tensors[name].file if name in tensors else None
        if listed.get(name) != there:
            says = f"says '{listed[name]}'" if name in listed else "does not list it"
            lies = f"lies in '{there}'" if there is not None else "lies in no shard"
            raise UserError(
                f"'{shown}': the weight '{name}' {lies}, but {index} {says}",
                hint="the shards may be of different downloads: copy all files of the model",
            )
