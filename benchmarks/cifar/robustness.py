"""What the robustness metrics are shown: a network with a planted fault, images of another kind, slices of the data."""

from collections.abc import Iterator

import data
import numpy as np
import torch
from model import ResNet
from torch import Tensor, nn


class Forgetful(ResNet):
    """The network, one of whose classes lost ``penalty`` of its logit: as trained, but for that class."""

    def __init__(self, label: int, penalty: float) -> None:
        super().__init__()
        self.register_buffer("shift", penalty * torch.eye(10)[label], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image) - self.shift


def forgetful(label: int = 3, penalty: float = 8.0) -> nn.Module:
    return Forgetful(label, penalty)


def scrambled() -> Iterator[data.Batch]:
    """The test images with their 8 × 8 tiles in another order: the colours of CIFAR-10, and none of its objects."""
    order = np.random.default_rng(0).permutation(16)
    for images, labels in data.test():
        tiles = images.reshape(-1, 3, 4, 8, 4, 8).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 16, 3, 8, 8)[:, order]
        rows = tiles.reshape(-1, 4, 4, 3, 8, 8).transpose(0, 3, 1, 4, 2, 5)
        yield np.ascontiguousarray(rows.reshape(-1, 3, 32, 32)), labels


def by_brightness(inputs: np.ndarray, labels: np.ndarray) -> list[str]:
    """``dark``, ``medium`` or ``bright`` by the mean of the pixels, in thirds of the test images."""
    means = (inputs * data.DEVIATION + data.MEAN).mean(axis=(1, 2, 3))
    return [("dark", "medium", "bright")[int(mean > 0.42) + int(mean > 0.52)] for mean in means]
