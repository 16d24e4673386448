"""Whether a model that was written gives the logits that it should, also with a cache of keys and values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compressbuild.api import UserError

__all__ = ["HINT", "check_cache", "check_narrower", "check_rewritten", "check_same"]

HINT = (
    "its code depends on the positions of layers in a way that its configuration does not say; drop others, or a whole "
    "period of its pattern"
)
_SAME = 1e-5  # of the largest logit: equal arithmetic, which may be summed in another order
_CACHED = 1e-3


def check_same(wanted: Sequence[Tensor], found: Sequence[Tensor], dropped: Sequence[int]) -> None:
    """UserError if the model that was written is not the source that skips the layers."""
    if (wrong := _difference(wanted, found)) is not None:
        gone = ", ".join(map(str, dropped))
        raise UserError(
            f"without the layers {gone} the model is not its source with these skipped: {wrong}",
            hint=HINT,
        )


def check_narrower(wanted: Sequence[Tensor], found: Sequence[Tensor]) -> None:
    """UserError if the model that was written is not the source with what went masked."""
    if (wrong := _difference(wanted, found)) is not None:
        raise UserError(
            f"the narrower model is not its source with the rest masked: {wrong}",
            hint="its code uses a width in its arithmetic, as Gemma's does the hidden size; prune the other widths",
        )


def check_rewritten(wanted: Sequence[Tensor], found: Sequence[Tensor]) -> None:
    """UserError if the model that was written is not the one in memory."""
    if (wrong := _difference(wanted, found)) is not None:
        raise UserError(f"the model that was written is not the one in memory: {wrong}")


def _difference(wanted: Sequence[Tensor], found: Sequence[Tensor]) -> str | None:
    for one, other in zip(wanted, found, strict=True):
        error = float((one - other).abs().max() / one.abs().max())
        if not error <= _SAME:
            return f"its logits differ by {error:.2g} of the largest, at {one.shape[1]} tokens"
    return None


@torch.inference_mode()
def check_cache(model: nn.Module, ids: Tensor) -> None:
    """UserError if the model gives other logits for tokens that it sees one part after the other."""
    whole = model(input_ids=ids).logits
    half = ids.shape[1] // 2
    try:
        first = model(input_ids=ids[:, :half], use_cache=True)
        if getattr(first, "past_key_values", None) is None:  # a state-space model has none
            return
        second = model(input_ids=ids[:, half:], past_key_values=first.past_key_values, use_cache=True)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"the pruned model cannot run with a cache: {' '.join(str(error).split())[:200]}",
            hint="its code counts on layers that are gone; drop others",
        ) from error
    parts = torch.cat([first.logits, second.logits], dim=1)
    error = float((parts - whole).abs().max() / whole.abs().max())
    if not error <= _CACHED:
        raise UserError(
            f"the pruned model gives other logits with a cache: they differ by {error:.2g} of the largest",
            hint="its code finds the cache of a layer by a position that has changed; drop other layers",
        )
