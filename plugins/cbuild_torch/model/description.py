"""``model.json``: which factory makes the module, what its inputs are, and what was done to its structure since.

::

    {"format": 1, "factory": "digits.model:build", "args": {"width": 32}, "seed": 0,
     "inputs": [{"name": "image", "shape": ["batch", 1, 8, 8], "dtype": "float32"}],
     "edits": [{"op": "resize"}]}

Written with sorted keys, so equal descriptions are equal bytes. Nothing in it is executed: the factory is called only
if the Compressfile declares it too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compressbuild.api import ModelInput

__all__ = ["DESCRIPTION", "WEIGHTS", "ModelDescription", "validate"]

DESCRIPTION = "model.json"
WEIGHTS = "weights.safetensors"
_FORMAT = 1
_HEADER_LIMIT = 100_000_000  # bytes: that of the safetensors library


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """``seed``: what the factory was called with. ``edits``: in order; the operations are those of
    :mod:`cbuild_torch.model.edits`."""

    factory: str
    args: Mapping[str, Any]
    inputs: tuple[ModelInput, ...]
    seed: int = 0
    edits: tuple[Mapping[str, Any], ...] = ()

    @property
    def resized(self) -> bool:
        """Whether tensors may differ in shape from those of the factory."""
        return any(edit["op"] == "resize" for edit in self.edits)

    @property
    def sparse(self) -> frozenset[str]:
        """Names of the parameters whose zeros mean something."""
        return frozenset(name for edit in self.edits if edit["op"] == "sparse" for name in edit["parameters"])

    def edited(self, edits: Iterable[Mapping[str, Any]]) -> ModelDescription:
        """With more edits at the end. What only says how tensors are to be read is not repeated."""
        known = list(self.edits)
        known.extend(edit for edit in edits if edit["op"] not in ("resize", "sparse") or edit not in known)
        return replace(self, edits=tuple(known))

    def write(self, directory: Path) -> None:
        content = {
            "format": _FORMAT,
            "factory": self.factory,
            "args": dict(self.args),
            "seed": self.seed,
            "inputs": [{"name": i.name, "shape": list(i.shape), "dtype": i.dtype} for i in self.inputs],
            "edits": [dict(edit) for edit in self.edits],
        }
        text = json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False)
        (directory / DESCRIPTION).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> ModelDescription:
        """ValueError if the file is not what :meth:`write` makes."""
        try:
            content = json.loads((directory / DESCRIPTION).read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise ValueError(f"it has format {content['format']}, this version reads {_FORMAT}")
            inputs = tuple(_input(**entry) for entry in content["inputs"])
            edits = tuple(content["edits"])
            if not all(isinstance(edit["op"], str) for edit in edits):
                raise TypeError("an edit's op")
            if not all(isinstance(edit["parameters"], list) for edit in edits if edit["op"] == "sparse"):
                raise TypeError("the parameters that are sparse")
            if not isinstance(content["seed"], int):
                raise TypeError("the seed")
            return cls(str(content["factory"]), dict(content["args"]), inputs, content["seed"], edits)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(f"{DESCRIPTION} is damaged: {error!r}") from error


def _input(name: str, shape: list[int | str], dtype: str) -> ModelInput:
    if not isinstance(name, str) or not isinstance(dtype, str) or not all(isinstance(n, int | str) for n in shape):
        raise TypeError("an input")
    return ModelInput(name, tuple(shape), dtype)


def validate(directory: Path) -> None:
    """ValueError unless the directory is a whole torch-model. Reads headers only."""
    ModelDescription.read(directory)
    path = directory / WEIGHTS
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"{WEIGHTS} is truncated")
        if length > _HEADER_LIMIT:
            raise ValueError(f"{WEIGHTS} has a header of {length:,} bytes; no reader takes more than {_HEADER_LIMIT:,}")
        try:
            end = _end(json.loads(file.read(length), object_pairs_hook=_distinct))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{WEIGHTS} has no readable header: {error!r}") from error
    if 8 + length + end != size:
        kind = "truncated" if size < 8 + length + end else "too long"
        raise ValueError(f"{WEIGHTS} is {kind}: {size} bytes of {8 + length + end}")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers disagree on which of two equal names counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _end(header: Mapping[str, Any]) -> int:
    """Where the last tensor ends. ValueError unless they lie one after the other."""
    spans = [(*entry["data_offsets"], name) for name, entry in header.items() if name != "__metadata__"]
    end = 0
    for start, stop, name in sorted(spans):
        if type(start) is not int or type(stop) is not int or start != end or stop < start:
            raise ValueError(f"tensor {name!r} is not where the one before it ends")
        end = stop
    return end
