"""Pruning during training: Zhu & Gupta, "To prune, or not to prune", 2017."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressbuild.api import Context

from ..model.description import ModelDescription
from ..model.module import load_plain, prepare, save_model
from ..model.objective import Loss, Samples, read_samples, task_loss
from ..model.selection import ratio_for
from ..model.soft import soft_loss, soft_targets
from ..train.companion import Companion
from ..train.optimise import optimise, updates_per_epoch
from .masks import lowest, prunable_weights, zero
from .params.gradual import PruneGradual
from .params.movement import PruneMovement
from .ramp import Ramp, make_ramp
from .zeroed import check_zeros, ranked

__all__ = ["Masking", "finish", "prune", "pruning_loss"]


def prune(ctx: Context, model: Path, params: PruneGradual) -> dict[str, Any]:
    """Train while the share of zeros grows. Returns the facts of the training and of prune.magnitude."""
    prepare(ctx)
    module, description = load_plain(ctx, model)
    weights = prunable_weights(module, params.ignore, params.overrides)
    samples = read_samples(ctx, params.data, description.inputs)
    ramp = make_ramp(params, updates_per_epoch(len(samples), params))
    loss = pruning_loss(ctx, params, module, description, samples)
    masking = Masking(weights, ramp, params, train_masked=params.masked == "train")
    facts = optimise(ctx, module, description, samples, params, loss, companion=masking)
    facts |= finish(ctx, module, description, weights, masking)
    check_zeros(ctx.out, ranked(weights, params.sparsity, params.scope, params.overrides), "prune.gradual")
    return facts


def pruning_loss(
    ctx: Context,
    params: PruneGradual | PruneMovement,
    module: nn.Module,
    description: ModelDescription,
    samples: Samples,
) -> Loss:
    """The task's loss, or the distillation's if there is a teacher."""
    hard = task_loss(ctx, params, samples)
    if params.teacher is None:
        return hard
    known = soft_targets(ctx, params.teacher, module, description.inputs, samples, params)
    return soft_loss(known, hard, alpha=params.alpha, temperature=params.temperature)


def finish(
    ctx: Context, module: nn.Module, description: ModelDescription, weights: dict[str, nn.Parameter], masking: Masking
) -> dict[str, Any]:
    """Zero for good what is masked, and save."""
    facts = zero(weights, masking.masks)
    save_model(ctx, module, description, [{"op": "sparse", "parameters": sorted({*description.sparse, *weights})}])
    return facts


class Masking(Companion):
    """The model computes with masked weights; the dense ones are kept beside, and the masks follow from those."""

    def __init__(
        self,
        weights: dict[str, nn.Parameter],
        ramp: Ramp,
        params: PruneGradual | PruneMovement,
        *,
        train_masked: bool = False,
    ) -> None:
        """``train_masked``: weights under the mask go on learning; otherwise they keep their values."""
        self.weights, self._ramp, self._params = weights, ramp, params
        self._train_masked = train_masked
        self.masks = {name: torch.zeros(weight.shape, dtype=torch.bool) for name, weight in weights.items()}
        self._dense: dict[str, Tensor] = {}

    def scores(self) -> Mapping[str, Tensor]:
        """What ranks the weights: the lowest are masked."""
        return {name: weight.detach().abs() for name, weight in self.weights.items()}

    def before(self, update: int) -> None:
        if self._ramp.moves(update):
            params = self._params
            own = {n: share for n in self.weights if (share := ratio_for(n, params.overrides)) is not None}
            now = {name: self._ramp.at(update, share) for name, share in own.items()}
            self.masks = lowest(self.scores(), self._ramp.at(update, params.sparsity), params.scope, now)
        self.apply()

    def between(self) -> None:
        self.restore_dense(forget=False)
        if not self._train_masked:
            for name, weight in self.weights.items():
                if weight.grad is not None:
                    weight.grad.masked_fill_(self.masks[name], 0.0)

    @torch.no_grad()
    def after(self) -> None:
        if not self._train_masked:
            for name, weight in self.weights.items():
                weight.copy_(torch.where(self.masks[name], self._dense[name], weight))
        self._dense = {}

    @torch.no_grad()
    def apply(self) -> None:
        """Put the masked weights in place of the dense ones."""
        self._dense = {name: weight.detach().clone() for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            weight.masked_fill_(self.masks[name], 0.0)

    @torch.no_grad()
    def restore_dense(self, *, forget: bool) -> None:
        """Put the dense weights back, and let go of the copies or keep them."""
        for name, weight in self.weights.items():
            weight.copy_(self._dense[name])
        if forget:
            self._dense = {}

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        self.apply()
        try:
            yield
        finally:
            self.restore_dense(forget=True)

    def settled(self, update: int) -> bool:
        return update > self._ramp.end

    def state(self) -> dict[str, Tensor]:
        return {f"mask.{name}": mask for name, mask in self.masks.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.masks = {name: state[f"mask.{name}"] for name in self.weights}
