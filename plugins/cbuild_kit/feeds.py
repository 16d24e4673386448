"""A few samples to compare two models on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from compressbuild.api import ModelInput, UserError

from .batching import arrays
from .inputs import fit, fixed_batch

if TYPE_CHECKING:
    import numpy as np

__all__ = ["sample_feeds"]


def sample_feeds(dataset: Iterable[Any], inputs: tuple[ModelInput, ...], count: int) -> dict[str, np.ndarray]:
    """The first ``count`` samples as input name → array; exactly as many as the model takes, if it fixes that."""
    wanted = fixed_batch(inputs)
    columns, labels = arrays(dataset, [item.name for item in inputs], limit=wanted or count)
    if wanted is not None and len(labels) < wanted:
        raise UserError(f"the model takes batches of {wanted}, but the dataset has only {len(labels)} samples")
    return fit(columns, inputs)
