"""Adversarial examples, made on a torch model, in the maximum norm, untargeted.

FGSM: Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", 2015. PGD: Madry et al., "Towards
Deep Learning Models Resistant to Adversarial Attacks", 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cbuild_kit import batch_indices, require_labels
from cbuild_kit.predictions import Examples
from cbuild_torch.model.calling import caller, first_output
from cbuild_torch.model.description import ModelDescription
from cbuild_torch.model.module import load_model, prepare
from cbuild_torch.model.objective import Loss, Samples, Task, read_samples, task_loss
from torch import Tensor

from compressbuild.api import Context, UserError

from .params.attacks import Fgsm, Pgd

__all__ = ["Ball", "fgsm", "fgsm_examples", "pgd", "pgd_examples"]

BATCH = 100
Tensors = dict[str, Tensor]
Gradient = Callable[[Tensors], Tensors]


@dataclass(frozen=True, slots=True)
class Ball:
    """Where an input may be moved: at most ``radius`` from where it was, within ``low`` … ``high``. Tensors that
    broadcast to N×… ."""

    radius: Tensor
    low: Tensor
    high: Tensor

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        return torch.clamp(x, origin - self.radius, origin + self.radius).clamp(self.low, self.high)


def fgsm(gradient: Gradient, inputs: Tensors, balls: Mapping[str, Ball]) -> Tensors:
    """x + eps · sign(∇loss), clipped."""
    found = gradient(inputs)
    return {n: balls[n].project(x + balls[n].radius * found[n].sign(), x) for n, x in inputs.items()}


def pgd(
    gradient: Gradient,
    inputs: Tensors,
    balls: Mapping[str, Ball],
    *,
    steps: int,
    share: float,
    start: torch.Generator | None,
) -> Tensors:
    """``steps`` times x + step · sign(∇loss), each projected into the ball; ``share``: the step, of the radius.
    ``start``: where the first point is drawn from, uniformly in the ball; None: it is the input itself."""
    x = dict(inputs)
    if start is not None:
        for name, origin in inputs.items():
            away = 2 * torch.rand(origin.shape, generator=start, dtype=origin.dtype) - 1
            x[name] = balls[name].project(origin + away * balls[name].radius, origin)
    for _ in range(steps):
        found = gradient(x)
        x = {
            n: balls[n].project(x[n] + share * balls[n].radius * found[n].sign(), origin)
            for n, origin in inputs.items()
        }
    return x


def fgsm_examples(ctx: Context, subject: Path, params: Fgsm) -> dict[str, Any]:
    return _examples(ctx, subject, params, lambda eps: fgsm)


def pgd_examples(ctx: Context, subject: Path, params: Pgd) -> dict[str, Any]:
    def attack(eps: float) -> Callable[[Gradient, Tensors, Mapping[str, Ball]], Tensors]:
        share = (params.step if params.step is not None else 2.5 * eps / params.steps) / eps
        start = torch.Generator().manual_seed(ctx.seed) if params.random_start else None
        return lambda gradient, inputs, balls: pgd(
            gradient, inputs, balls, steps=params.steps, share=share, start=start
        )

    return _examples(ctx, subject, params, attack)


def _examples(ctx: Context, subject: Path, params: Fgsm | Pgd, attack: Callable[[float], Any]) -> dict[str, Any]:
    """The samples once for each eps, one after the other; returns how the model they were made on bears them."""
    prepare(ctx)
    module = load_model(ctx, subject).requires_grad_(False)
    inputs = ModelDescription.read(subject).inputs
    samples = read_samples(ctx, params.data, inputs, params.samples)
    require_labels(samples.labels, "adversarial accuracy")
    if samples.labels.is_floating_point():
        raise UserError("adversarial accuracy needs labels that are classes", hint="the labels are numbers")
    call, loss = caller(module, inputs), task_loss(ctx, Task(), samples)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in samples.inputs}
    right: list[int] = []
    starts = list(batch_indices(len(samples), BATCH))
    for number, eps in enumerate(params.eps):
        balls, move = _balls(samples, params, eps), attack(eps)
        right.append(0)
        for index, indices in enumerate(starts):
            chosen = torch.from_numpy(indices)
            feeds = samples.feeds(chosen)
            moved = move(_gradient(call, feeds, loss, chosen), {name: feeds[name] for name in balls}, balls)
            right[-1] += _right(call, {**feeds, **moved}, samples.labels[chosen])
            for name, tensor in {**feeds, **moved}.items():
                rows[name].append(tensor.numpy())
            ctx.progress(number * len(starts) + index + 1, len(params.eps) * len(starts))
    labels = np.tile(samples.labels.numpy(), len(params.eps))
    Examples({name: np.concatenate(parts) for name, parts in rows.items()}, labels).write(ctx.out)
    clean = sum(_right(call, samples.feeds(torch.from_numpy(i)), samples.labels[torch.from_numpy(i)]) for i in starts)
    share = {f"{eps:g}": count / len(samples) for eps, count in zip(params.eps, right, strict=True)}
    return {"samples": len(samples), "accuracy": clean / len(samples), "attacked": share}


def _balls(samples: Samples, params: Fgsm | Pgd, eps: float) -> dict[str, Ball]:
    """One for each input that is of floating point. eps and clip are of x · std + mean, x being the input."""
    floating = {name: x for name, x in samples.inputs.items() if x.is_floating_point()}
    if not floating:
        raise UserError(
            f"no input is of floating point ({', '.join(samples.inputs)}), so none can be moved along a gradient",
            hint="adversarial accuracy is for images and signals",
        )
    found = {}
    for name, x in floating.items():
        mean, std = _channels("mean", params.mean, name, x), _channels("std", params.std, name, x)
        unscaled = x * std + mean
        low, high = params.clip or (float(unscaled.min()), float(unscaled.max()))
        outside = max(low - float(unscaled.min()), float(unscaled.max()) - high)
        if outside > 1e-4 * (high - low):
            raise UserError(
                f"input '{name}' ranges from {float(unscaled.min()):.4g} to {float(unscaled.max()):.4g}, outside of "
                f"clip {low:g} … {high:g}",
                hint="if the loader normalises, give its mean and std: clip and eps are then those of the pixels",
            )
        found[name] = Ball((eps / std).to(x), ((low - mean) / std).to(x), ((high - mean) / std).to(x))
    return found


def _channels(what: str, values: Sequence[float], name: str, x: Tensor) -> Tensor:
    """Values for axis 1 of N×C×…, in double precision."""
    if len(values) == 1:
        return torch.tensor(values[0], dtype=torch.float64)
    if x.dim() < 2 or x.shape[1] != len(values):
        raise UserError(f"'{what}' has {len(values)} values, input '{name}' has the shape N×{list(x.shape[1:])}")
    return torch.tensor(values, dtype=torch.float64).view(1, -1, *[1] * (x.dim() - 2))


def _gradient(call: Callable[[Tensors], Any], feeds: Tensors, loss: Loss, chosen: Tensor) -> Gradient:
    def gradient(inputs: Tensors) -> Tensors:
        leaves = {name: x.detach().requires_grad_() for name, x in inputs.items()}
        value = loss(call({**feeds, **leaves}), chosen)
        if not value.requires_grad:
            raise UserError("the model's loss has no gradient", hint="name a 'surrogate' that can be differentiated")
        found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
        return {
            name: torch.zeros_like(x) if part is None else torch.nan_to_num(part)
            for (name, x), part in zip(leaves.items(), found, strict=True)
        }

    return gradient


def _right(call: Callable[[Tensors], Any], feeds: Tensors, labels: Tensor) -> int:
    with torch.no_grad():
        scores = first_output(call(feeds))
    return int((scores.argmax(1) == labels).sum())
