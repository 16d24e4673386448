"""Zeros that the weights right of them make up for: SparseGPT.

Frantar, Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot", 2023, arXiv:2301.00774,
algorithm 1, with its blocks of 128 columns for the choice of a mask and for the updates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..model.hessian import gram, inverse_factor
from .layerwise import Method, Pattern

__all__ = ["SPARSEGPT", "solve"]

_BLOCK = 128


def solve(weight: Tensor, inputs: Tensor, pattern: Pattern) -> tuple[Tensor, Tensor]:
    """(weight with zeros, mask O×I of what stays), in float64. ``inputs``: their gram I×I.

    Without a group, the ``share`` of each 128 columns goes, of all rows together. An input that is always 0 needs no
    weight: these go first.
    """
    found = weight.double().clone()
    upper = inverse_factor(inputs, found)
    mask = torch.ones_like(found, dtype=torch.bool)
    for start in range(0, found.shape[1], _BLOCK):
        end = min(start + _BLOCK, found.shape[1])
        block, inner = found[:, start:end], upper[start:end, start:end]
        stays = mask[:, start:end]
        if not pattern.group:
            stays.copy_(_best(block, inner.diagonal(), int(pattern.share * block.numel())))
        errors = torch.zeros_like(block)
        for column in range(end - start):
            if pattern.group and column % pattern.group == 0:
                members = slice(column, column + pattern.group)
                scores = (block[:, members] / inner.diagonal()[members]).square()
                least = scores.argsort(dim=1, stable=True)[:, : pattern.zeros]
                stays[:, members] = torch.ones_like(scores, dtype=torch.bool).scatter_(1, least, False)
            now = block[:, column].clone()
            errors[:, column] = torch.where(stays[:, column], torch.zeros_like(now), now / inner[column, column])
            block[:, column:] -= errors[:, column, None] * inner[column, column:]
            block[:, column] = torch.where(stays[:, column], now, torch.zeros_like(now))
        found[:, end:] -= errors @ upper[start:end, end:]
    return found, mask


def _best(block: Tensor, diagonal: Tensor, zeros: int) -> Tensor:
    """A mask of what stays: without the ``zeros`` that cost least."""
    scores = (block / diagonal).square().flatten()
    stays = torch.ones_like(scores, dtype=torch.bool)
    stays[scores.argsort(stable=True)[:zeros]] = False
    return stays.reshape(block.shape)


SPARSEGPT = Method(gram, solve)
