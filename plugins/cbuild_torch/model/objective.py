"""What a training minimises: the samples in memory, the loss their labels call for, and a teacher's soft targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from cbuild_kit import ModelInput, arrays, batch_indices, fit
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax

from compressbuild.api import Context, Runner, UserError

from .calling import caller, first_output, tensors
from .runner import load

__all__ = ["Loss", "Samples", "Task", "read_samples", "soft_loss", "soft_targets", "task_loss", "teacher_outputs"]

Loss = Callable[[Any, Tensor], Tensor]  # what the model returned, indices of the samples → scalar


class Objective(Protocol):
    """What the task's loss follows from: part of the parameters of every technique that needs one."""

    @property
    def loss(self) -> str | None:
        """``module:function`` of ``f(outputs, labels)``."""

    @property
    def label_smoothing(self) -> float:
        """For the cross-entropy."""


@dataclass(frozen=True, slots=True)
class Task:
    """The :class:`Objective` of a technique that does not train."""

    loss: str | None = None
    label_smoothing: float = 0.0


@dataclass(frozen=True, slots=True)
class Samples:
    """A dataset in memory: ``inputs``, input name → tensor N×…; ``labels``, a tensor N×… ."""

    inputs: dict[str, Tensor]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def feeds(self, chosen: Tensor) -> dict[str, Tensor]:
        return {name: tensor[chosen] for name, tensor in self.inputs.items()}


def read_samples(ctx: Context, dataset: str, inputs: tuple[ModelInput, ...], limit: int | None = None) -> Samples:
    """The dataset, checked against the model's inputs. Unsigned and narrow integer labels become int64."""
    columns, labels = arrays(ctx.dataset(dataset), [item.name for item in inputs], limit=limit)
    wanted = np.int64 if labels.dtype.kind in "iub" else np.float32
    return Samples(tensors(fit(columns, inputs)), tensors({"labels": labels.astype(wanted)})["labels"])


def task_loss(ctx: Context, params: Objective, samples: Samples) -> Loss:
    """The user's loss, or the one that the labels call for; UserError if none does."""
    labels = samples.labels
    if params.loss is not None:
        function = ctx.function(params.loss)
        return lambda result, chosen: function(result, labels[chosen])
    if labels.is_floating_point():
        return lambda result, chosen: nn.functional.mse_loss(
            _same_shape(first_output(result), labels[chosen]), labels[chosen]
        )

    def cross_entropy(result: Any, chosen: Tensor) -> Tensor:
        logits = _classes(first_output(result), labels)
        if len(logits) != len(chosen):
            raise UserError(
                f"the output has {len(logits)} rows for {len(chosen)} samples", hint="give a 'loss:' of your own"
            )
        return nn.functional.cross_entropy(logits, labels[chosen], label_smoothing=params.label_smoothing)

    return cross_entropy


def _same_shape(output: Tensor, labels: Tensor) -> Tensor:
    if output.shape != labels.shape:
        raise UserError(
            f"labels are float {list(labels.shape)} but the output is {list(output.shape)}",
            hint="give a 'loss:' of your own",
        )
    return output


def _classes(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.dim() != labels.dim() + 1 or int(labels.min()) < 0 or int(labels.max()) >= logits.shape[1]:
        shape = ", ".join(map(str, ("N", *labels.shape[1:])))
        raise UserError(
            f"integer labels {int(labels.min())}…{int(labels.max())} of shape [{shape}] "
            f"do not fit an output of shape {list(logits.shape)} (N × classes × …)",
            hint="give a 'loss:' of your own",
        )
    return logits


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


def soft_targets(
    ctx: Context, teacher: str, student: nn.Module, inputs: tuple[ModelInput, ...], samples: Samples, batch_size: int
) -> Tensor:
    """The teacher's outputs, N×classes×…, once it is sure that the student's have the same shape."""
    with torch.no_grad():
        logits = first_output(caller(student, inputs)({n: t[:2] for n, t in samples.inputs.items()}))
    known = teacher_outputs(ctx, teacher, samples, batch_size)
    if logits.shape[1:] != known.shape[1:]:
        raise UserError(
            f"teacher '{teacher}' gives {list(known.shape[1:])} a sample, the student {list(logits.shape[1:])}",
            hint="distillation compares them one by one: both need the same classes",
        )
    return known


def soft_loss(
    known: Tensor, hard: Loss, *, alpha: float, temperature: float, match: Literal["kl", "mse", "cosine"] = "kl"
) -> Loss:
    """alpha · soft + (1 − alpha) · ``hard``. ``known``: the teacher's outputs, N×… .

    soft is T²·KL(teacher ‖ student, both at temperature T) over classes on axis 1; or the mean squared error; or
    1 − cosine over the last axis.
    """
    soft = {"kl": _divergence(known, temperature), "mse": _squares(known), "cosine": _angles(known)}[match]

    def loss(result: Any, chosen: Tensor) -> Tensor:
        total = alpha * soft(first_output(result), chosen)
        return total + (1 - alpha) * hard(result, chosen) if alpha < 1 else total

    return loss


Soft = Callable[[Tensor, Tensor], Tensor]  # the student's output, indices of the samples → scalar


def _divergence(known: Tensor, temperature: float) -> Soft:
    targets = log_softmax(known / temperature, dim=1) if known.dim() > 1 else known

    def soft(output: Tensor, chosen: Tensor) -> Tensor:
        found = log_softmax(output / temperature, dim=1)
        total = kl_div(found, targets[chosen], reduction="sum", log_target=True)
        return temperature**2 * (total / (found.numel() / found.shape[1]))

    return soft


def _squares(known: Tensor) -> Soft:
    return lambda output, chosen: nn.functional.mse_loss(output, known[chosen])


def _angles(known: Tensor) -> Soft:
    return lambda output, chosen: (1 - nn.functional.cosine_similarity(output, known[chosen], dim=-1)).mean()
