"""A model with several outputs, and data for it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

INPUTS = [["x", ["batch", "tokens", 6], "float32"]]


class Spans(nn.Module):
    """Scores of where a span begins and ends, and a vector of each token."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 16)
        self.heads = nn.ModuleList((nn.Linear(16, 1), nn.Linear(16, 1), nn.Linear(16, 3)))
        self.names = names

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = torch.tanh(self.inner(x))
        found = [head(x) for head in self.heads]
        return dict(zip(self.names, (found[0].squeeze(-1), found[1].squeeze(-1), found[2]), strict=True))


def spans(names: list[str] | None = None) -> nn.Module:
    return Spans(tuple(names or ("start", "end", "vector")))


def samples() -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """The span begins at the largest first feature and ends at the largest second one."""
    rng = np.random.default_rng(0)
    for _ in range(4):
        x = rng.standard_normal((32, 7, 6)).astype(np.float32)
        yield {"x": x}, np.stack([x[..., 0].argmax(1), x[..., 1].argmax(1)], 1)


def begins() -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    for inputs, labels in samples():
        yield inputs, labels[:, 0]


FACTORIES = ("spans",)
