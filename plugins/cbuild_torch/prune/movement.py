"""Movement pruning: Sanh, Wolf, Rush, "Movement Pruning: Adaptive Sparsity by Fine-Tuning", 2020 (hard, top-v)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.module import load_plain, prepare
from ..model.objective import read_samples
from ..train.optimise import optimise, updates_per_epoch
from .gradual import Masking, finish, pruning_loss
from .masks import prunable_weights
from .params.movement import PruneMovement
from .ramp import Ramp, make_ramp
from .zeroed import check_zeros, ranked

__all__ = ["Movement", "prune"]


def prune(ctx: Context, model: Path, params: PruneMovement) -> dict[str, Any]:
    """Fine-tune while the weights that move towards zero are masked. Returns the facts of prune.gradual."""
    if params.begin == 0 and (params.initial > 0 or params.ramp == "constant"):
        raise UserError(
            "at the first step no weight has moved yet, so none can be chosen", hint="set 'begin: 1' or 'initial: 0'"
        )
    prepare(ctx)
    module, description = load_plain(ctx, model)
    weights = prunable_weights(module, params.ignore, params.overrides)
    samples = read_samples(ctx, params.data, description.inputs)
    ramp = make_ramp(params, updates_per_epoch(len(samples), params))
    loss = pruning_loss(ctx, params, module, description, samples)
    movement = Movement(weights, ramp, params)
    facts = optimise(ctx, module, description, samples, params, loss, companion=movement)
    facts |= finish(ctx, module, description, weights, movement)
    check_zeros(ctx.out, ranked(weights, params.sparsity, params.scope, params.overrides), "prune.movement")
    return facts


class Movement(Masking):
    """Masks by scores that are trained: straight through the mask, ∂L/∂S = ∂L/∂W' · W, where W' is the masked W."""

    def __init__(self, weights: dict[str, nn.Parameter], ramp: Ramp, params: PruneMovement) -> None:
        super().__init__(weights, ramp, params)
        self._rate = params.score_lr
        self._scores = {name: nn.Parameter(torch.zeros_like(weight)) for name, weight in weights.items()}

    def groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self._scores.values()), "lr": self._rate, "weight_decay": 0.0}]

    def scores(self) -> Mapping[str, Tensor]:
        return {name: score.detach() for name, score in self._scores.items()}

    def between(self) -> None:
        gradients = {n: weight.grad.clone() for n, weight in self.weights.items() if weight.grad is not None}
        super().between()
        for name, gradient in gradients.items():
            self._scores[name].grad = gradient * self.weights[name].detach()
