"""Factories of classifiers that the techniques were not written for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class Bottleneck(nn.Module):
    """1×1, 3×3 (perhaps grouped), 1×1; a projection where the shape changes (He et al. 2015; Xie et al. 2017)."""

    def __init__(self, inputs: int, width: int, outputs: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """As torchvision writes one: stem with pooling, stages of bottlenecks, global average, ``fc``."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 1, 1)
        self.layer1 = nn.Sequential(Bottleneck(16, 16, 32, groups=groups), Bottleneck(32, 16, 32, groups=groups))
        self.layer2 = nn.Sequential(Bottleneck(32, 32, 64, 2, groups), Bottleneck(64, 32, 64, groups=groups))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        x = self.avgpool(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(x, 1))


class Inverted(nn.Module):
    """Widen, depthwise, narrow, with a squeeze-and-excitation gate (Howard et al. 2019)."""

    def __init__(self, inputs: int, width: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.Hardswish())
        self.depth = nn.Sequential(
            nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False), nn.BatchNorm2d(width), nn.Hardswish()
        )
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, 8, 1), nn.ReLU(), nn.Conv2d(8, width, 1), nn.Hardsigmoid()
        )
        self.project = nn.Sequential(nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.depth(self.expand(x))
        y = self.project(y * self.squeeze(y))
        return x + y if self.residual else y


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.features = nn.Sequential(Inverted(16, 48, 16, 1), Inverted(16, 48, 24, 2), Inverted(24, 64, 24, 1))
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(24, 10))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(self.stem(image)).mean((2, 3)))


class Encoder(nn.Module):
    """Words to classes by ``torch.nn.TransformerEncoder``, with padding masked."""

    def __init__(self, norm_first: bool, batch_first: bool, masked: bool = True) -> None:
        super().__init__()
        self.batch_first, self.masked = batch_first, masked
        self.embed = nn.Embedding(30, 32)
        self.position = nn.Parameter(torch.randn(8, 32) * 0.1)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=batch_first, norm_first=norm_first)
        norm = nn.LayerNorm(32) if norm_first else None
        self.encoder = nn.TransformerEncoder(layer, 2, norm, enable_nested_tensor=False)
        self.classify = nn.Linear(32, 5)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) + self.position
        mask = ids == 0 if self.masked else None
        if self.batch_first:
            return self.classify(self.encoder(x, src_key_padding_mask=mask).mean(1))
        return self.classify(self.encoder(x.transpose(0, 1), src_key_padding_mask=mask).mean(0))


class TwoInputs(nn.Module):
    """An image and numbers, each through layers of its own, joined."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.numbers = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU())
        self.joined = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, image: Tensor, numbers: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(image))).mean((2, 3))
        return self.joined(torch.cat([x, self.numbers(numbers)], 1))


class Signal(nn.Module):
    """Down by Conv1d, up by ConvTranspose1d, with a skip between, as a U-Net has; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Conv1d(2, 16, 3, padding=1)
        self.down2 = nn.Conv1d(16, 32, 4, stride=2, padding=1)
        self.norm = nn.GroupNorm(4, 32)
        self.up = nn.ConvTranspose1d(32, 16, 4, stride=2, padding=1)
        self.out = nn.Conv1d(32, 1, 1)
        self.classify = nn.Linear(32, 10)

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        skip = functional.leaky_relu(self.down1(signal))
        low = functional.leaky_relu(self.norm(self.down2(skip)))
        high = functional.leaky_relu(self.up(low))
        return self.classify(low.mean(2)), self.out(torch.cat([high, skip], 1))


class Grouped(nn.Module):
    """GroupNorm alone: what is removed has to be removed of each group."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(groups, 16)
        self.conv2, self.norm2 = nn.Conv2d(16, 32, 3, 2, 1), nn.GroupNorm(groups, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = functional.silu(self.norm1(self.conv1(image)))
        return self.head(functional.silu(self.norm2(self.conv2(x))).mean((2, 3)))


class Causal(nn.Module):
    """Two dilated convolutions whose weights are computed, and a shortcut (Bai et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, dilation: int, old: bool) -> None:
        super().__init__()
        normed = nn.utils.weight_norm if old else nn.utils.parametrizations.weight_norm
        self.padding = 2 * dilation
        self.conv1 = normed(nn.Conv1d(inputs, outputs, 3, padding=self.padding, dilation=dilation))
        self.conv2 = normed(nn.Conv1d(outputs, outputs, 3, padding=self.padding, dilation=dilation))
        self.shortcut = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.conv1(x)[..., : -self.padding])
        y = torch.relu(self.conv2(y)[..., : -self.padding])
        return torch.relu(y + self.shortcut(x))


class Temporal(nn.Module):
    def __init__(self, old: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Causal(2 if i == 0 else 16, 16, 2**i, old) for i in range(3)))
        bound = nn.utils.spectral_norm if old else nn.utils.parametrizations.spectral_norm
        self.head = bound(nn.Linear(16, 10))

    def forward(self, signal: Tensor) -> Tensor:
        return self.head(self.blocks(signal)[..., -1])


class Masked(nn.Module):
    """Attention over what a boolean input does not mask; where it masks all, the answer is not a number."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 32)
        self.attention, self.norm = nn.MultiheadAttention(32, 4, batch_first=True), nn.LayerNorm(32)
        self.wide, self.narrow, self.head = nn.Linear(32, 64), nn.Linear(64, 32), nn.Linear(32, 5)

    def forward(self, ids: Tensor, padding: Tensor) -> Tensor:
        x = self.embed(ids)
        x = self.norm(x + self.attention(x, x, x, key_padding_mask=padding, need_weights=False)[0])
        return self.head((x + self.narrow(torch.relu(self.wide(x)))).mean(1))


class Siamese(nn.Module):
    """Two images through one encoder, whose layers are called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 16)),
        )
        self.head = nn.Linear(16, 10)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head((self.encoder(left) - self.encoder(right)).abs())


class Picture(nn.Module):
    """ConvTranspose2d, dilation, BatchNorm without affine parameters, PReLU and InstanceNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16, affine=False)
        self.wide, self.act = nn.Conv2d(16, 24, 3, padding=2, dilation=2), nn.PReLU(24)
        self.up, self.up_norm = nn.ConvTranspose2d(24, 16, 2, 2), nn.InstanceNorm2d(16, affine=True)
        self.last, self.last_norm = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16, affine=False)
        self.head = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.stem_norm(self.stem(image)))
        x = functional.silu(self.up_norm(self.up(self.act(self.wide(x)))))
        return self.head(torch.relu(self.last_norm(self.last(x))).mean((2, 3)))


class Tied(nn.Module):
    """A language model whose projection is its embedding, with causal functional attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 32)
        self.blocks = nn.ModuleList([Attention(32, 4, causal=True) for _ in range(2)])
        self.norm = nn.LayerNorm(32)
        self.project = nn.Linear(32, 30, bias=False)
        self.project.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.project(self.norm(x))[:, -1]


class Attention(nn.Module):
    """A block with ``scaled_dot_product_attention``, one layer for q, k and v, and an MLP."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(approximate="tanh"), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm2(x))


class Functional(nn.Module):
    """Patches of an image through functional attention; a class token that is a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 32, 2, 2)
        self.token = nn.Parameter(torch.randn(1, 1, 32) * 0.1)
        self.blocks = nn.Sequential(*(Attention(32, 4, causal=False) for _ in range(2)))
        self.head = nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        return self.head(self.blocks(x)[:, 0])


def resnet() -> nn.Module:
    return ResNet(groups=1)


def resnext() -> nn.Module:
    return ResNet(groups=4)


def mobilenet() -> nn.Module:
    return MobileNet()


def encoder(norm_first: bool = False, batch_first: bool = True, masked: bool = True) -> nn.Module:
    return Encoder(norm_first, batch_first, masked)


def two_inputs() -> nn.Module:
    return TwoInputs()


def signal() -> nn.Module:
    return Signal()


def temporal(old: bool = False) -> nn.Module:
    return Temporal(old)


def grouped(groups: int = 4, frozen: bool = False) -> nn.Module:
    return Grouped(groups).requires_grad_(not frozen)


def masked() -> nn.Module:
    return Masked()


def siamese() -> nn.Module:
    return Siamese()


def picture() -> nn.Module:
    return Picture()


def tied() -> nn.Module:
    return Tied()


def attention() -> nn.Module:
    return Functional()


IMAGE = ["image", ["batch", 1, 8, 8], "float32"]
IDS = ["ids", ["batch", 8], "int64"]
INPUTS = {
    "two_inputs": [IMAGE, ["numbers", ["batch", 6], "float32"]],
    "signal": [["signal", ["batch", 2, 16], "float32"]],
    "temporal": [["signal", ["batch", 2, 16], "float32"]],
    "masked": [IDS, ["padding", ["batch", 8], "bool"]],
    "siamese": [["left", ["batch", 1, 8, 8], "float32"], ["right", ["batch", 1, 8, 8], "float32"]],
    "encoder": [IDS],
    "tied": [IDS],
}
SAMPLES = 48


def samples(name: str, form: str = "mapping") -> Iterator[Any]:
    """Random inputs of a model in two batches, each a mapping or a tuple, and labels of five classes. Token 0 is
    padding; no sequence is of padding alone."""
    generator = np.random.default_rng(0)
    for _ in range(2):
        values: dict[str, np.ndarray] = {}
        for key, shape, dtype in INPUTS.get(name, [IMAGE]):
            size = (SAMPLES // 2, *shape[1:])
            made = generator.standard_normal(size) if dtype == "float32" else generator.integers(0, 30, size)
            values[key] = (made > 20 if dtype == "bool" else made).astype(dtype)
            if dtype != "float32":
                values[key][:, 0] = dtype == "int64"
        labels = generator.integers(0, 5, SAMPLES // 2)
        yield (values if form == "mapping" else tuple(values.values())), labels
