"""The technique ``metrics.predict``: a model's answers to a whole dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import arrays, fit, fixed_batch
from cbuild_kit.predictions import Predictions

from compressbuild.api import Context, ModelInput, Runner, UserError

from .params import Predict

__all__ = ["answers", "joined", "predict", "regrouped", "run_over"]


def predict(ctx: Context, subject: Path, params: Predict) -> dict[str, Any]:
    """Run the subject over the dataset; returns the number of samples and what ran them."""
    runner = ctx.runner("subject")
    predictions = run_over(ctx, runner, ctx.dataset(params.data), params.batch)
    predictions.write(ctx.out)
    return {
        "count": len(predictions.labels),
        "runs_on": runner.describe(),
        "signature": _signature(runner.inputs, predictions),
    }


def _signature(inputs: Sequence[ModelInput], predictions: Predictions) -> dict[str, Any]:
    """What the subject takes and gives, for the report: the first axis of an output is that of the first input."""
    batch = inputs[0].shape[0] if inputs and inputs[0].shape else "batch"
    return {
        "inputs": [{"name": i.name, "shape": list(i.shape), "dtype": i.dtype} for i in inputs],
        "outputs": [
            {"name": name, "shape": [batch, *array.shape[1:]], "dtype": array.dtype.name}
            for name, array in predictions.outputs.items()
        ],
    }


def run_over(ctx: Context, runner: Runner, dataset: Any, batch: int) -> Predictions:
    """The answers to a whole dataset, in batches of ``batch`` samples where the model leaves that open."""
    inputs = runner.inputs
    size = fixed_batch(inputs) or batch
    pieces: dict[str, list[np.ndarray]] = {}
    apart: dict[str, Any] = {}
    labels: list[np.ndarray] = []
    copied: set[str] | None = None
    total = len(dataset) if hasattr(dataset, "__len__") else 0
    for done, feeds, chunk in regrouped(dataset, [item.name for item in inputs], size):
        outputs = answers(runner, fit(feeds, inputs), len(chunk), fixed_batch(inputs), apart)
        for name, array in outputs.items():
            pieces.setdefault(name, []).append(array)
        labels.append(chunk)
        same = {name for name, array in feeds.items() if _is_copy(chunk, array)}
        copied = same if copied is None else copied & same
        ctx.progress(done, total if total >= done else 0)
    if not labels:
        raise UserError("the dataset is empty", hint="a loader yields batches (inputs, labels)")
    for name, shape in apart.items():
        ctx.log.warning("output '%s' is left out: its shape %s has no row for each sample", name, shape)
        pieces.pop(name, None)  # in a batch of another size it may have had as many
    if not pieces:
        raise UserError(f"the outputs {', '.join(apart)} have no row for each sample", hint=_BATCH_FIRST)
    outputs = {name: joined(f"output '{name}'", parts) for name, parts in pieces.items()}
    return Predictions(outputs, joined("labels", labels), min(copied, default=None) if copied else None)


def _is_copy(labels: np.ndarray, values: np.ndarray) -> bool:
    """Whether labels are the tokens of an input, some of them left out by -100."""
    if labels.ndim < 2 or labels.dtype.kind not in "iu" or labels.shape != values.shape:
        return False
    kept = labels != _LEFT_OUT
    return bool(kept.any() and (labels[kept] == values[kept]).all())


_BATCH_FIRST = (
    "an output's first axis must be the batch; let a detector also give out its boxes and scores as they are before "
    "NonMaxSuppression"
)
_LEFT_OUT = -100  # PyTorch's label of what does not count
Row = tuple[dict[str, np.ndarray], np.ndarray]  # feeds, labels


def regrouped(
    dataset: Iterable[Any], names: Sequence[str], size: int
) -> Iterator[tuple[int, dict[str, np.ndarray], np.ndarray]]:
    """(batches read, feeds, labels) of ``size`` rows each; the last, and one before a change of shape, is shorter."""
    waiting: list[Row] = []
    index = 0
    try:
        batches = iter(dataset)
    except TypeError:
        batches = iter((dataset,))  # the check of a batch says what is wrong with it
    for index, batch in enumerate(batches, 1):
        row = _checked(batch, names, index - 1)
        if waiting and _form(row) != _form(waiting[0]):
            yield from ((index - 1, *piece) for piece in _pieces(waiting, size))
            waiting = []
        waiting.append(row)
        if sum(len(labels) for _, labels in waiting) >= size:
            pieces = _pieces(waiting, size)
            waiting = [] if len(pieces[-1][1]) == size else [pieces.pop()]
            yield from ((index, *piece) for piece in pieces)
    if waiting:
        yield from ((index, *piece) for piece in _pieces(waiting, size))


def _checked(batch: Any, names: Sequence[str], index: int) -> Row:
    try:
        return arrays((batch,), names)
    except UserError as error:
        raise UserError(str(error).replace("batch 0 of", f"batch {index} of"), hint=error.hint) from None


def _form(row: Row) -> list[Any]:
    return [(array.shape[1:], array.dtype) for array in (*row[0].values(), row[1])]


def _pieces(waiting: Sequence[Row], size: int) -> list[Row]:
    """The rows in pieces of ``size``; the last may be shorter."""
    feeds = {name: np.concatenate([row[name] for row, _ in waiting]) for name in waiting[0][0]}
    labels = np.concatenate([part for _, part in waiting])
    return [
        ({name: array[start : start + size] for name, array in feeds.items()}, labels[start : start + size])
        for start in range(0, len(labels), size)
    ]


def answers(
    runner: Any, feeds: Mapping[str, np.ndarray], count: int, fixed: int | None, apart: dict[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """One run; a model of fixed batch gets the last row repeated, and the answers to those are dropped. An output with
    other rows, such as the list of boxes that a detector kept, is left out, and joins ``apart`` with its shape;
    UserError if all are."""
    if fixed is not None and count < fixed:
        feeds = {name: np.concatenate([a, np.repeat(a[-1:], fixed - count, axis=0)]) for name, a in feeds.items()}
    rows = fixed if fixed is not None else count
    found: dict[str, np.ndarray] = {}
    apart = {} if apart is None else apart
    for name, array in runner(feeds).items():
        if array.ndim == 0 or len(array) != rows:
            apart[name] = list(array.shape)
        else:
            found[name] = array[:count]
    if apart and not found:
        name, shape = next(iter(apart.items()))
        raise UserError(
            f"output '{name}' has the shape {shape} for {rows} samples",
            hint=_BATCH_FIRST,
        )
    return found


def joined(what: str, parts: Sequence[np.ndarray]) -> np.ndarray:
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise UserError(
            f"{what} differ in shape between batches: {', '.join(map(str, sorted(shapes)))}",
            hint="pad the samples to one size in the loader",
        )
    return np.concatenate(parts)
