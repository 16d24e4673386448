"""Knowledge distillation: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from cbuild_data import batch_indices
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from compressbuild.api import Context, Runner, UserError

from .calling import caller, first_output, tensors
from .description import ModelDescription
from .module import load_model, prepare, save_model
from .optimise import Loss, Samples, optimise, read_samples, task_loss
from .params import Distill
from .runner import load

__all__ = ["distill", "soft_loss", "teacher_outputs"]


def distill(ctx: Context, model: Path, params: Distill) -> dict[str, Any]:
    """Train the student on alpha·T²·KL(teacher ‖ student at temperature T) + (1 − alpha)·task loss."""
    prepare(ctx)
    description = ModelDescription.read(model)
    student = load_model(ctx, model)
    samples = read_samples(ctx, params.data, description.inputs)
    known = teacher_outputs(ctx, params.teacher, samples, params.batch_size)
    with torch.no_grad():
        logits = first_output(caller(student, description.inputs)({n: t[:2] for n, t in samples.inputs.items()}))
    if logits.shape[1:] != known.shape[1:]:
        raise UserError(
            f"teacher '{params.teacher}' gives {list(known.shape[1:])} a sample, the student {list(logits.shape[1:])}",
            hint="distillation compares them one by one: both need the same classes",
        )
    loss = soft_loss(known, task_loss(ctx, params, samples), alpha=params.alpha, temperature=params.temperature)
    facts = optimise(ctx, student, description, samples, params, loss)
    save_model(ctx, student, description)
    return facts


def teacher_outputs(ctx: Context, teacher: str, samples: Samples, batch_size: int) -> Tensor:
    """The teacher's first output (or ``logits``) for every sample, N×… . It may be anything that runs."""
    runner: Runner = load(ctx, ctx.artifact(teacher)) if ctx.kind(teacher) == "torch-model" else ctx.runner(teacher)
    if len(runner.inputs) != len(samples.inputs):
        raise UserError(f"teacher '{teacher}' has {len(runner.inputs)} inputs, the student {len(samples.inputs)}")
    same_names = set(runner.inputs) == set(samples.inputs)
    names = list(samples.inputs) if same_names else list(runner.inputs)
    parts = []
    for indices in batch_indices(len(samples), batch_size):
        feeds = {name: tensor[indices].numpy() for name, tensor in zip(names, samples.inputs.values(), strict=True)}
        parts.append(first_output(tensors(runner(feeds))))
    return torch.cat(parts)


def soft_loss(known: Tensor, hard: Loss, *, alpha: float, temperature: float) -> Loss:
    """alpha·T²·KL + (1 − alpha)·``hard``. ``known``: teacher logits, N × classes × … ."""
    targets = log_softmax(known / temperature, dim=1)

    def loss(result: Any, chosen: Tensor) -> Tensor:
        found = log_softmax(first_output(result) / temperature, dim=1)
        soft = kl_div(found, targets[chosen], reduction="sum", log_target=True) / (found.numel() / found.shape[1])
        total = alpha * temperature**2 * soft
        return total + (1 - alpha) * hard(result, chosen) if alpha < 1 else total

    return loss
