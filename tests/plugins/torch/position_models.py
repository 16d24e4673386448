"""Models that keep something for each of their blocks by its position."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

INPUTS = [["input_ids", ["batch", "tokens"], "int64"]]
KINDS = ["near", "near", "far", "far"]
CONFIG = SimpleNamespace(layer_types=list(KINDS), num_hidden_layers=4)  # one object for every module that is made


class Logits(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, use_cache=False).logits


def gemma3() -> nn.Module:
    """Sliding windows of 16, and two bases of rotary positions."""
    config = Gemma3TextConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=48,
        max_position_embeddings=128,
        sliding_window=16,
        layer_types=["sliding_attention", "sliding_attention", "full_attention", "full_attention"],
        query_pre_attn_scalar=8,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return Logits(Gemma3ForCausalLM(config))


class Shift(nn.Module):
    """Adds what stands some places before."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 16)

    def forward(self, x: Tensor, places: int) -> Tensor:
        return x + torch.tanh(self.inner(x.roll(places, 1)))


class ByList(nn.Module):
    def __init__(self, where: str) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(50, 16), nn.Linear(16, 50)
        self.blocks = nn.ModuleList(Shift() for _ in KINDS)
        self.where = where
        if where == "config":
            self.config = CONFIG
        if where == "attribute":
            self.kinds = tuple(KINDS)

    def _places(self, at: int) -> int:
        kinds = {"config": lambda: self.config.layer_types, "attribute": lambda: self.kinds}
        if self.where == "number":
            return 1 + at
        return 1 if kinds[self.where]()[at] == "near" else 3

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.words(input_ids)
        for at, block in enumerate(self.blocks):
            x = block(x, self._places(at))
        return self.head(x)


def by_list() -> nn.Module:
    return ByList("config")


def by_attribute() -> nn.Module:
    return ByList("attribute")


def by_number() -> nn.Module:
    return ByList("number")


FACTORIES = ("gemma3", "by_list", "by_attribute", "by_number")
