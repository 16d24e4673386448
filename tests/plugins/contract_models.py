"""Factories for contracts: modules that take digits and can do little else."""

from __future__ import annotations

from torch import Tensor, nn


class Twisted(nn.Module):
    """What it computes depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        scores = self.head(image.flatten(1))
        return scores if scores.sum() > 0 else -scores


def plain() -> nn.Module:
    return nn.Flatten()


def twisted() -> nn.Module:
    return Twisted()


def small() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
