"""Knowledge distillation: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressbuild.api import Context

from .description import ModelDescription
from .module import load_model, prepare, save_model
from .objective import read_samples, soft_loss, soft_targets, task_loss, teacher_outputs
from .optimise import optimise
from .params import Distill

__all__ = ["distill", "soft_loss", "teacher_outputs"]


def distill(ctx: Context, model: Path, params: Distill) -> dict[str, Any]:
    """Train the student on alpha·T²·KL(teacher ‖ student at temperature T) + (1 − alpha)·task loss."""
    prepare(ctx)
    description = ModelDescription.read(model)
    student = load_model(ctx, model)
    samples = read_samples(ctx, params.data, description.inputs)
    known = soft_targets(ctx, params.teacher, student, description.inputs, samples, params.batch_size)
    hard = task_loss(ctx, params, samples)
    loss = soft_loss(known, hard, alpha=params.alpha, temperature=params.temperature)
    facts = optimise(ctx, student, description, samples, params, loss)
    save_model(ctx, student, description)
    return facts
