"""Block-wise integer weights: rounding to nearest, HQQ and GPTQ.

A weight here is N×K, outputs × inputs; ``block`` consecutive inputs of one output share a scale and a zero point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Blocks", "gptq", "hqq", "round_to_nearest"]

_LP, _BETA, _KAPPA, _ROUNDS = 0.7, 10.0, 1.01, 20  # of HQQ, as its authors have them
_DAMPING = 0.01  # share of the mean of the Hessian's diagonal that is added to it


@dataclass(frozen=True, slots=True)
class Blocks:
    """``values``: N × blocks × block, 0 … 2^bits − 1; ``scales``, ``zeros``: N × blocks; ``inputs``: K."""

    values: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    bits: int
    inputs: int

    @property
    def size(self) -> int:
        """Inputs of a block."""
        return int(self.values.shape[2])

    def weight(self) -> np.ndarray:
        """The weight these stand for, N×K float32."""
        blocks = (self.values.astype(np.float32) - self.zeros[..., None]) * self.scales[..., None]
        return blocks.reshape(len(blocks), -1)[:, : self.inputs]


def round_to_nearest(weight: np.ndarray, *, bits: int, block: int, symmetric: bool) -> Blocks:
    """Scales from the smallest and largest of each block."""
    split = _split(weight, block)
    scales, zeros = _range(split, bits, symmetric)
    return Blocks(_round(split, scales, zeros, bits), scales, zeros, bits, weight.shape[1])


def hqq(weight: np.ndarray, *, bits: int, block: int) -> Blocks:
    """Half-quadratic quantization: zero points that minimise the l0.7 norm of the error (Badri & Shaji 2023)."""
    split = _split(weight, block)
    scales, zeros = _range(split, bits, symmetric=False)
    zeros = zeros.astype(np.float32)
    best, beta = zeros, _BETA
    error = np.full(zeros.shape, np.inf, np.float32)
    for _ in range(_ROUNDS):
        values = _round(split, scales, zeros, bits).astype(np.float32)
        rest = split - (values - zeros[..., None]) * scales[..., None]
        now = np.abs(rest).mean(axis=-1)
        best = np.where(now < error, zeros, best)
        error = np.minimum(now, error)
        shrunk = np.sign(rest) * np.maximum(np.abs(rest) - (np.abs(rest) + 1e-8) ** (_LP - 1) / beta, 0)
        zeros = (values - (split - shrunk) / scales[..., None]).mean(axis=-1)
        beta *= _KAPPA
    return Blocks(_round(split, scales, best, bits), scales, best, bits, weight.shape[1])


def gptq(weight: np.ndarray, hessian: np.ndarray, *, bits: int, block: int, symmetric: bool) -> Blocks:
    """Round input by input and correct the error in the later inputs (Frantar et al. 2022). ``hessian``: K×K, Xᵀ·X
    of the layer's inputs."""
    count = weight.shape[1]
    upper = _inverse_factor(hessian)
    left = weight.astype(np.float64).copy()
    dead = np.diag(hessian) == 0
    left[:, dead] = 0.0
    parts, scales, zeros = [], [], []
    for start in range(0, count, block):
        stop = min(start + block, count)
        scale, zero = _range(_split(left[:, start:stop].astype(np.float32), block), bits, symmetric)
        values = np.zeros((len(weight), block), np.uint8)
        errors = np.zeros((len(weight), stop - start))
        for column in range(start, stop):
            now = left[:, column]
            chosen = _round(now[:, None, None].astype(np.float32), scale, zero, bits)[:, 0, 0]
            made = (chosen.astype(np.float64) - zero[:, 0]) * scale[:, 0]
            error = (now - made) / upper[column, column]
            left[:, column:stop] -= error[:, None] * upper[column, column:stop]
            values[:, column - start], errors[:, column - start] = chosen, error
        left[:, stop:] -= errors @ upper[start:stop, stop:]
        parts.append(values)
        scales.append(scale[:, 0])
        zeros.append(zero[:, 0])
    return Blocks(np.stack(parts, 1), np.stack(scales, 1), np.stack(zeros, 1), bits, count)


def _inverse_factor(hessian: np.ndarray) -> np.ndarray:
    """The upper triangular U with Uᵀ·U = H⁻¹, H damped; K×K."""
    damped = hessian.astype(np.float64).copy()
    diagonal = np.arange(len(damped))
    damped[diagonal, diagonal] = np.where(damped[diagonal, diagonal] == 0, 1.0, damped[diagonal, diagonal])
    damped[diagonal, diagonal] += _DAMPING * np.mean(damped[diagonal, diagonal])
    return np.linalg.cholesky(np.linalg.inv(damped)).T


def _split(weight: np.ndarray, block: int) -> np.ndarray:
    """N×K as N × blocks × block, filled up with zeros."""
    missing = -weight.shape[1] % block
    return np.pad(weight.astype(np.float32), ((0, 0), (0, missing))).reshape(len(weight), -1, block)


def _range(split: np.ndarray, bits: int, symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point of each block; zero is always representable."""
    highest = 2**bits - 1
    if symmetric:
        scales = np.abs(split).max(axis=-1) / (highest // 2)
        scales = np.where(scales == 0, np.float32(1), scales)
        return scales.astype(np.float32), np.full(scales.shape, 2 ** (bits - 1), np.uint8)
    low, high = np.minimum(split.min(axis=-1), 0), np.maximum(split.max(axis=-1), 0)
    scales = (high - low) / highest
    scales = np.where(scales == 0, np.float32(1), scales).astype(np.float32)
    return scales, np.clip(np.rint(-low / scales), 0, highest).astype(np.uint8)


def _round(split: np.ndarray, scales: np.ndarray, zeros: np.ndarray, bits: int) -> np.ndarray:
    scaled = split / scales[..., None] + zeros[..., None]
    return np.clip(np.rint(scaled), 0, 2**bits - 1).astype(np.uint8)
