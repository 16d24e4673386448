"""The sources ``npz`` and ``npy``."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import unlabelled
from cbuild_kit.previews import pictures

from compressbuild.api import Context, Rows, UserError

from ..batches import Batches, chosen
from ..params import Scaled
from ..scaling import scaled
from ..words import listed, meant
from .params import Npy, Npz

__all__ = ["npy", "npz"]

_CHANNELS = 1  # axis of N×C×…, as models of images take them


def npz(ctx: Context, params: Npz, rows: Rows) -> Batches:
    """Arrays of one file, by name."""
    with _opened(ctx.file(params.npz), params.npz) as file:
        names = list(file.files)
        if params.labels is not None and params.labels not in names:
            raise _no_array(params.npz, params.labels, names, "'labels'")
        for name, array in params.inputs.items():
            if array not in names:
                raise _no_array(params.npz, array, names, f"input '{name}'")
        inputs = params.inputs or {name: name for name in names if name != params.labels}
        arrays = {name: _array(file, array, params.npz) for name, array in inputs.items()}
        labels = _array(file, params.labels, params.npz) if params.labels is not None else None
    alone = not params.inputs and len(arrays) == 1
    return _batches(arrays, labels, params, rows, params.npz, alone=alone)


def npy(ctx: Context, params: Npy, rows: Rows) -> Batches:
    """Arrays, each in a file of its own."""
    files = params.npy if isinstance(params.npy, dict) else {"": params.npy}
    arrays = {name: _mapped(ctx.file(path), path) for name, path in files.items()}
    labels = _mapped(ctx.file(params.labels), params.labels) if params.labels is not None else None
    return _batches(
        arrays, labels, params, rows, next(iter(files.values()), "npy"), alone=not isinstance(params.npy, dict)
    )


def _batches(
    arrays: Mapping[str, np.ndarray], labels: np.ndarray | None, params: Scaled, rows: Rows, path: str, *, alone: bool
) -> Batches:
    """``alone``: the only array is for the model's only input, whatever that is called."""
    if not arrays:
        raise UserError(f"'{path}' has no array for an input", hint="save one beside the labels")
    if params.is_scaling and len(arrays) > 1:
        raise UserError(
            f"'divide', 'mean', 'std' and 'dtype' are for data of one input, and there are {listed(arrays)}",
            hint="choose one with 'inputs: {INPUT: ARRAY}', or store the arrays as the model takes them",
        )
    count = _count(arrays, labels, path)

    def take(which: Sequence[int]) -> tuple[Any, np.ndarray]:
        found = {name: np.ascontiguousarray(array[which]) for name, array in arrays.items()}
        if params.is_scaling:
            found = {name: scaled(array, params, _CHANNELS, f"'{name or path}'") for name, array in found.items()}
        said = labels[which] if labels is not None else unlabelled(len(which))
        return next(iter(found.values())) if alone else found, said

    def show(which: Sequence[int]) -> Sequence[Any]:
        return pictures({name: array[which] for name, array in arrays.items()})

    return Batches(chosen(rows, count, path), take, show)


def _count(arrays: Mapping[str, np.ndarray], labels: np.ndarray | None, path: str) -> int:
    """Rows of every array; UserError if two differ."""
    named = {f"'{name}'" if name else "the array": array for name, array in arrays.items()}
    named |= {"the labels": labels} if labels is not None else {}
    for what, array in named.items():
        if array.ndim == 0:
            raise UserError(f"{what} of '{path}' is a single number", hint="the first axis of an array is the samples")
    (first, rows), *others = ((what, len(array)) for what, array in named.items())
    for what, other in others:
        if other != rows:
            raise UserError(
                f"{first} of '{path}' has {rows:,} rows, but {what} {other:,}",
                hint="each array needs a row for each sample: choose with 'labels:' and 'inputs:' which are meant",
            )
    return rows


def _opened(path: Path, shown: str) -> Any:
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(shown, error, ".npz") from error
    if isinstance(found, np.ndarray):
        raise UserError(f"'{shown}' is a single array, not a .npz file", hint=f"write 'npy: {shown}'")
    return found


def _mapped(path: Path, shown: str) -> np.ndarray:
    """An array that is read as it is needed."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(shown, error, ".npy") from error
    if not isinstance(found, np.ndarray):
        raise UserError(f"'{shown}' holds several arrays", hint=f"write 'npz: {shown}'")
    return found


def _array(file: Any, name: str, shown: str) -> np.ndarray:
    try:
        array: np.ndarray = file[name]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(shown, error, ".npz", f"array '{name}' of ") from error
    return array


def _unreadable(shown: str, error: Exception, suffix: str, part: str = "") -> UserError:
    if "pickle" in str(error):
        if "Object arrays" in str(error):
            return UserError(
                f"{part}'{shown}' is an array of Python objects, which only pickle can read, and pickle runs code",
                hint="save numbers: np.asarray(values, np.float32)",
            )
        return UserError(f"{part}'{shown}' is not a {suffix} file", hint="write it with numpy.savez or numpy.save")
    return UserError(f"{part}'{shown}' cannot be read: {error}", hint="it may be cut off or damaged: write it again")


def _no_array(path: str, name: str, known: Sequence[str], what: str) -> UserError:
    return UserError(f"{what} is to be array '{name}', which '{path}' does not have", hint=meant(name, known, "arrays"))
