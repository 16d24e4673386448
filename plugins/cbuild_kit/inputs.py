"""Sizes and arrays for a model's declared inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from compressbuild.api import ModelInput, UserError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["axis_sizes", "example_arrays", "fit", "fixed_batch"]


def axis_sizes(
    inputs: Iterable[ModelInput], sizes: Mapping[str, int] | None = None, *, batch: int = 2, other: int = 16
) -> dict[str, int]:
    """A size for every dynamic axis: as ``sizes`` says, else ``batch`` for a first axis and ``other`` for the rest."""
    given = dict(sizes or {})
    found: dict[str, int] = {}
    for item in inputs:
        for position, axis in enumerate(item.shape):
            if isinstance(axis, str) and axis not in found:
                found[axis] = given.get(axis, batch if position == 0 else other)
    unknown = [axis for axis in given if axis not in found]
    if unknown:
        raise UserError(f"no input has an axis '{unknown[0]}'", hint=f"dynamic axes: {', '.join(found) or 'none'}")
    return found


def example_arrays(
    inputs: Iterable[ModelInput], sizes: Mapping[str, int] | None = None, *, batch: int = 2, seed: int = 0
) -> dict[str, np.ndarray]:
    """Arrays that fit the inputs: floats standard normal, integers one (a token id, a full mask), booleans true but for
    the last of each row (a mask that leaves something, whether true stands for what counts or for what does not)."""
    import numpy as np

    items = tuple(inputs)
    known = axis_sizes(items, sizes, batch=batch)
    generator = np.random.default_rng(seed)
    made = {}
    for item in items:
        shape = tuple(known[axis] if isinstance(axis, str) else axis for axis in item.shape)
        dtype = np.dtype(item.dtype)
        made[item.name] = generator.standard_normal(shape).astype(dtype) if dtype.kind == "f" else np.ones(shape, dtype)
        if dtype.kind == "b" and len(shape) > 1 and shape[-1] > 1:
            made[item.name][..., -1] = False
    return made


def fixed_batch(inputs: Iterable[ModelInput]) -> int | None:
    """The model's fixed batch size, or None if its first axis is dynamic."""
    return next((item.shape[0] for item in inputs if item.shape and isinstance(item.shape[0], int)), None)


def fit(data: Mapping[str, np.ndarray], inputs: Iterable[ModelInput]) -> dict[str, np.ndarray]:
    """``data`` cast to the declared types, after checking every fixed axis. UserError where they do not fit.

    Only the width of a type may change (float64 → float32, int32 → int64), never its nature: whether uint8 pixels mean
    0…255 or 0…1 is the loader's to say.
    """
    import numpy as np

    fitted = {}
    for item in inputs:
        array = data[item.name]
        wanted = np.dtype(item.dtype)
        form = f"{array.dtype} [{', '.join(map(str, ('N', *array.shape[1:])))}]"
        if len(array.shape) != len(item.shape) or any(
            isinstance(axis, int) and axis != size
            for position, (axis, size) in enumerate(zip(item.shape, array.shape, strict=True))
            if position > 0
        ):
            raise UserError(f"the data does not fit the model: it expects {item}, but the data is {form}")
        if not np.can_cast(array.dtype, wanted, casting="same_kind") or (array.dtype.kind == "b") != (
            wanted.kind == "b"
        ):
            raise UserError(
                f"the data does not fit the model: it expects {item}, but the data is {form}",
                hint=f"convert it to {wanted.name} in the loader",
            )
        if array.dtype.kind in "biu" and wanted.kind == "f":
            raise UserError(
                f"the data does not fit the model: it expects {item}, but the data is {form}",
                hint=f"convert it to {wanted.name} in the loader",
            )
        fitted[item.name] = np.asarray(array, wanted, order="C")
    return fitted
