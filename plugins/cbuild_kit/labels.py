"""Data without labels: an array N×0 stands where labels would be, so that rows are counted and cut as ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compressbuild.api import UserError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["is_unlabelled", "require_labels", "unlabelled"]


def unlabelled(count: int) -> np.ndarray:
    """What a dataset yields in place of labels for ``count`` rows that have none."""
    import numpy as np

    return np.empty((count, 0), np.float32)


def is_unlabelled(labels: Any) -> bool:
    """Whether an array or tensor of labels says that there are none."""
    return tuple(labels.shape[1:]) == (0,)


def require_labels(labels: Any, what: str) -> None:
    """UserError for data without labels. ``what``: who needs them."""
    if is_unlabelled(labels):
        raise UserError(
            f"{what} needs labels, and the dataset has none",
            hint="name them in the dataset, with 'labels:'; 'agreement', 'cosine' and 'sqnr' compare with the baseline "
            "and need none",
        )
