"""Inputs to measure a model's cost on: their values do not matter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from compressbuild.api import ModelInput, UserError

from .inputs import axis_sizes, example_arrays, fixed_batch

__all__ = ["Example", "example", "fitting"]

_SIZES = (16, 64, 224)  # the last ones for pictures that a model halves again and again


@dataclass(frozen=True, slots=True)
class Example:
    """``feeds``: input name → array of ``batch`` samples. ``axes``: the sizes of the other dynamic axes."""

    feeds: Mapping[str, Any]
    batch: int
    axes: Mapping[str, int]


def example(inputs: Iterable[ModelInput], axes: Mapping[str, int], *, batch: int = 1, seed: int = 0) -> Example:
    """Arrays that fit the inputs: a fixed batch stays, a dynamic axis that ``axes`` does not name is 16.

    One ``axes`` serves models of several kinds, so names that a model lacks do no harm, unless another of its axes
    goes without a size: then it is a misspelling, and a UserError.
    """
    items = tuple(inputs)
    batch = fixed_batch(items) or batch
    dynamic = {axis for item in items for axis in item.shape if isinstance(axis, str)}
    others = {axis for item in items for axis in item.shape[1:] if isinstance(axis, str)}
    unknown, unnamed = sorted(axes.keys() - dynamic), sorted(others - axes.keys())
    if unknown and unnamed:
        raise UserError(
            f"no input has an axis '{unknown[0]}', and the axis '{unnamed[0]}' has no size",
            hint=f"dynamic axes: {', '.join(sorted(dynamic))}",
        )
    sizes = axis_sizes(items, {axis: size for axis, size in axes.items() if axis in dynamic}, batch=batch)
    feeds = example_arrays(items, sizes, batch=batch, seed=seed)
    return Example(feeds, batch, {axis: sizes[axis] for axis in sorted(others)})


def fitting(
    inputs: Iterable[ModelInput],
    axes: Mapping[str, int],
    run: Callable[[Mapping[str, Any]], object],
    *,
    batch: int = 1,
    seed: int = 0,
) -> Example:
    """As :func:`example`, but the axes that ``axes`` does not name are 64 or 224 where the model refuses 16: a detector
    that joins features of several scales takes multiples of 32.

    ``run``: runs the model on input name → array; it is not called where every axis has a size. What it raises at 16
    is raised if it refuses all.
    """
    items = tuple(inputs)
    first = example(items, axes, batch=batch, seed=seed)
    free = first.axes.keys() - axes.keys()
    refused: Exception | None = None
    for size in _SIZES if free else ():
        sample = example(items, {**axes, **dict.fromkeys(free, size)}, batch=batch, seed=seed)
        try:
            run(sample.feeds)
        except Exception as error:  # noqa: BLE001 a runtime's border: it raises anything
            refused = refused or error
        else:
            return sample
    if refused is not None:
        raise refused
    return first
