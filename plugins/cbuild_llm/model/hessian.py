"""The Hessian of a linear layer's squared error: X·Xᵀ of what enters it. SparseGPT and GPTQ correct errors with it."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["gram", "inverse_factor"]

_DAMPING = 0.01  # of the mean of the diagonal


def gram(inputs: Tensor) -> Tensor:
    """I×I, the sum over tokens of x·xᵀ. ``inputs``: N×I."""
    return inputs.T @ inputs


def inverse_factor(gram: Tensor, weight: Tensor) -> Tensor:
    """The upper Cholesky factor of the damped inverse of ``gram``. Columns of ``weight`` without input become 0."""
    dense = gram.double().clone()
    diagonal = dense.diagonal()
    dead = diagonal == 0
    weight[:, dead] = 0.0
    diagonal[dead] = diagonal.mean() if bool((~dead).any()) else 1.0
    diagonal += _DAMPING * diagonal.mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(dense))
    return torch.linalg.cholesky(inverse, upper=True)
