"""Turns what a user's loader yields into arrays, and arrays into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compressbuild.api import UserError
from compressbuild.api.advice import EMPTY

if TYPE_CHECKING:
    import numpy as np

__all__ = ["arrays", "batch_indices", "batches"]

_FORM = (
    "a loader yields batches (inputs, labels): inputs: an array N×…, a mapping name → array, or a tuple in input order"
)


def arrays(
    dataset: Iterable[Any], input_names: Sequence[str], *, limit: int | None = None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """All batches of ``dataset`` in one piece: input name → array N×…, and labels N×… .

    Each batch is ``(inputs, labels)``; ``inputs`` is an array (a model of one input), a mapping that has every name of
    ``input_names`` (others are left out), or a tuple in their order. ``limit``: stop after that many samples.
    UserError: no batch, a batch of another form, sample counts that differ, or shapes and types that change between
    batches.
    """
    import numpy as np

    names = tuple(input_names)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in (*names, "")}  # "": the labels
    taken = 0
    for index, batch in enumerate(_iterate(dataset)):
        row = _row(batch, names, index)
        keep = len(row[""]) if limit is None else min(limit - taken, len(row[""]))
        for name, array in row.items():
            if columns[name]:
                _same_form(name, columns[name][0], array, index)
            columns[name].append(array[:keep])
        taken += keep
        if taken == limit:
            break
    if taken == 0:
        raise UserError("the dataset is empty", hint=_FORM, about=EMPTY)
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    labels = whole.pop("")
    return whole, labels


def batches(
    inputs: Mapping[str, np.ndarray],
    labels: np.ndarray,
    size: int,
    *,
    seed: int | Sequence[int] | None = None,
    drop_single: bool = False,
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Batches of ``size`` samples in the order of :func:`batch_indices`."""
    for chosen in batch_indices(len(labels), size, seed=seed, drop_single=drop_single):
        yield {name: array[chosen] for name, array in inputs.items()}, labels[chosen]


def batch_indices(
    count: int, size: int, *, seed: int | Sequence[int] | None = None, drop_single: bool = False
) -> Iterator[np.ndarray]:
    """Indices of each batch of ``size`` out of ``count``, the last one shorter; shuffled when a ``seed`` is given.

    ``drop_single``: leave out a last batch of one sample (batch normalisation cannot train on it).
    """
    import numpy as np

    order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    for start in range(0, count, size):
        chosen = order[start : start + size]
        if drop_single and len(chosen) == 1 and start > 0:
            return
        yield chosen


def _iterate(dataset: Iterable[Any]) -> Iterator[Any]:
    try:
        return iter(dataset)
    except TypeError:
        raise UserError(f"the dataset is a {type(dataset).__name__}, which cannot be iterated", hint=_FORM) from None


def _row(batch: Any, names: tuple[str, ...], index: int) -> dict[str, np.ndarray]:
    """One batch as name → array, with the labels under the empty name."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        alone = "; without labels, yield (inputs, np.zeros(len(inputs))) for a step that uses none"
        raise UserError(f"batch {index} of the dataset is not a pair (inputs, labels)", hint=_FORM + alone)
    inputs, labels = batch
    if labels is None:
        raise UserError(
            f"batch {index} of the dataset has no labels: they are None",
            hint="if the step uses no labels, yield (inputs, np.zeros(len(inputs)))",
        )
    if isinstance(inputs, Mapping):
        missing = [name for name in names if name not in inputs]
        if missing:
            raise UserError(
                f"batch {index} of the dataset has no input '{missing[0]}'",
                hint=f"it has: {', '.join(map(str, inputs)) or 'nothing'}; the model expects: {', '.join(names)}",
            )
        values = [inputs[name] for name in names]
    elif isinstance(inputs, tuple | list):
        values = list(inputs)
    else:
        values = [inputs]
    if len(values) != len(names):
        raise UserError(
            f"batch {index} of the dataset has {len(values)} inputs, the model has {len(names)} ({', '.join(names)})",
            hint=_FORM,
        )
    row = {name: _array(value, f"input '{name}'", index) for name, value in zip(names, values, strict=True)}
    row[""] = _array(labels, "labels", index)
    for name in names:
        if len(row[name]) != len(row[""]):
            raise UserError(
                f"batch {index} of the dataset has {len(row[name])} samples of input '{name}' but {len(row[''])} labels"
            )
    return row


def _array(value: Any, what: str, index: int) -> np.ndarray:
    import numpy as np

    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged nests, tensors on another device
        raise UserError(
            f"{what} of batch {index} of the dataset cannot be converted to an array: {error}", hint=_FORM
        ) from None
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise UserError(
            f"{what} of batch {index} of the dataset is not a numeric array N×… "
            f"(type {array.dtype}, shape {array.shape})",
            hint=_FORM,
        )
    return array


def _same_form(name: str, first: np.ndarray, array: np.ndarray, index: int) -> None:
    if array.shape[1:] != first.shape[1:] or array.dtype != first.dtype:
        what = f"input '{name}'" if name else "labels"
        raise UserError(
            f"{what} of batch {index} of the dataset: {_form(array)}, but {_form(first)} in batch 0",
            hint="every batch must have the same type, and the same shape after the first axis (pad or crop)",
        )


def _form(array: np.ndarray) -> str:
    return f"{array.dtype} {('N', *array.shape[1:])}".replace("'", "")
