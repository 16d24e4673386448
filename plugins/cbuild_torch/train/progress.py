"""Whether a training trained: weights that moved, and a loss that did not get worse."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from cbuild_kit import batch_indices
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.objective import Loss, Samples

__all__ = ["Fingerprint", "measured_loss", "worse"]

_SAMPLES = 256
_WORSE, _NOISE = 2.0, 0.02  # times the loss before, and beside that what a loss of nearly nothing may gain


class Fingerprint:
    """What weights were, in two numbers each: a copy of a large model would not fit beside it."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._tensors = list(tensors)
        self._before = [_sums(tensor) for tensor in self._tensors]

    def check(self, updates: int) -> None:
        """UserError if the optimizer took ``updates`` steps and no weight is another."""
        if updates and self._tensors and all(map(torch.equal, self._before, map(_sums, self._tensors))):
            raise UserError(
                f"the training took {updates} steps and changed no weight",
                hint="the loss does not depend on the weights that are trained, or 'lr:' is too small for their type",
            )


@torch.no_grad()
def _sums(tensor: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(tensor, dtype=torch.float64)
    return torch.stack([tensor.sum(dtype=torch.float64), norm])


@torch.no_grad()
def measured_loss(module: nn.Module, call: Callable[..., Any], samples: Samples, loss: Loss, batch_size: int) -> float:
    """Mean loss on the first samples, in eval mode; random numbers are left as they were."""
    training, total, count = module.training, 0.0, min(len(samples), _SAMPLES)
    module.eval()
    with torch.random.fork_rng(devices=[]):
        for indices in batch_indices(count, batch_size):
            chosen = torch.from_numpy(indices)
            total += loss(call(samples.feeds(chosen)), chosen).item() * len(chosen)
    module.train(training)
    return total / count


def worse(ctx: Context, before: float, after: float) -> dict[str, Any]:
    """Facts: the loss before, and a concern where it rose."""
    facts: dict[str, Any] = {"loss_before": before}
    if not after <= _WORSE * before + _NOISE:
        facts["concern"] = f"the loss on the training data rose from {before:.3g} to {after:.3g}"
        ctx.log.warning("%s; usual causes: a large 'lr:', or labels that are not the model's", facts["concern"])
    return facts
