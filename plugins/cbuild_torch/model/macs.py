"""MACs of a torch model: torch's own dispatcher counts what runs (``torch.utils.flop_counter``)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from cbuild_kit import fitting
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from compressbuild.api import Context, Macs

from .runner import load

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


def count(ctx: Context, model: Path, axes: Mapping[str, int]) -> Macs:
    """What one sample takes; a torch model computes in floats alone."""
    runner = load(ctx, model)
    sample = fitting(runner.inputs, axes, runner)
    found = _run(lambda: runner(sample.feeds))
    counted = [(operator, "float", macs) for operator, macs in found.items()]
    return Macs.of_run(counted, batch=sample.batch, axes=sample.axes)


def _run(call: Any) -> dict[str, int]:
    counter = FlopCounterMode(display=False)
    with _plain_operators(), counter:
        call()
    flops = counter.get_flop_counts().get("Global", {})
    return {str(operator).removeprefix("aten."): value // 2 for operator, value in flops.items()}
