"""Scales of mixed signs, one for each channel, where no convolution takes them in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTH = 8


def _signed(rng: torch.Generator, width: int = WIDTH) -> Tensor:
    return torch.where(torch.arange(width) % 3 == 0, -1.0, 1.0) * (0.5 + torch.rand(width, generator=rng))


class Signed(nn.Module):
    """A batch normalisation in front of its convolution and one in front of the head, LayerScale, and a gate."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.stem, self.mixer = nn.Conv2d(1, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.early, self.last = nn.BatchNorm2d(WIDTH), nn.BatchNorm1d(WIDTH)
        self.gate, self.out, self.head = nn.Linear(WIDTH, WIDTH), nn.Conv2d(WIDTH, WIDTH, 1), nn.Linear(WIDTH, 10)
        self.scale, self.behind = nn.Parameter(_signed(rng)), nn.Parameter(_signed(rng))
        self.early.weight.data, self.last.weight.data = _signed(rng), _signed(rng)

    def forward(self, image: Tensor) -> Tensor:
        x = self.early(self.stem(image).relu())
        x = x + self.scale[:, None, None] * self.mixer(x).relu()
        x = self.out(self.behind[:, None, None] * x.relu()).relu()
        pooled = x.mean((2, 3))
        x = x * torch.tanh(self.gate(pooled))[:, :, None, None]
        return self.head(self.last(x.mean((2, 3))))


def build() -> nn.Module:
    torch.manual_seed(0)
    return Signed()


class Rows(nn.Module):
    """The rows of a digit as channels, each with a factor of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(_signed(torch.Generator().manual_seed(0)))
        self.mixer, self.head = nn.Conv1d(WIDTH, WIDTH, 3), nn.Linear(WIDTH, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.mixer(self.scale[:, None] * image.flatten(1, 2)).relu().mean(2))


def rows() -> nn.Module:
    torch.manual_seed(0)
    return Rows()
