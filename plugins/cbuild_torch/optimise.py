"""The training loop: optimizer, schedule, batches, masks. Repeatable: order and bytes follow from the seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from cbuild_data import ModelInput, arrays, batch_indices, fit
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from .calling import caller, first_output, tensors
from .description import ModelDescription
from .params import Training

__all__ = ["Samples", "optimise", "read_samples", "task_loss"]

Loss = Callable[[Any, Tensor], Tensor]  # what the model returned, indices of the samples → scalar


@dataclass(frozen=True, slots=True)
class Samples:
    """A dataset in memory: ``inputs``, input name → tensor N×…; ``labels``, a tensor N×… ."""

    inputs: dict[str, Tensor]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def read_samples(ctx: Context, dataset: str, inputs: tuple[ModelInput, ...], limit: int | None = None) -> Samples:
    """The dataset, checked against the model's inputs. Unsigned and narrow integer labels become int64."""
    columns, labels = arrays(ctx.dataset(dataset), [item.name for item in inputs], limit=limit)
    wanted = np.int64 if labels.dtype.kind in "iub" else np.float32
    return Samples(tensors(fit(columns, inputs)), tensors({"labels": labels.astype(wanted)})["labels"])


def task_loss(ctx: Context, params: Training, samples: Samples) -> Loss:
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


def optimise(
    ctx: Context,
    module: nn.Module,
    description: ModelDescription,
    samples: Samples,
    params: Training,
    loss: Loss,
) -> dict[str, Any]:
    """Train ``module`` in place and leave it in eval mode. Returns facts: epochs, steps, the last epoch's mean loss."""
    call = caller(module, description.inputs)
    masks = _masks(module, description) if params.keep_zeros else {}
    trained = _trained(module, params)
    per_epoch = sum(1 for _ in batch_indices(len(samples), params.batch_size, drop_single=True))
    optimizer = _optimizer(trained, params)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _schedule(params, per_epoch))
    module.train()
    mean = math.nan
    for epoch in range(params.epochs):
        total = 0.0
        order = batch_indices(len(samples), params.batch_size, seed=[ctx.seed, epoch], drop_single=True)
        for step, indices in enumerate(order):
            chosen = torch.from_numpy(indices)
            optimizer.zero_grad(set_to_none=True)
            value = loss(call({name: tensor[chosen] for name, tensor in samples.inputs.items()}), chosen)
            value.backward()
            if params.clip is not None:
                nn.utils.clip_grad_norm_(trained, params.clip)
            optimizer.step()
            schedule.step()
            _apply(masks)
            total += value.item()
            ctx.progress(epoch + (step + 1) / per_epoch, params.epochs, loss=total / (step + 1))
        mean = total / per_epoch
        if not math.isfinite(mean):
            raise UserError(
                f"training diverged in epoch {epoch + 1}: the loss is {mean}", hint="try a smaller 'lr:' or 'clip: 1'"
            )
        ctx.log.info("epoch %d/%d: loss %.4f, lr %.3g", epoch + 1, params.epochs, mean, optimizer.param_groups[0]["lr"])
    module.eval()
    return {"epochs": params.epochs, "steps": params.epochs * per_epoch, "loss": mean}


def _trained(module: nn.Module, params: Training) -> list[nn.Parameter]:
    """The parameters that are trained; the frozen ones are told to torch."""
    names = [name for name, _ in module.named_parameters()]
    for pattern in params.freeze:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(f"'freeze: {pattern}' matches no parameter", hint=f"there are e.g. {', '.join(names[:6])}")
    for name, parameter in module.named_parameters():
        if any(fnmatchcase(name, pattern) for pattern in params.freeze):
            parameter.requires_grad_(False)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not trained:
        raise UserError("nothing to train: every parameter is frozen")
    return trained


def _optimizer(trained: list[nn.Parameter], params: Training) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": params.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    match params.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, lr=params.lr, momentum=params.momentum, nesterov=params.momentum > 0)
        case "adam":
            return torch.optim.Adam(groups, lr=params.lr)
        case _:
            return torch.optim.AdamW(groups, lr=params.lr)


def _schedule(params: Training, per_epoch: int) -> Callable[[int], float]:
    """Factor of the learning rate at each step."""
    steps, warmup = params.epochs * per_epoch, params.warmup * per_epoch

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        done = min(1.0, (step - warmup) / max(1.0, steps - warmup))
        match params.schedule:
            case "cosine":
                return 0.5 * (1 + math.cos(math.pi * done))
            case "linear":
                return 1 - done
            case "step":
                return 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01
            case _:
                return 1.0

    return factor


def _masks(module: nn.Module, description: ModelDescription) -> dict[nn.Parameter, Tensor]:
    """Of each parameter that pruning left sparse: where its zeros are."""
    sparse = description.sparse
    return {parameter: parameter.detach() == 0 for name, parameter in module.named_parameters() if name in sparse}


@torch.no_grad()
def _apply(masks: Mapping[nn.Parameter, Tensor]) -> None:
    for parameter, zeros in masks.items():
        parameter.masked_fill_(zeros, 0.0)
