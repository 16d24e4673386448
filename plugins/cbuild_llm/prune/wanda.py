"""Which weights matter least: |weight| · L2 norm of its input over tokens, ranked within each output row.

Sun, Liu, Bair, Kolter, "A Simple and Effective Pruning Approach for Large Language Models", 2023, arXiv:2306.11695.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .layerwise import Method, Pattern

__all__ = ["WANDA", "kept"]


def kept(scores: Tensor, pattern: Pattern) -> Tensor:
    """A mask O×I of the weights that stay, of scores O×I. Of equal scores, those further left go."""
    rows, columns = scores.shape
    size = pattern.group or columns
    zeros = pattern.zeros if pattern.group else int(pattern.share * columns)
    groups = scores.reshape(rows, columns // size, size)
    least = groups.argsort(dim=-1, stable=True)[..., :zeros]
    return torch.ones_like(groups, dtype=torch.bool).scatter_(-1, least, False).reshape(rows, columns)


def _squares(inputs: Tensor) -> Tensor:
    return inputs.square().sum(0)


def _prune(weight: Tensor, squares: Tensor, pattern: Pattern) -> tuple[Tensor, Tensor]:
    mask = kept(weight.abs() * squares.sqrt().to(weight.dtype), pattern)
    return weight.masked_fill(~mask, 0.0), mask


WANDA = Method(_squares, _prune)
