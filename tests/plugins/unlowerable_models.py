"""Modules with an operator that ExecuTorch and Core ML lack, and with none that XNNPACK has."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Singular(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, image: Tensor) -> Tensor:
        return torch.linalg.svd(self.layer(image))[1]


class Running(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image.cumsum(-1)


def singular() -> nn.Module:
    return Singular()


def running() -> nn.Module:
    return Running()


def grouped_up() -> nn.Module:
    """XNNPACK's own folding of batch normalisation takes the channels of all groups for those of one."""
    return nn.Sequential(nn.Conv2d(1, 8, 1), nn.ConvTranspose2d(8, 8, 2, 2, groups=2), nn.BatchNorm2d(8))
