"""Modules that torch.export cannot trace as asked."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Branch(nn.Module):
    """What it computes depends on its data."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, image: Tensor) -> Tensor:
        return self.layer(image) if image.sum() > 0 else self.layer(-image)


class Fixed(nn.Module):
    """Takes sixteen rows, whatever it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(16, 8))

    def forward(self, image: Tensor) -> Tensor:
        return image + self.weight


def branch() -> nn.Module:
    return Branch()


def fixed() -> nn.Module:
    return Fixed()
