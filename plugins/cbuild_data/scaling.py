"""Stored numbers as a model takes them: divided, less a mean, over a standard deviation, of another type."""

from __future__ import annotations

import numpy as np

from compressbuild.api import UserError

from .params import Scaled

__all__ = ["scaled"]


def scaled(array: np.ndarray, params: Scaled, channels: int, what: str) -> np.ndarray:
    """``array`` N×…, scaled. ``channels``: the axis that ``mean`` and ``std`` run along. ``what``: it, for messages."""
    if params.divide is not None or params.mean or params.std:
        array = array.astype(np.float64 if params.dtype == "float64" else np.float32)
        if params.divide is not None:
            array = array / array.dtype.type(params.divide)
        if params.mean:
            array = array - _along(params.mean, array, channels, what, "mean")
        if params.std:
            array = array / _along(params.std, array, channels, what, "std")
    return array if params.dtype is None else array.astype(params.dtype)


def _along(values: tuple[float, ...], array: np.ndarray, axis: int, what: str, name: str) -> np.ndarray:
    found = np.asarray(values, array.dtype)
    if len(values) == 1:
        return found
    if array.ndim <= axis or array.shape[axis] != len(values):
        shape = ", ".join(map(str, ("N", *array.shape[1:])))
        raise UserError(
            f"'{name}' has {len(values)} numbers, and {what} has the shape [{shape}]",
            hint=f"give one number, or one for each of the channels, which are axis {axis}",
        )
    return found.reshape([-1 if each == axis else 1 for each in range(array.ndim)])
