"""Classifiers that read a digit as a sequence of its eight rows: a transformer encoder, a GRU and an LSTM."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """Two layers of ``torch.nn.TransformerEncoder`` over the rows."""

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.position = nn.Parameter(torch.randn(8, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=4 * width, dropout=0.0, activation=activation, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, image: Tensor) -> Tensor:
        rows = self.embed(image.flatten(1, 2)) + self.position
        return self.head(self.encoder(rows).mean(1))


class Rnn(nn.Module):
    """A recurrent layer over the rows; its last state is classified."""

    def __init__(self, layer: type[nn.RNNBase], hidden: int) -> None:
        super().__init__()
        self.rnn = layer(8, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.rnn(image.flatten(1, 2))[0][:, -1])


def transformer(width: int = 32, activation: str = "gelu") -> nn.Module:
    return Encoder(width, activation)


def gru(hidden: int = 48) -> nn.Module:
    return Rnn(nn.GRU, hidden)


def lstm(hidden: int = 48) -> nn.Module:
    return Rnn(nn.LSTM, hidden)
