"""How much the samples that a quantizer calibrates on differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["variety"]


def variety(columns: Mapping[str, np.ndarray], labels: np.ndarray) -> dict[str, Any]:
    """``constant``: whether all samples are equal, of several. ``classes``: how many there are among the samples, where
    labels are integers N. ``columns``: input name → array N×…"""
    several = len(labels) > 1
    found: dict[str, Any] = {"constant": several and all(bool((each == each[:1]).all()) for each in columns.values())}
    if several and labels.ndim == 1 and labels.dtype.kind in "iu":
        found["classes"] = len(set(labels.tolist()))
    return found
