"""Token ids that a language model is tried on: windows of an artifact, or made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .token_ids import TokenIds, Window

__all__ = ["probes", "run", "spread_windows"]

_LENGTHS = (24, 5)
_WINDOW_UP_TO = 1024  # a longer sliding window is not crossed: it would cost too much


def spread_windows(tokens: TokenIds, count: int) -> list[Tensor]:
    """Ids 1×T of at most ``count`` windows, evenly over all."""
    windows: list[Window] = list(tokens.windows())
    chosen = [windows[index * len(windows) // count] for index in range(count)] if count < len(windows) else windows
    return [torch.from_numpy(tokens.ids[w.start : w.end].astype("int64"))[None] for w in chosen]


def probes(config: Any, seed: int) -> list[Tensor]:
    """Ids 2×T of several lengths, varied: equal tokens would hide masks, positions and the order of layers. One is
    longer than a sliding window."""
    longest = getattr(config, "max_position_embeddings", None) or max(_LENGTHS)
    window = getattr(config, "sliding_window", None)
    lengths = [*_LENGTHS, *([window + 8] if isinstance(window, int) and window <= _WINDOW_UP_TO else [])]
    generator = torch.Generator().manual_seed(seed)
    fitting = dict.fromkeys(min(length, longest) for length in lengths)
    return [torch.randint(config.vocab_size, (2, length), generator=generator) for length in fitting]


@torch.inference_mode()
def run(model: nn.Module, probes: Sequence[Tensor]) -> list[Tensor]:
    """Logits N×T×V of each."""
    return [model(input_ids=ids).logits for ids in probes]
