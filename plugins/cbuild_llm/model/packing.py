"""How documents lie in windows of token ids: what sees what, and which ids are predicted.

``stream``: a window is a piece of the stream; its tokens see all tokens before them, also those of another document.
``documents``: tokens see those of their own document alone, at positions that start at 0 there; no token is predicted
from another document's last. transformers builds that block-diagonal mask from positions that start again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from compressbuild.api import UserError

from .token_ids import TokenIds, Window

__all__ = ["Packing", "Sample", "check_packing", "pieces", "samples"]

Packing = Literal["stream", "documents"]
_SAME = 1e-4  # of the largest logit: the same arithmetic, in other shapes


@dataclass(frozen=True, slots=True)
class Sample:
    """A window to train on. ``ids``, ``positions``: T int64. ``rows``: the R of the T rows of logits that count;
    ``wanted``: R int64, the token that each must give."""

    ids: Tensor
    positions: Tensor
    rows: Tensor
    wanted: Tensor


def pieces(tokens: TokenIds, window: Window, packing: Packing) -> list[Window]:
    """The parts of a window that do not see each other, in their order. One that predicts no id has ``first`` at its
    end."""
    if packing == "stream":
        return [window]
    if tokens.end is None:
        raise UserError(
            "the token ids do not say where a document ends",
            hint="make them with 'ends: true' of tokenize.text, or take 'packing: stream'",
        )
    ends = window.start + 1 + np.flatnonzero(tokens.ids[window.start : window.end] == tokens.end)
    bounds = [window.start, *(int(end) for end in ends if end < window.end), window.end]
    return [Window(start, min(max(window.first, start + 1), end), end) for start, end in pairwise(bounds)]


def samples(tokens: TokenIds, packing: Packing) -> list[Sample]:
    """The windows that predict something. UserError if there is none."""
    found = [each for window in tokens.windows() if len((each := _sample(tokens, window, packing)).rows)]
    if not found:
        raise UserError("no token is predicted from another", hint="make more token ids, of longer documents")
    return found


def _sample(tokens: TokenIds, window: Window, packing: Packing) -> Sample:
    ids = torch.from_numpy(tokens.ids[window.start : window.end].astype("int64"))
    parts = pieces(tokens, window, packing)
    positions = torch.cat([torch.arange(part.end - part.start) for part in parts])
    at = torch.cat([torch.arange(part.first, part.end) for part in parts]) - window.start
    return Sample(ids, positions, at - 1, ids[at])


def check_packing(model: nn.Module, found: Sequence[Sample]) -> None:
    """UserError unless the model gives each document of a window what it gives it alone."""
    sample = next((each for each in found if int((each.positions == 0).sum()) > 1), None)
    if sample is None:  # no window has two documents
        return
    with torch.inference_mode():
        packed = model(input_ids=sample.ids[None], position_ids=sample.positions[None], use_cache=False).logits[0]
        for start, end in _documents(sample):
            alone = model(input_ids=sample.ids[None, start:end], use_cache=False).logits[0]
            error = float((packed[start:end] - alone).abs().max() / packed.abs().max())
            if not error <= _SAME:
                raise UserError(
                    f"a {type(model).__name__} lets documents of one window see each other: logits differ by "
                    f"{error:.2g} of the largest",
                    hint="its code builds no mask from positions: take 'packing: stream'",
                )


def _documents(sample: Sample) -> Iterator[tuple[int, int]]:
    starts = torch.nonzero(sample.positions == 0).flatten().tolist()
    yield from zip(starts, [*starts[1:], len(sample.ids)], strict=True)
