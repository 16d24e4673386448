"""A table whose row 1 is harmless. Each other row holds a value that the next layer ignores."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(16, 8), nn.Linear(8, 4)
        with torch.no_grad():
            self.table.weight[:, 0] = 1e4
            self.table.weight[1, 0] = 0.0
            self.head.weight[:, 0] = 0.0

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.head(self.table(input_ids))


def build() -> nn.Module:
    return Tokens()
