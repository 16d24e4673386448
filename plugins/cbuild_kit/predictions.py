"""The kinds ``predictions`` and ``examples``: arrays as ``.npy`` files, whose bytes depend on the values alone.

::

    predictions.json        {"count": 360, "labels": "labels.npy",
                             "outputs": [{"name": "logits", "file": "outputs/logits.npy"}]}
    labels.npy              N×…
    outputs/logits.npy      N×…, one file for each output, in the model's order

``examples`` have ``examples.json`` and ``inputs/`` instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Examples", "Predictions", "validate", "validate_examples"]


@dataclass(frozen=True, slots=True)
class Predictions:
    """``outputs``: name → array N×…, in the model's order. ``labels``: N×…, in the dataset's order. ``labels_of``: the
    input that they copy, if they do, as in language models."""

    outputs: Mapping[str, np.ndarray]
    labels: np.ndarray
    labels_of: str | None = None

    def write(self, directory: Path) -> None:
        _store(directory, "predictions", "outputs", self.outputs, self.labels, self.labels_of)

    @classmethod
    def read(cls, directory: Path) -> Predictions:
        """ValueError if a file is not what :meth:`write` makes."""
        outputs, labels, labels_of = _fetch(directory, "predictions", "outputs")
        return cls(outputs, labels, labels_of)


@dataclass(frozen=True, slots=True)
class Examples:
    """``inputs``: name → array N×… that a model can be run on. ``labels``: N×… ."""

    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray

    def write(self, directory: Path) -> None:
        _store(directory, "examples", "inputs", self.inputs, self.labels)

    @classmethod
    def read(cls, directory: Path) -> Examples:
        """ValueError if a file is not what :meth:`write` makes."""
        inputs, labels, _ = _fetch(directory, "examples", "inputs")
        return cls(inputs, labels)


def validate(directory: Path) -> None:
    """ValueError unless every array is there with a row for each sample."""
    Predictions.read(directory)


def validate_examples(directory: Path) -> None:
    """As :func:`validate`, of examples."""
    Examples.read(directory)


def _store(
    directory: Path,
    kind: str,
    folder: str,
    arrays: Mapping[str, np.ndarray],
    labels: np.ndarray,
    labels_of: str | None = None,
) -> None:
    (directory / folder).mkdir()
    rows: list[dict[str, str]] = []
    used: set[str] = set()
    for name, array in arrays.items():
        stem = re.sub(r"[^\w.-]", "_", name)
        file = f"{folder}/{stem}.npy"
        if file.lower() in used:  # two names that differ in case or in a strange character only
            file = f"{folder}/{stem}-{len(rows)}.npy"
        used.add(file.lower())
        rows.append({"name": name, "file": file})
        _write(directory / file, array)
    _write(directory / "labels.npy", labels)
    index: dict[str, Any] = {"count": len(labels), "labels": "labels.npy", folder: rows}
    if labels_of is not None:
        index["labels_of"] = labels_of
    (directory / f"{kind}.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _fetch(directory: Path, kind: str, folder: str) -> tuple[dict[str, np.ndarray], np.ndarray, str | None]:
    file = f"{kind}.json"
    try:
        index = json.loads((directory / file).read_text(encoding="utf-8"))
        arrays = {row["name"]: _read(directory, file, row["file"]) for row in index[folder]}
        labels = _read(directory, file, index["labels"])
        count, labels_of = index["count"], index.get("labels_of")
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} is damaged: {error!r}") from error
    for name, array in (("labels", labels), *arrays.items()):
        if array.ndim == 0 or len(array) != count:
            raise ValueError(f"{name} has the shape {array.shape}, not {count} rows")
    return arrays, labels, labels_of


def _write(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)


def _read(directory: Path, index: str, name: Any) -> np.ndarray:
    path = directory / str(name)
    if not path.resolve().is_relative_to(directory.resolve()):
        raise ValueError(f"{index} names the file {name} outside of the artifact")
    try:
        array: np.ndarray = np.load(path, allow_pickle=False)
    except EOFError as error:
        raise ValueError(f"{name} is damaged: {error}") from error
    return array
