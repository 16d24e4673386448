"""MACs of a torch model: torch's own dispatcher counts what runs (``torch.utils.flop_counter``)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from compressbuild.api import Context

from ..answers.feeds import example, model_inputs
from .macs import result

__all__ = ["count"]


@contextlib.contextmanager
def _plain_operators() -> Iterator[None]:
    """Attention, encoder layers and LSTMs as the matrix products they consist of: the fused ones are not counted."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
            warnings.simplefilter("ignore")  # about TF32 on GPUs, whenever oneDNN's flags are touched
            with torch.backends.mkldnn.flags(enabled=False):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def count(ctx: Context, subject: Path, axes: Mapping[str, int]) -> dict[str, Any]:
    from cbuild_torch.model.runner import load

    runner = load(ctx, subject)
    sample = example(model_inputs(runner), axes)
    return result(_run(lambda: runner(sample.feeds)), sample)


def _run(call: Any) -> dict[str, int]:
    counter = FlopCounterMode(display=False)
    with _plain_operators(), counter:
        call()
    flops = counter.get_flop_counts().get("Global", {})
    return {str(operator).removeprefix("aten."): value // 2 for operator, value in flops.items()}
