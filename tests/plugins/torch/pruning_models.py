"""Factories of models whose heads, blocks and units can be taken out, and of some where that goes wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FACTORIES = (
    "bert",
    "counting",
    "crossed",
    "deep",
    "dropout",
    "mixing",
    "rnn_fixed",
    "rnn_gives",
    "rnn_pair",
    "rnn_stack",
    "shared_heads",
)


MIXING = {
    "ChannelShuffle": (nn.ChannelShuffle(4), 32),
    "GLU": (nn.GLU(1), 16),
    "GLU of rows": (nn.GLU(2), 32),
    "PixelShuffle": (nn.PixelShuffle(2), 8),
    "PixelUnshuffle": (nn.PixelUnshuffle(2), 128),
}
"""Name → a layer, and how many channels it makes of 32."""


class Mixing(nn.Module):
    """A layer of MIXING between convolutions, or what it does without the layer."""

    def __init__(self, kind: str, named: bool) -> None:
        super().__init__()
        mix, channels = MIXING[kind]
        self.first, self.second = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.third, self.head = nn.Conv2d(channels, 16, 3, padding=1), nn.Linear(16, 10)
        self.mix = mix if named else nn.Identity()
        self._function = mix.forward if not named else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.second(torch.relu(self.first(image))))
        return self.head(torch.relu(self.third(self._function(self.mix(x)))).mean((2, 3)))


class SelfAttention(nn.Module):
    """Attributes and layers as those of BERT in Hugging Face's transformers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_attention_heads = heads
        self.attention_head_size = width // heads
        self.all_head_size = width
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        shape = (x.shape[0], -1, self.num_attention_heads, self.attention_head_size)
        q, k, v = (layer(x).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value))
        weights = torch.softmax(q @ k.transpose(-1, -2) / self.attention_head_size**0.5, dim=-1)
        return (weights @ v).transpose(1, 2).reshape(x.shape[0], -1, self.all_head_size)


class SelfOutput(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(width, width), nn.LayerNorm(width)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + residual)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self, self.output = SelfAttention(width, heads), SelfOutput(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.self(x), x)


class Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.intermediate, self.output = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        x = self.attention(x)
        return (self.norm(x + self.output(torch.relu(self.intermediate(x)))),)


class Bert(nn.Module):
    """Layers in a list that give tuples."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.position = nn.Parameter(torch.randn(8, width) * 0.02)
        self.layer = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.head = nn.Linear(width, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.embed(image.flatten(1, 2)) + self.position
        for layer in self.layer:
            x = layer(x)[0]
        return self.head(x.mean(1))


class Crossed(nn.Module):
    """Attention of one sequence over another: sizes of its own, masks, and the sequence first."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, kdim=8, vdim=8, dropout=0.1)
        self.embed = nn.Linear(8, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        rows = image.flatten(1, 2).transpose(0, 1)
        later = torch.ones(8, 8, dtype=torch.bool).triu(1)
        padding = torch.zeros(image.shape[0], 8, dtype=torch.bool)
        padding[:, -1] = True
        mixed, _ = self.attention(self.embed(rows), rows, rows, key_padding_mask=padding, attn_mask=later)
        return self.head(mixed.mean(0))


class SharedHeads(nn.Module):
    """Divides by a number of heads of its own, so taking heads out changes more than those."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = SelfAttention(16, 4)
        self.attention.out_proj = nn.Linear(16, 16)
        self.embed, self.head = nn.Linear(8, 16), nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.attention(self.embed(image.flatten(1, 2)))
        x = self.attention.out_proj(x) * 4 / self.attention.num_attention_heads
        return self.head(x.mean(1))


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.inner(x))


class Deep(nn.Module):
    """Residual blocks, two in a sequence with names and one as an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential()
        for name in ("one", "two"):
            self.blocks.add_module(name, Residual(64))
        self.last = Residual(64)
        self.head = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.last(self.blocks(image.flatten(1))))


class Counting(nn.Module):
    """Weighs its blocks by their number, so that dropping one is more than skipping it."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual(64) for _ in range(3))
        self.head = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = image.flatten(1)
        for number, block in enumerate(self.blocks):
            x = block(x) * (number + 1)
        return self.head(x)


class Stack(nn.Module):
    """Two bidirectional layers; pooled outputs, normalised or not, and last states go to linear layers."""

    def __init__(self, kind: str, norm: bool) -> None:
        super().__init__()
        self.rnn = getattr(nn, kind)(8, 16, num_layers=2, bidirectional=True, batch_first=True)
        self.norm = nn.LayerNorm(32) if norm else nn.Identity()
        self.pooled, self.last = nn.Linear(32, 10), nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        output, state = self.rnn(image.flatten(1, 2))
        state = state[0] if isinstance(state, tuple) else state
        return self.pooled(self.norm(output.mean(1))) + self.last(torch.tanh(state[-1]))


class Pair(nn.Module):
    """One recurrent layer after another, and both directions of the second added."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.GRU(8, 24, batch_first=True)
        self.second = nn.GRU(24, 16, bidirectional=True, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        x, _ = self.second(torch.relu(self.first(image.flatten(1, 2))[0]))
        forwards, backwards = x.chunk(2, -1)
        return self.head((forwards + backwards)[:, -1])


class Fixed(nn.Module):
    """Makes the first state itself, of a fixed size; or gives its state away."""

    def __init__(self, gives: bool) -> None:
        super().__init__()
        self.gives = gives
        self.rnn = nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        rows = image.flatten(1, 2)
        if self.gives:
            return self.rnn(rows)[0]
        zeros = torch.zeros(1, image.shape[0], 16)
        return self.head(self.rnn(rows, (zeros, zeros))[0][:, -1])


def rnn_stack(kind: str = "LSTM", norm: bool = False) -> nn.Module:
    return Stack(kind, norm)


def rnn_pair() -> nn.Module:
    return Pair()


def rnn_fixed() -> nn.Module:
    return Fixed(gives=False)


def rnn_gives() -> nn.Module:
    return Fixed(gives=True)


def dropout() -> nn.Module:
    """Its training draws random numbers, and its normalisation keeps running means."""
    body = (nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 10))
    return nn.Sequential(nn.Flatten(), *body)


def deep() -> nn.Module:
    return Deep()


def counting() -> nn.Module:
    return Counting()


def bert(width: int = 32, heads: int = 4, layers: int = 3) -> nn.Module:
    return Bert(width, heads, layers)


def crossed() -> nn.Module:
    return Crossed()


def shared_heads() -> nn.Module:
    return SharedHeads()


def mixing(kind: str, named: bool = True) -> nn.Module:
    return Mixing(kind, named)
