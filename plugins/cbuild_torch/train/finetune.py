"""``train`` and ``finetune``: supervised training; they differ in their defaults only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressbuild.api import Context

from ..model.description import ModelDescription
from ..model.module import load_model, prepare, save_model
from ..model.objective import left_out
from .optimise import optimise, read_samples, task_loss
from .params import Training

__all__ = ["train"]


def train(ctx: Context, model: Path, params: Training) -> dict[str, Any]:
    """Train on ``params.data`` with the loss its labels call for."""
    prepare(ctx)
    description = ModelDescription.read(model)
    module = load_model(ctx, model)
    samples = read_samples(ctx, params.data, description.inputs)
    said = {} if params.loss else left_out(ctx, module, description.inputs, samples, params.outputs)
    facts = optimise(ctx, module, description, samples, params, task_loss(ctx, params, samples), judged=True)
    save_model(ctx, module, description)
    return facts | said
