"""What a user may call data: an .npz, a folder of images, a table, a loader; and what can be told from its names.

Only headers are read: of an .npz the names, shapes and types of the arrays, of a table its first line.
"""

from __future__ import annotations

import ast
import csv
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..errors import UsageError
from .model import FACTORY, Given, inside_of

__all__ = ["Array", "Data", "opened"]

_LABELS = ("label", "labels", "y", "target", "targets", "class", "classes")
_TEXTS = ("text", "sentence", "texts", "sentences", "review", "content", "sentence1")
_TOKENS = 64
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_TYPES = {"f2": "float16", "f4": "float32", "f8": "float64", "b1": "bool"}


class Array(msgspec.Struct, frozen=True):
    shape: tuple[int, ...]
    dtype: str


class Data(msgspec.Struct, frozen=True):
    """``entry``: of ``datasets``. ``classes``: whether its labels are classes. ``rows``: it can be split.
    ``inputs``: name → array, where the file says. ``notes``: what to check. ``count``: of rows, or nearly; None where
    it is not known."""

    entry: dict[str, Any]
    classes: bool
    rows: bool = True
    inputs: Mapping[str, Array] = {}
    notes: tuple[str, ...] = ()
    count: int | None = None


def opened(word: str, model: Given, root: Path, size: int | None) -> Data:
    """``size``: pixels of the model's input, where they are known."""
    path = Path(word)
    if not path.exists():
        if FACTORY.fullmatch(word):
            note = "the loader serves calibration and evaluation: write a second one, so that they share no samples"
            return Data({"loader": word}, classes=True, rows=False, notes=(note,))
        raise UsageError(
            f"there is no '{word}'",
            hint="give an .npz, a .csv or .jsonl file, a folder of images, or a loader as module:function",
        )
    inside = inside_of(word, root)
    if path.is_dir():
        return _images(word, path, inside, size, model, root)
    if path.suffix == ".npz":
        return _npz(word, path, inside)
    if path.suffix in (".csv", ".jsonl"):
        return _table(word, path, inside, model)
    raise UsageError(
        f"'{word}' is not data that 'cbuild init' knows",
        hint="give an .npz, a .csv or .jsonl file, a folder of images, or a loader as module:function",
    )


def _npz(word: str, path: Path, inside: str) -> Data:
    try:
        with zipfile.ZipFile(path) as file:
            arrays = {name.removesuffix(".npy"): _header(file, name) for name in file.namelist()}
    except (OSError, ValueError, SyntaxError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise UsageError(f"'{word}' cannot be read: {error}", hint="write it again with numpy.savez") from error
    labels = next((name for name in _LABELS if name in arrays), None)
    inputs = {name: array for name, array in arrays.items() if name != labels}
    if not inputs:
        raise UsageError(f"'{word}' has no array for an input", hint="save one beside the labels with numpy.savez")
    classes = labels is not None and "int" in arrays[labels].dtype and len(arrays[labels].shape) == 1
    entry: dict[str, Any] = {"npz": inside, **({"labels": labels} if labels else {})}
    notes = (
        ()
        if labels
        else ("no array is called label: name those of a classifier (labels: NAME), and the gates compare accuracy",)
    )
    if len(inputs) == 1 and next(iter(inputs.values())).dtype == "uint8":
        entry["divide"] = 255
        notes = (*notes, "pixels are divided by 255: add the mean: and std: that the model was trained with")
    count = min((array.shape[0] for array in inputs.values() if array.shape), default=None)
    return Data(entry, classes, inputs=inputs, notes=notes, count=count)


def _header(file: zipfile.ZipFile, name: str) -> Array:
    """Shape and type of a .npy, by its header alone."""
    with file.open(name) as array:
        start = array.read(8)
        if start[:6] != b"\x93NUMPY":
            raise ValueError(f"'{name}' in it is not an array")
        length = int.from_bytes(array.read(2 if start[6] == 1 else 4), "little")
        said = ast.literal_eval(array.read(length).decode("latin-1"))
    code = said["descr"][1:] if isinstance(said["descr"], str) else ""
    known = {"i": "int", "u": "uint"}.get(code[:1])
    dtype = f"{known}{8 * int(code[1:])}" if known else _TYPES.get(code, "")
    if not dtype:
        raise ValueError(f"array '{name}' has the type {said['descr']!r}, which is not a number")
    return Array(tuple(said["shape"]), dtype)


def _images(word: str, path: Path, inside: str, size: int | None, model: Given, root: Path) -> Data:
    folders = [each for each in path.iterdir() if each.is_dir()]
    if not any(each.suffix.lower() in _IMAGES for place in (path, *folders) for each in place.iterdir()):
        raise UsageError(
            f"the folder '{word}' has no images", hint="give a folder with a directory of images for each class"
        )
    folder = model.entry.get("huggingface")
    if folder is not None and (root / folder / "preprocessor_config.json").is_file():
        entry: dict[str, Any] = {"images": inside, "processor": folder, **({} if folders else {"labels": False})}
        return Data(entry, classes=bool(folders), count=_files(path, folders))
    said = "the size is a guess: " if size is None else ""
    entry = {"images": inside, "size": size or 224, "divide": 255}
    if not folders:
        entry["labels"] = False
    note = f"{said}check size:, and add the mean: and std: that the model was trained with"
    return Data(entry, classes=bool(folders), notes=(note,), count=_files(path, folders))


def _files(path: Path, folders: Sequence[Path]) -> int:
    return sum(each.suffix.lower() in _IMAGES for place in folders or (path,) for each in place.iterdir())


def _table(word: str, path: Path, inside: str, model: Given) -> Data:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix == ".csv":
                columns = next(csv.reader(file), [])
            else:
                first = json.loads(file.readline() or "{}")
                columns = list(first) if isinstance(first, dict) else []
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"'{word}' cannot be read: {error}", hint="write it again in UTF-8") from error
    text = next((name for name in _TEXTS if name in columns), None)
    if text is None or "huggingface" not in model.entry:
        shown = ", ".join(columns[:8]) or "none"
        raise UsageError(
            f"which columns of '{word}' the model takes cannot be told (columns: {shown})",
            hint="write the dataset yourself: 'cbuild help csv' lists its keys; a text column is called text",
        )
    folder = model.entry["huggingface"]
    labels = next((name for name in _LABELS if name in columns), None)
    entry = {path.suffix[1:]: inside, "text": text, **({"labels": labels} if labels else {}), "tokenizer": folder}
    architectures = model.config.get("architectures") or [""]
    classes = labels is not None and "SequenceClassification" in str(architectures[0])
    note = f"texts are cut off after {_TOKENS} tokens"
    return Data({**entry, "length": _TOKENS}, classes, notes=(note,), count=_lines(path))


def _lines(path: Path) -> int:
    """Line breaks of a file: a text may have some of its own."""
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
