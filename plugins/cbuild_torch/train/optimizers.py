"""Which parameters are trained, by which optimizer, at which rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from compressbuild.api import UserError

from .params import Training

__all__ = ["make_optimizer", "rate_factor", "trained_parameters"]


def trained_parameters(module: nn.Module, params: Training, more: nn.Module | None = None) -> list[nn.Parameter]:
    """The parameters that are trained, then those of ``more``; torch learns which ones are frozen."""
    names = [name for name, _ in module.named_parameters()]
    for pattern in params.freeze:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(f"'freeze: {pattern}' matches no parameter", hint=f"there are e.g. {', '.join(names[:6])}")
    for name, parameter in module.named_parameters():
        if any(fnmatchcase(name, pattern) for pattern in params.freeze):
            parameter.requires_grad_(False)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not trained:
        raise UserError("nothing to train: every parameter is frozen", hint="the factory may leave 'requires_grad' on")
    return trained + (list(more.parameters()) if more is not None else [])


def make_optimizer(trained: list[nn.Parameter], params: Training, more: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """``more``: parameter groups with options of their own."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": params.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]] + more
    match params.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, lr=params.lr, momentum=params.momentum, nesterov=params.momentum > 0)
        case "adam":
            return torch.optim.Adam(groups, lr=params.lr)
        case _:
            return torch.optim.AdamW(groups, lr=params.lr)


def rate_factor(params: Training, per_epoch: int) -> Callable[[int], float]:
    """Factor of the learning rate at each update."""
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
