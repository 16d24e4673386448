"""What a technique does, in words that the checks of ``cbuild advise`` ask for: a third party's pruning is advised on
as a first-party one is."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["TRAITS"]

TRAITS: Mapping[str, str] = {
    "prunes": "removes weights that the model uses; `ratio` or `sparsity` is the share",
    "zeros": "sets weights to zero, and leaves every shape as it is",
    "pattern": "sets N of every M neighbouring weights to zero, which some kernels skip",
    "shrinks": "makes tensors smaller: channels, heads, layers or ranks go",
    "trains": "trains weights on its dataset `data`, so what was lost before it can come back",
    "int8": "quantizes weights and activations, so that products are computed in integers",
    "dynamic": "chooses the ranges of activations in every run",
    "weights-only": "quantizes weights alone; they are read as integers and computed in float",
    "calibrates": "chooses ranges on `samples` samples of its dataset `data`",
    "exports": "writes the same model in another format",
}
