"""How far apart one output of two models is, added up case by case and in pieces, as an output may be large.

    max_error   max |found − wanted| / max |wanted|
    cosine      Σ found·wanted / (‖found‖·‖wanted‖)
    sqnr_db     10·log10(Σ wanted² / Σ (found − wanted)²), the signal-to-quantization-noise ratio

Elements that are not finite in the source are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Agreement"]

EXACT_DB = 200.0  # of a comparison without any noise, whose ratio is infinite
_PIECE = 1 << 20  # elements


class Agreement:
    """``wanted``: the source's values, one array per case; :meth:`add` takes the other model's, case by case."""

    def __init__(self, wanted: Iterable[np.ndarray], max_error: float) -> None:
        """``max_error``: share of the largest magnitude beyond which an element counts as off."""
        self.peak = max((_peak(array) for array in wanted), default=0.0)
        self._scale = self.peak or 1.0  # so that squares neither overflow nor vanish
        self._allowed = max_error * self.peak
        self.worst = self._signal = self._error = self._found = self._product = 0.0
        self._off = self._count = 0

    def add(self, wanted: np.ndarray, found: np.ndarray) -> bool:
        """Of one case, of the same shape. False if ``found`` is not finite somewhere where ``wanted`` is."""
        import numpy as np

        for expected, got in _pieces(wanted, found):
            if not np.isfinite(got).all():
                return False
            noise = np.abs(got - expected)
            self.worst = max(self.worst, float(np.max(noise, initial=0.0)))
            self._off += int(np.count_nonzero(noise > self._allowed))
            self._count += len(noise)
            for values in (expected, got, noise):
                values /= self._scale
            self._signal += float(np.dot(expected, expected))
            self._error += float(np.dot(noise, noise))
            self._found += float(np.dot(got, got))
            self._product += float(np.dot(got, expected))
        return True

    @property
    def off(self) -> float:
        """Share of the elements that are further off than ``max_error`` of the largest magnitude."""
        return self._off / self._count if self._count else 0.0

    def measures(self) -> dict[str, Any]:
        """``max_abs``, ``max_error``, ``cosine`` and ``sqnr_db`` of all that was added."""
        norms = math.sqrt(self._signal * self._found)
        exact = self._error == 0
        ratio = EXACT_DB if exact else 10 * math.log10(max(self._signal / self._error, 1e-30))
        return {
            "max_abs": self.worst,
            "max_error": self.worst / self._scale,
            "cosine": 1.0 if exact else (self._product / norms if norms else 0.0),
            "sqnr_db": max(-EXACT_DB, ratio),
        }


def _peak(array: np.ndarray) -> float:
    import numpy as np

    largest = 0.0
    for (piece,) in _flat(array):
        finite = np.abs(piece[np.isfinite(piece)])
        largest = max(largest, float(np.max(finite, initial=0.0)))
    return largest


def _pieces(wanted: np.ndarray, found: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Without the elements that are not finite in ``wanted``."""
    import numpy as np

    for expected, got in _flat(wanted, found):
        finite = np.isfinite(expected)
        yield expected[finite], got[finite]


def _flat(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Pieces of the arrays, flat, as float64."""
    import numpy as np

    flat = [np.asarray(array).reshape(-1) for array in arrays]
    for at in range(0, len(flat[0]), _PIECE):
        yield tuple(each[at : at + _PIECE].astype(np.float64) for each in flat)
