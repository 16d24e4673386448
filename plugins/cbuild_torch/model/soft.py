"""What a training minimises on a teacher's outputs: Hinton, Vinyals, Dean, 2015."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from cbuild_kit import batch_indices
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, kl_div, log_softmax, mse_loss

from compressbuild.api import Context, ModelInput, Runner, UserError

from .calling import caller, chosen_outputs, named_outputs, tensors
from .objective import Loss, Samples, class_axis
from .runner import load

__all__ = ["Match", "SoftTarget", "soft_loss", "soft_targets"]

Match = Literal["kl", "mse", "cosine"]


class Taught(Protocol):
    """What a comparison with a teacher follows from."""

    @property
    def batch_size(self) -> int: ...
    @property
    def outputs(self) -> tuple[str, ...]: ...
    @property
    def class_axis(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class SoftTarget:
    """``known``: what the teacher gives for every sample, N×… . ``axis``: of its classes."""

    known: Tensor
    match: Match
    axis: int


def soft_targets(
    ctx: Context,
    teacher: str,
    student: nn.Module,
    inputs: tuple[ModelInput, ...],
    samples: Samples,
    params: Taught,
    match: Match | Mapping[str, Match] = "kl",
) -> dict[str, SoftTarget]:
    """The student's output → what it is compared with. ``match``: of all that ``params`` names, or of each by name."""
    names = tuple(match) if isinstance(match, Mapping) else params.outputs
    with torch.no_grad():
        own = chosen_outputs(caller(student, inputs)({n: t[:2] for n, t in samples.inputs.items()}), names)
        every = tuple(named_outputs(caller(student, inputs)({n: t[:2] for n, t in samples.inputs.items()})))
    given = _teacher_outputs(ctx, teacher, samples, params.batch_size, every, tuple(own) if names else ())
    found = {}
    for (name, value), known in zip(own.items(), given, strict=True):
        if value.shape[1:] != known.shape[1:]:
            raise UserError(
                f"output '{name}' has {list(known.shape[1:])} per sample in teacher '{teacher}', but "
                f"{list(value.shape[1:])} in the student",
                hint="distillation compares them one by one: both need the same classes",
            )
        how = match[name] if isinstance(match, Mapping) else match
        if how == "kl" and known.dim() < 2:
            raise UserError(f"output '{name}' has one number per sample, so no classes", hint="use 'match: mse'")
        found[name] = SoftTarget(known, how, _axis(known, samples.labels, params.class_axis))
    return found


def _axis(known: Tensor, labels: Tensor, asked: int | None) -> int:
    """Where the classes of an output are: as asked, as the labels say, or else last, but second of maps N×C×H×W."""
    if asked is not None:
        if not -known.dim() <= asked < known.dim() or asked % known.dim() == 0:
            raise UserError(
                f"'class-axis: {asked}' is not an axis of an output {list(known.shape)}", hint="e.g. 1 or -1"
            )
        return asked % known.dim()
    said = None if labels.is_floating_point() else class_axis(known.shape, labels)
    return said if said is not None else (known.dim() - 1 if known.dim() < 4 else 1)


def _teacher_outputs(
    ctx: Context, teacher: str, samples: Samples, batch_size: int, every: tuple[str, ...], names: tuple[str, ...]
) -> list[Tensor]:
    """The teacher's outputs for every sample, N×…: those of the student's ``names``, or its first. It may be anything
    that runs; where it names its outputs otherwise, they correspond in order."""
    runner: Runner = load(ctx, ctx.artifact(teacher)) if ctx.kind(teacher) == "torch-model" else ctx.runner(teacher)
    if len(runner.inputs) != len(samples.inputs):
        raise UserError(f"teacher '{teacher}' has {len(runner.inputs)} inputs, but the student {len(samples.inputs)}")
    own = [item.name for item in runner.inputs]
    inputs = list(samples.inputs) if set(own) == set(samples.inputs) else own
    parts: list[list[Tensor]] = []
    for indices in batch_indices(len(samples), batch_size):
        feeds = {name: tensor[indices].numpy() for name, tensor in zip(inputs, samples.inputs.values(), strict=True)}
        result = tensors(runner(feeds))
        parts.append(list(chosen_outputs(result, _theirs(teacher, tuple(result), every, names)).values()))
    return [torch.cat(each) for each in zip(*parts, strict=True)]


def _theirs(teacher: str, theirs: tuple[str, ...], every: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    if set(names) <= set(theirs):
        return names
    if len(theirs) != len(every):
        missing = next(name for name in names if name not in theirs)
        raise UserError(f"teacher '{teacher}' has no output '{missing}'", hint=f"it has: {', '.join(theirs)}")
    return tuple(theirs[every.index(name)] for name in names)


def soft_loss(targets: Mapping[str, SoftTarget], hard: Loss, *, alpha: float, temperature: float) -> Loss:
    """alpha · soft + (1 − alpha) · ``hard``.

    soft is, added over the outputs, T²·KL(teacher ‖ student, both at temperature T) over the classes, its mean over
    everything else; or the mean squared error; or 1 − cosine over the last axis.
    """
    compared = {name: _comparison(target, temperature) for name, target in targets.items()}

    def loss(result: Any, chosen: Tensor) -> Tensor:
        found = chosen_outputs(result, compared)
        parts = [compare(found[name], chosen) for name, compare in compared.items()]
        total = alpha * (torch.stack(parts).sum() if len(parts) > 1 else parts[0])
        return total + (1 - alpha) * hard(result, chosen) if alpha < 1 else total

    return loss


Soft = Callable[[Tensor, Tensor], Tensor]  # the student's output, indices of the samples → scalar


def _comparison(target: SoftTarget, temperature: float) -> Soft:
    known, axis = target.known, target.axis
    if target.match == "mse":
        return lambda output, chosen: mse_loss(output, known[chosen])
    if target.match == "cosine":
        return lambda output, chosen: (1 - cosine_similarity(output, known[chosen], dim=-1)).mean()
    targets = log_softmax(known / temperature, dim=axis)

    def divergence(output: Tensor, chosen: Tensor) -> Tensor:
        found = log_softmax(output / temperature, dim=axis)
        total = kl_div(found, targets[chosen], reduction="sum", log_target=True)
        return temperature**2 * (total / (found.numel() / found.shape[axis]))

    return divergence
