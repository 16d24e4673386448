"""Columns of a table as inputs and labels."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cbuild_kit import unlabelled

from compressbuild.api import Context, Rows, UserError

from ..batches import Batches, chosen
from ..words import meant
from .params import Table
from .text import Tokenizer

__all__ = ["Read", "batches", "paths", "wanted"]

Columns = Mapping[str, Sequence[Any]]


class Read(NamedTuple):
    """What was read: the columns that are wanted, and where each row stands (``file:line``)."""

    columns: Columns
    places: Sequence[str]


def paths(ctx: Context, pattern: str, suffixes: tuple[str, ...]) -> list[tuple[Path, str]]:
    """The files that a key names, each with its name for messages."""
    whole = ctx.file(pattern)
    if whole.is_dir():
        names = sorted(str(each) for each in whole.iterdir() if each.suffix in suffixes)
    else:
        names = [str(whole)] if whole.exists() else sorted(glob.glob(str(whole), recursive=True))
    if not names:
        raise UserError(f"'{pattern}' has no file that ends in {' or '.join(suffixes)}")
    root = os.path.commonpath([str(whole), names[0]]) if len(names) > 1 else ""
    return [(Path(name), os.path.relpath(name, root) if root else pattern) for name in names]


def wanted(params: Table) -> list[str]:
    """The columns that are read, each once."""
    text = (params.text,) if isinstance(params.text, str) else params.text
    numbers = [name for given in params.inputs.values() for name in ((given,) if isinstance(given, str) else given)]
    return list(dict.fromkeys([*text, *numbers, *([params.labels] if params.labels is not None else [])]))


def unknown(name: str, known: Sequence[str], path: str) -> UserError:
    return UserError(f"'{path}' has no column '{name}'", hint=meant(name, known, "columns"))


def batches(ctx: Context, params: Table, rows: Rows, read: Read, path: str) -> Batches:
    """The batches of a table that was read from ``path``."""
    which = chosen(rows, len(read.places), path)
    labels = _labels(params, read) if params.labels is not None else None
    names = [name for name in wanted(params) if name != params.labels]
    if params.inputs:
        arrays = {name: _numbers(read, given, params.dtype) for name, given in params.inputs.items()}

        def inputs(these: Sequence[int]) -> dict[str, np.ndarray]:
            return {name: array[these] for name, array in arrays.items()}
    else:
        assert params.tokenizer is not None
        names = [params.text] if isinstance(params.text, str) else list(params.text)
        tokenizer = Tokenizer(ctx.file(params.tokenizer), params.tokenizer, params.length, pairs=len(names) == 2)
        texts = [_texts(read, name) for name in names]

        def inputs(these: Sequence[int]) -> dict[str, np.ndarray]:
            return tokenizer(*([column[row] for row in these] for column in texts))

    def take(these: Sequence[int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        return inputs(these), labels[these] if labels is not None else unlabelled(len(these))

    return Batches(which, take, partial(_said, read, names, bare=not params.inputs))


def _said(read: Read, columns: Sequence[str], rows: Sequence[int], *, bare: bool) -> list[str]:
    """The rows in words. ``bare``: texts, without the names of their columns."""
    values = ([(name, read.columns[name][row]) for name in columns] for row in rows)
    return ["\n".join(str(value) if bare else f"{name}: {value}" for name, value in row) for row in values]


def _texts(read: Read, name: str) -> Sequence[str]:
    for value, place in zip(read.columns[name], read.places, strict=True):
        if not isinstance(value, str):
            raise UserError(
                f"{place}: column '{name}' is {_shown(value)}, not text",
                hint="choose another column, or remove the row",
            )
    return read.columns[name]


def _numbers(read: Read, given: str | tuple[str, ...], dtype: str) -> np.ndarray:
    """N for one column, N×k for several; a column of lists is N×… ."""
    if isinstance(given, str):
        return _column(read, given, dtype)
    return np.stack([_column(read, name, dtype) for name in given], axis=1)


def _column(read: Read, name: str, dtype: str) -> np.ndarray:
    values = read.columns[name]
    if any(isinstance(value, list | tuple) for value in values):
        sizes = {np.shape(value) for value in values} if all(isinstance(v, list | tuple) for v in values) else set()
        if len(sizes) != 1:
            raise UserError(f"the lists of column '{name}' differ in length", hint="make them as long as each other")
        try:
            return np.asarray(values, dtype)
        except (ValueError, TypeError) as error:
            raise UserError(f"the lists of column '{name}' are not all numbers: {error}") from error
    return np.asarray([_number(v, name, p, dtype) for v, p in zip(values, read.places, strict=True)], dtype)


def _number(value: Any, name: str, place: str, dtype: str) -> float | int:
    try:
        if isinstance(value, bool | int | float):
            number = value
        else:
            number = int(value) if dtype.startswith("int") else float(value)
    except (ValueError, TypeError):
        raise UserError(
            f"{place}: column '{name}' is {_shown(value)}, not a number", hint="choose another column, or fix the row"
        ) from None
    if dtype.startswith("int") and number != int(number):
        raise UserError(f"{place}: column '{name}' is {_shown(value)}, not a whole number", hint="'dtype: float32'")
    return number


def _labels(params: Table, read: Read) -> np.ndarray:
    """Whole numbers as they are, other numbers as float32; texts as the numbers of their classes."""
    assert params.labels is not None
    values = read.columns[params.labels]
    for value, place in zip(values, read.places, strict=True):
        if value is None or value == "":
            raise UserError(f"{place}: the label in column '{params.labels}' is missing", hint="remove the row")
    if not params.classes:
        if all(isinstance(v, bool) for v in values):
            return np.asarray(values, np.int64)
        if (whole := _all(int, values)) is not None and all(not isinstance(v, float) for v in values):
            return np.asarray(whole, np.int64)
        if (numbers := _all(float, values)) is not None:
            return np.asarray(numbers, np.float32)
        lists = next((place for v, place in zip(values, read.places, strict=True) if isinstance(v, list | dict)), None)
        if lists is not None:
            raise UserError(f"{lists}: the label in column '{params.labels}' is neither a number nor text")
    classes = params.classes or tuple(sorted({str(value) for value in values}))
    index = {name: number for number, name in enumerate(classes)}
    for value, place in zip(values, read.places, strict=True):
        if str(value) not in index:
            raise UserError(
                f"{place}: the label '{value}' is none of the 'classes'", hint=meant(str(value), classes, "classes")
            )
    return np.asarray([index[str(value)] for value in values], np.int64)


def _all(kind: type, values: Sequence[Any]) -> list[Any] | None:
    try:
        return [kind(value) for value in values]
    except (ValueError, TypeError):
        return None


def _shown(value: Any) -> str:
    return "empty" if value is None or value == "" else f"'{str(value)[:40]}'"
