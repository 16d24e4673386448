"""Classifiers of digits for ``benchmarks/recipes.py``: a transformer encoder, a causal transformer, an LSTM, an MLP,
and convolutions before an LSTM.

All but the MLP read an 8×8 image as a sequence of eight rows. They are wide enough that weights, not overhead, take the
time.
"""

from __future__ import annotations

import torch
from sequence_models import Encoder, Rnn
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

WIDTH, HEADS = 128, 4


class CausalLayer(nn.Module):
    """A layer as in GPT-2: normalised first, and no position sees a later one."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.before(x)
        parts = (each(rows).unflatten(-1, (HEADS, -1)).transpose(1, 2) for each in (self.query, self.key, self.value))
        x = x + self.out(scaled_dot_product_attention(*parts, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.narrow(gelu(self.wide(self.between(x))))


class Decoder(nn.Module):
    """Two causal layers; the state after the last row is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, WIDTH)
        self.position = nn.Parameter(torch.randn(8, WIDTH) * 0.02)
        self.layers = nn.Sequential(CausalLayer(), CausalLayer())
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.layers(self.embed(image.flatten(1, 2)) + self.position)[:, -1])


class Reader(Encoder):
    """An encoder that looks its input up, as one of texts does: a row of a table for each pixel's place and level, and
    those of an image's row added. Between two levels it takes the line, so that rounding moves no answer far."""

    LEVELS = 17

    def __init__(self) -> None:
        super().__init__(WIDTH, "gelu")
        self.embed = nn.Embedding(64 * self.LEVELS, WIDTH)
        self.register_buffer("places", torch.arange(64) * self.LEVELS, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        scaled = image.flatten(1) * (self.LEVELS - 1)
        below = scaled.detach().floor().clamp(0, self.LEVELS - 2)
        index = below.long() + self.places
        low, high = self.embed(index), self.embed(index + 1)
        pixels = low + (scaled - below).unsqueeze(-1) * (high - low)
        return self.head(self.encoder(pixels.unflatten(1, (8, 8)).sum(2) + self.position).mean(1))


class Mixed(nn.Module):
    """Convolutions over the rows, and an LSTM over what they found."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(8, WIDTH, 3, padding=1), nn.ReLU(), nn.Conv1d(WIDTH, WIDTH, 3, padding=1), nn.ReLU()
        )
        self.rnn = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, image: Tensor) -> Tensor:
        found = self.convolutions(image.flatten(1, 2).transpose(1, 2)).transpose(1, 2)
        return self.head(self.rnn(found)[0][:, -1])


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


def mix() -> nn.Module:
    return Mixed()


def encoder() -> nn.Module:
    return Reader()


def decoder() -> nn.Module:
    return Decoder()


def lstm() -> nn.Module:
    return Rnn(nn.LSTM, WIDTH)
