"""The kind ``predictions``: arrays as ``.npy`` files, whose bytes depend on the values alone.

::

    predictions.json        {"count": 360, "labels": "labels.npy",
                             "outputs": [{"name": "logits", "file": "outputs/logits.npy"}]}
    labels.npy              N×…
    outputs/logits.npy      N×…, one file for each output, in the model's order
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Predictions", "validate"]

INDEX = "predictions.json"


@dataclass(frozen=True, slots=True)
class Predictions:
    """``outputs``: name → array N×…, in the model's order. ``labels``: N×…, in the dataset's order."""

    outputs: Mapping[str, np.ndarray]
    labels: np.ndarray

    def write(self, directory: Path) -> None:
        (directory / "outputs").mkdir()
        rows: list[dict[str, str]] = []
        used: set[str] = set()
        for name, array in self.outputs.items():
            stem = re.sub(r"[^\w.-]", "_", name)
            file = f"outputs/{stem}.npy"
            if file.lower() in used:  # two names that differ in case or in a strange character only
                file = f"outputs/{stem}-{len(rows)}.npy"
            used.add(file.lower())
            rows.append({"name": name, "file": file})
            _write(directory / file, array)
        _write(directory / "labels.npy", self.labels)
        index = {"count": len(self.labels), "labels": "labels.npy", "outputs": rows}
        (directory / INDEX).write_text(json.dumps(index, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> Predictions:
        """ValueError if a file is not what :meth:`write` makes."""
        try:
            index = json.loads((directory / INDEX).read_text(encoding="utf-8"))
            outputs = {row["name"]: _read(directory, row["file"]) for row in index["outputs"]}
            labels = _read(directory, index["labels"])
            count = index["count"]
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{INDEX} is damaged: {error!r}") from error
        for name, array in (("labels", labels), *outputs.items()):
            if array.ndim == 0 or len(array) != count:
                raise ValueError(f"{name} has the shape {array.shape}, not {count} rows")
        return cls(outputs, labels)


def validate(directory: Path) -> None:
    """ValueError unless every array is there with a row for each sample."""
    Predictions.read(directory)


def _write(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)


def _read(directory: Path, name: Any) -> np.ndarray:
    path = directory / str(name)
    if not path.resolve().is_relative_to(directory.resolve()):
        raise ValueError(f"{INDEX} names the file {name} outside of the artifact")
    array: np.ndarray = np.load(path, allow_pickle=False)
    return array
