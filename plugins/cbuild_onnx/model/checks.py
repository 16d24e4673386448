"""Numeric comparison of a model with what it was made from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compressbuild.api import UserError

__all__ = ["compare"]

_LEAST = 1e-3  # of an output that is zero but for rounding
_ROUNDING = 2.0**-15


def compare(
    found: Mapping[str, np.ndarray],
    wanted: Mapping[str, np.ndarray],
    *,
    atol: float,
    rtol: float,
    what: str,
    per_output: bool = False,
    hint: str,
) -> float:
    """The largest difference of any output; UserError where it exceeds ``atol + rtol·|wanted|``, or where names,
    shapes or NaNs differ, or where nothing finite is there to compare. ``per_output``: relative to the largest
    magnitude of the output, not to each value. ``atol`` is for values of about 1: where all of an output are below
    a quarter, as probabilities of many classes, it shrinks with them, down to a thousandth. Rounding of float32 is no
    difference: sums in another order, of terms as large as the output's largest value, leave some 2^-15 of it in a
    value near zero. ``hint``: the likely causes of a difference."""
    if list(found) != list(wanted):
        raise UserError(f"{what} has outputs {list(found)}, its source {list(wanted)}")
    if wanted and not any(np.isfinite(value).any() or not np.size(value) for value in wanted.values()):
        raise UserError(
            f"{what} cannot be compared: its source gives no finite number on the inputs of the check",
            hint="check that its weights are finite; if it needs inputs of its own kind, name a dataset: 'data: NAME'",
        )
    worst = 0.0
    for name, expected in wanted.items():
        got = np.asarray(found[name], np.float64)
        expected = np.asarray(expected, np.float64)
        if got.shape != expected.shape:
            raise UserError(
                f"output '{name}' of {what} has the shape {list(got.shape)}, its source's {list(expected.shape)}"
            )
        with np.errstate(invalid="ignore"):
            difference = np.where((got == expected) | (np.isnan(got) & np.isnan(expected)), 0.0, np.abs(got - expected))
        magnitude = np.where(np.isfinite(expected), np.abs(expected), 0.0)
        largest = np.max(magnitude, initial=0.0)
        if per_output:
            magnitude = largest
        relative = np.maximum(rtol * magnitude, min(rtol, _ROUNDING) * largest)
        if not np.all(difference <= atol * np.clip(4 * largest, _LEAST, 1.0) + relative):
            raise UserError(
                f"{what} differs from its source: output '{name}' by up to {np.max(difference):.3g} "
                f"(values up to {np.max(magnitude):.3g})",
                hint=hint,
            )
        worst = max(worst, float(np.max(difference, initial=0.0)))
    return worst
