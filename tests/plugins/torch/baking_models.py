"""Forwards that compute with a size in Python, so that a trace is right at one size only; and one that does not."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pad, relu

IMAGES = [["x", ["batch", 3, "height", "width"], "float32"]]
SERIES = [["x", ["batch", "time", 8], "float32"]]
IDS = [["ids", ["batch", "time"], "int64"], ["attention_mask", ["batch", "time"], "int64"]]


class Area(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 16, 3, 2, 1), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.conv(x))
        return self.out(x.reshape(x.shape[0], 16, int(x.shape[2] * x.shape[3])).amax(2))


class Last(nn.Module):
    """At most 20 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out((x[:, -20:] if x.shape[1] > 20 else x).mean(1))


class Long(nn.Module):
    """At least 100 steps, and at most 300, as of a sound."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 4, 100)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv((x[:, -300:] if x.shape[1] > 300 else x).transpose(1, 2)).mean(2)


class Padded(nn.Module):
    """Pads to a multiple of 8 where that is needed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 8, 8)

    def forward(self, x: Tensor) -> Tensor:
        down, right = -x.shape[2] % 8, -x.shape[3] % 8
        return self.conv(pad(x, (0, right, 0, down)) if down or right else x).amax((2, 3))


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(128, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(adaptive_avg_pool2d(relu(self.conv(x)), 4).flatten(1))


class Alone(nn.Module):
    """Another path for one sample."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.out(x.mean(1))
        return y if x.shape[0] == 1 else y - 0.1 * y.mean(0, keepdim=True)


class Fine(nn.Module):
    """Any number of words; some do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(50, 8), nn.Linear(8, 4)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        counts = attention_mask.unsqueeze(-1).float()
        return self.out((self.words(ids) * counts).sum(1) / counts.sum(1))


class Small(nn.Module):
    """Longer texts than 20 look up other words."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = Fine()

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.fine(ids if ids.shape[1] <= 20 else ids.flip(1), attention_mask)


MODELS = {"area": Area, "last": Last, "padded": Padded, "pooled": Pooled, "alone": Alone, "fine": Fine, "small": Small}
MODELS |= {"long": Long}
INPUTS = {"area": IMAGES, "padded": IMAGES, "pooled": IMAGES, "fine": IDS, "small": IDS}


def build(name: str) -> nn.Module:
    return MODELS[name]()


def large() -> list[tuple[Tensor, Tensor]]:
    """Pictures of another size than is traced."""
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(16, 3, 32, 32, generator=generator).numpy(), torch.arange(16).numpy() % 4)]
