"""What training minimises: the samples in memory, and the loss that fits their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from cbuild_kit import arrays, fit, require_labels
from torch import Tensor, nn

from compressbuild.api import Context, ModelInput, UserError

from .calling import caller, chosen_outputs, named_outputs, tensors

__all__ = ["IGNORED", "Loss", "Samples", "Task", "class_axis", "left_out", "read_samples", "task_loss"]

IGNORED = -100  # a label that does not count, as torch has it
_OWN = "give a 'loss:' of your own"

Loss = Callable[[Any, Tensor], Tensor]  # what the model returned, indices of the samples → scalar


class Objective(Protocol):
    """What the task's loss follows from: part of the parameters of every technique that needs one."""

    @property
    def loss(self) -> str | None:
        """``module:function`` of ``f(outputs, labels)``."""

    @property
    def label_smoothing(self) -> float:
        """For the cross-entropy."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs that labels are for; empty for ``logits``, or else the first."""

    @property
    def class_axis(self) -> int | None:
        """The axis of the classes in an output; by default inferred from labels and shapes."""


@dataclass(frozen=True, slots=True)
class Task:
    """The :class:`Objective` of a technique that does not train."""

    loss: str | None = None
    label_smoothing: float = 0.0
    outputs: tuple[str, ...] = ()
    class_axis: int | None = None


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
    """The user's loss, or the one that the labels call for; UserError if none does. With several outputs ``labels`` are
    N×outputs×…, a column for each, and the losses are added."""
    labels = samples.labels
    if params.loss is not None:
        function = ctx.function(params.loss)
        return lambda result, chosen: function(result, labels[chosen])
    require_labels(labels, "a loss")
    if not labels.is_floating_point():
        _not_the_inputs(samples)
    names = params.outputs
    columns = _columns(labels, names)
    single = _squared_error if labels.is_floating_point() else _CrossEntropy(params)

    def loss(result: Any, chosen: Tensor) -> Tensor:
        found = chosen_outputs(result, names)
        parts = [single(name, *each, chosen) for (name, *each) in zip(found, found.values(), columns, strict=True)]
        return torch.stack(parts).sum() if len(parts) > 1 else parts[0]

    return loss


@torch.no_grad()
def left_out(
    ctx: Context, module: nn.Module, inputs: tuple[ModelInput, ...], samples: Samples, names: Iterable[str]
) -> dict[str, Any]:
    """Facts for a model with outputs that no loss uses: ``outputs``, those that count, and ``left_out``."""
    result = caller(module, inputs)({name: tensor[:1] for name, tensor in samples.inputs.items()})
    used = list(chosen_outputs(result, names))
    others = [name for name in named_outputs(result) if name not in used]
    if not others:
        return {}
    ctx.log.warning("trained on %s; no loss uses %s", ", ".join(used), ", ".join(others))
    return {"outputs": used, "left_out": others}


def _columns(labels: Tensor, outputs: tuple[str, ...]) -> list[Tensor]:
    if len(outputs) < 2:
        return [labels]
    if labels.dim() < 2 or labels.shape[1] != len(outputs):
        raise UserError(
            f"'outputs:' names {len(outputs)} outputs, but labels are {_form(labels)}",
            hint=f"labels N×{len(outputs)}×… have a column for each output; or {_OWN}",
        )
    return list(labels.unbind(1))


def _not_the_inputs(samples: Samples) -> None:
    """A language model that is trained to repeat each token learns nothing else."""
    for name, value in samples.inputs.items():
        if value.dim() > 1 and value.shape[-1] > 1 and torch.equal(value, samples.labels):
            raise UserError(
                f"the labels are the input '{name}' itself: the model would learn to repeat it",
                hint="each label is the next token: have the loader yield ids[:, :-1] with labels ids[:, 1:]; or "
                f"{_OWN}, which shifts them",
            )


def _squared_error(name: str, output: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
    wanted = labels[chosen]
    if output.shape != wanted.shape:
        raise UserError(f"labels are float {list(wanted.shape)} but the output is {list(output.shape)}", hint=_OWN)
    return nn.functional.mse_loss(output, wanted)


class _CrossEntropy:
    """Of scores with their classes on any axis."""

    def __init__(self, params: Objective) -> None:
        self._axis, self._smoothing = params.class_axis, params.label_smoothing

    def __call__(self, name: str, output: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
        axis = class_axis(output.shape, labels, self._axis)
        counted = labels[labels != IGNORED]
        least, most = (int(counted.min()), int(counted.max())) if counted.numel() else (0, 0)
        if axis is None or least < 0 or most >= output.shape[axis]:
            raise UserError(
                f"integer labels {least}…{most} of shape {_form(labels)} do not fit an output of shape "
                f"{list(output.shape)} (N × classes × …, or N × … × classes)",
                hint=_OWN,
            )
        if len(output) != len(chosen):
            raise UserError(f"the output has {len(output)} rows for {len(chosen)} samples", hint=_OWN)
        scores, wanted = output.movedim(axis, 1), labels[chosen]
        if bool((wanted == IGNORED).all()):
            return scores.sum() * 0  # the mean over none is not a number
        return nn.functional.cross_entropy(scores, wanted, ignore_index=IGNORED, label_smoothing=self._smoothing)


def class_axis(shape: torch.Size, labels: Tensor, asked: int | None = None) -> int | None:
    """The axis of an output that labels N×… count classes of: ``asked``, or the one without which the shapes agree;
    None if there is none. Where both the first and the last would do, sequences N×T×C have it last and maps N×C×H×W
    first."""
    size = len(shape)
    if size != labels.dim() + 1 or size < 2:
        return None
    rest = list(labels.shape[1:])
    fits = {axis for axis in range(1, size) if [*shape[1:axis], *shape[axis + 1 :]] == rest}
    if asked is not None:
        return asked % size if -size <= asked < size and asked % size in fits else None
    return next((axis for axis in ((2, 1) if size == 3 else (1, size - 1)) if axis in fits), None)


def _form(labels: Tensor) -> str:
    return f"[{', '.join(map(str, ('N', *labels.shape[1:])))}]"
