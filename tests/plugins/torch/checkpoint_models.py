"""Models as checkpoints bring them: in bfloat16, and with names that only from_pretrained turns; and data for them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    DetrConfig,
    DetrForObjectDetection,
    ResNetConfig,
    ViTConfig,
    ViTForImageClassification,
    YolosConfig,
    YolosForObjectDetection,
)

IDS = [["ids", ["batch", "tokens"], "int64"]]
IMAGE = [["pixel_values", ["batch", 3, 32, 32], "float32"]]
X = [["x", ["batch", 4], "float32"]]


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.wide, self.head = nn.Embedding(50, 16), nn.Linear(16, 32), nn.Linear(32, 5)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.relu(self.wide(self.embed(ids)))).mean(1)


def words() -> nn.Module:
    return Words().bfloat16()


def narrow() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).bfloat16()


class Echo(nn.Module):
    """Gives an output the name of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.inner(x)
        return {"x": y, "x_output": 2 * y, "norm": y.norm(dim=1)}


def echo() -> nn.Module:
    return Echo()


def vit() -> nn.Module:
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=32,
        patch_size=8,
        num_labels=4,
    )
    return ViTForImageClassification(config)


def yolos() -> nn.Module:
    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=[32, 32],
        patch_size=8,
        num_detection_tokens=10,
        num_labels=4,
    )
    return YolosForObjectDetection(config)


def detr() -> nn.Module:
    backbone = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage4"],
    )
    config = DetrConfig(
        backbone_config=backbone,
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        num_queries=10,
        num_labels=4,
    )
    return DetrForObjectDetection(config)


def texts() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    for _ in range(2):
        yield rng.integers(1, 50, (16, 12)), rng.integers(0, 5, 16)


def pictures() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Labels as of a detector: 10 for each picture, and none is a class of its own output."""
    rng = np.random.default_rng(0)
    for _ in range(2):
        yield rng.standard_normal((8, 3, 32, 32)).astype(np.float32), rng.integers(0, 5, (8, 6))


def unlabelled() -> Iterator[tuple[np.ndarray, None]]:
    for inputs, _ in texts():
        yield inputs, None


FACTORIES = ("words", "narrow", "echo", "vit", "yolos", "detr")
