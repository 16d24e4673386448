"""Knowledge distillation: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.calling import caller, chosen_outputs
from ..model.description import ModelDescription
from ..model.module import load_model, prepare, save_model
from ..model.objective import Samples, left_out, read_samples, task_loss
from ..model.soft import SoftTarget, soft_loss, soft_targets
from .features import Call, FeatureMatching
from .optimise import optimise
from .params import Distill

__all__ = ["distill", "soft_loss", "soft_targets"]

_SAMPLES = 256
_FEWER = 0.02  # of the samples: what chance may take


def distill(ctx: Context, model: Path, params: Distill) -> dict[str, Any]:
    """Train the student on the teacher's outputs, its inner states if asked, and the labels."""
    prepare(ctx)
    model, teacher = _roles(ctx, model, params)
    description = ModelDescription.read(model)
    student = load_model(ctx, model)
    samples = read_samples(ctx, params.data, description.inputs)
    matching = _matching(ctx, student, description, samples, teacher, params)
    known = soft_targets(ctx, teacher, student, description.inputs, samples, params, params.match)
    said = left_out(ctx, student, description.inputs, samples, known)
    hard = task_loss(ctx, params, samples) if params.alpha < 1 else _none
    loss = soft_loss(known, hard, alpha=params.alpha, temperature=params.temperature)
    if matching is not None:
        loss = matching.loss(loss)
    agreed = _agreement(student, description, samples, known)
    facts = optimise(ctx, student, description, samples, params, loss, companion=matching, judged=True)
    if matching is not None:
        matching.close()
    save_model(ctx, student, description)
    return facts | said | _taught_well(ctx, agreed, _agreement(student, description, samples, known))


@torch.no_grad()
def _agreement(
    student: nn.Module, description: ModelDescription, samples: Samples, known: Mapping[str, SoftTarget]
) -> float | None:
    """Share of the classes that student and teacher agree on, whatever the loss is; None if no output has classes."""
    classes = {name: target for name, target in known.items() if target.match == "kl"}
    if not classes:
        return None
    training, chosen = student.training, torch.arange(min(len(samples), _SAMPLES))
    student.eval()
    found = chosen_outputs(caller(student, description.inputs)(samples.feeds(chosen)), classes)
    student.train(training)
    same = [found[name].argmax(each.axis) == each.known[chosen].argmax(each.axis) for name, each in classes.items()]
    return float(torch.cat([each.flatten() for each in same]).double().mean())


def _taught_well(ctx: Context, before: float | None, after: float | None) -> dict[str, Any]:
    """Facts: the agreement with the teacher after and before, and a concern if there is less of it."""
    if before is None or after is None:
        return {}
    facts: dict[str, Any] = {"teacher_agreement": round(after, 4), "teacher_agreement_before": round(before, 4)}
    if after < before - _FEWER:
        facts["concern"] = f"the student agrees with its teacher less than before: {after:.1%}, not {before:.1%}"
        ctx.log.warning(
            "%s; usual causes: a large 'lr:', or a teacher with its classes in another order", facts["concern"]
        )
    return facts


def _none(result: Any, chosen: Tensor) -> Tensor:
    """Of labels that do not count, with ``alpha: 1``."""
    raise AssertionError("labels have no share in this loss")


def _roles(ctx: Context, model: Path, params: Distill) -> tuple[Path, str]:
    """The student's directory, and the name of the input that teaches."""
    if params.student is None:
        if params.teacher is None:
            raise UserError("distill has no teacher", hint="name a 'teacher:', or a 'student:' for this model to teach")
        return model, params.teacher
    if ctx.kind(params.student) != "torch-model":
        kind = ctx.kind(params.student)
        raise UserError(f"student '{params.student}' is of kind {kind}", hint="only a torch-model can be trained")
    return ctx.artifact(params.student), params.teacher or "subject"


def _matching(
    ctx: Context, student: nn.Module, description: ModelDescription, samples: Samples, teacher: str, params: Distill
) -> FeatureMatching | None:
    if not params.hidden and not params.attention:
        return None
    if ctx.kind(teacher) != "torch-model":
        raise UserError(
            f"teacher '{teacher}' is of kind {ctx.kind(teacher)}: its layers cannot be read",
            hint="'hidden' and 'attention' need a torch-model to teach",
        )
    directory = ctx.artifact(teacher)
    module = load_model(ctx, directory)
    teach = _taught(module, ModelDescription.read(directory), description)
    return FeatureMatching(student, module, caller(student, description.inputs), teach, samples, params)


def _taught(module: nn.Module, own: ModelDescription, student: ModelDescription) -> Call:
    """Calls the teacher with the student's inputs: by name if they have the same, else in their order."""
    call = caller(module, own.inputs)
    theirs, ours = [item.name for item in own.inputs], [item.name for item in student.inputs]
    if set(theirs) == set(ours):
        return call
    if len(theirs) != len(ours):
        raise UserError(f"the teacher has {len(theirs)} inputs, but the student {len(ours)}")

    def renamed(feeds: Mapping[str, Tensor]) -> Any:
        return call({name: feeds[other] for name, other in zip(theirs, ours, strict=True)})

    return renamed
