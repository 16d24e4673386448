"""Tiny transformers of Hugging Face, with weights as they are initialised, and data for them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor, nn
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel, GPT2Config, GPT2Model

INPUTS = [[name, ["batch", "sequence"], "int64"] for name in ("input_ids", "attention_mask")]
WORDS, WIDTH, BLOCKS, HEADS = 50, 32, 3, 4


class Encoder(nn.Module):
    """Mean of the last states over the tokens of the mask."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        counted = attention_mask.unsqueeze(-1).to(states.dtype)
        return (states * counted).sum(1) / counted.sum(1)


def bert() -> nn.Module:
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        num_hidden_layers=BLOCKS,
        num_attention_heads=HEADS,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    return Encoder(BertModel(config, add_pooling_layer=False))


def distilbert() -> nn.Module:
    return Encoder(
        DistilBertModel(
            DistilBertConfig(
                vocab_size=WORDS,
                dim=WIDTH,
                n_layers=BLOCKS,
                n_heads=HEADS,
                hidden_dim=2 * WIDTH,
                max_position_embeddings=32,
                initializer_range=0.3,
            )
        )
    )


def gpt2() -> nn.Module:
    """Its linear layers are of the class ``Conv1D``; query, key and value are one of them."""
    config = GPT2Config(
        vocab_size=WORDS,
        n_embd=WIDTH,
        n_layer=BLOCKS,
        n_head=HEADS,
        n_positions=32,
        bos_token_id=0,
        eos_token_id=0,
    )
    return Encoder(GPT2Model(config))


def feeds(count: int = 16, length: int = 8) -> dict[str, np.ndarray]:
    """Ids and mask N×L; every second sample is padded by two."""
    generator = np.random.default_rng(count)
    mask = np.ones((count, length), np.int64)
    mask[::2, -2:] = 0
    return {"input_ids": generator.integers(1, WORDS, (count, length)) * mask, "attention_mask": mask}


def batches() -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    for count in (15, 16, 17):
        yield feeds(count), np.zeros(count, np.int64)


def spread(embeddings: Tensor, labels: Tensor) -> Tensor:
    """A loss without labels."""
    return embeddings.std(0).mean()
