"""The training between two rounds of channel pruning."""

from __future__ import annotations

from typing import Any

from torch import nn

from compressbuild.api import Context

from ..model.description import ModelDescription
from ..model.objective import read_samples, task_loss
from ..train.optimise import optimise
from ..train.params import Finetune
from .params.channels import PruneChannels

__all__ = ["recover"]


def recover(
    ctx: Context, module: nn.Module, description: ModelDescription, params: PruneChannels, step: int
) -> dict[str, Any]:
    """A short training between two rounds; a killed one goes on where it stood. Returns its facts."""
    if not params.recover_epochs or params.data is None:
        return {}
    training = Finetune(
        data=params.data,
        epochs=params.recover_epochs,
        lr=params.recover_lr,
        batch_size=params.recover_batch_size,
        loss=params.loss,
    )
    samples = read_samples(ctx, params.data, description.inputs)
    loss = task_loss(ctx, training, samples)
    within, stage = (step, params.steps), f"recovery-{step}"
    facts = optimise(ctx, module, description, samples, training, loss, stage=stage, within=within, judged=True)
    module.zero_grad(set_to_none=True)
    return facts
