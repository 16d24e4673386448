"""Models whose inputs and outputs are easily confused."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Crossed(nn.Module):
    """Inputs and outputs in another order than that of their names; ids of 64 bits; eleven outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 4)

    def forward(self, z: Tensor, ids: Tensor, a: Tensor) -> dict[str, Tensor]:
        looked = self.table(ids).sum(1)
        found = {"last": z - 2 * a, "first": looked * a, "moved": ids + 3}
        return found | {f"part_{number}": z * number for number in range(8, 16)}


class Spectrum(nn.Module):
    """An operator that LiteRT does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvals(x).abs()


def crossed() -> nn.Module:
    return Crossed()


def spectrum() -> nn.Module:
    return Spectrum()
