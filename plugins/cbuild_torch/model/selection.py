"""Choosing layers and parameters by glob, with an error for a pattern that means nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.conv import _ConvNd

from compressbuild.api import UserError

__all__ = ["check_patterns", "matching", "other_layers", "prunable_layers", "ratio_for"]


def prunable_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Name → convolution or linear layer, in the module's order."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, _ConvNd | nn.Linear)}


def other_layers(module: nn.Module) -> str:
    """What to say of layers with weight matrices whose class is not torch's, such as GPT-2's ``Conv1D``; empty if there
    is none. Nobody knows what their code does with a matrix, so they are left alone."""
    counts: dict[str, tuple[int, int]] = {}
    for layer in module.modules():
        name = type(layer).__name__
        weight = vars(layer).get("_parameters", {}).get("weight")
        if weight is not None and weight.dim() > 1 and not type(layer).__module__.startswith("torch."):
            layers, weights = counts.get(name, (0, 0))
            counts[name] = (layers + 1, weights + weight.numel())
    found = ", ".join(f"{count} of class {name} with {size} weights" for name, (count, size) in counts.items())
    return f"layers that are not torch's own ({found}): have the factory make them torch.nn.Linear" if found else ""


def matching(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the globs matches the name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def check_patterns(what: str, patterns: Iterable[str], names: Iterable[str]) -> None:
    """UserError for the first pattern that matches none of ``names``."""
    known = list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            hint = f"there are e.g. {', '.join(known[:6])}" if known else "there is nothing that it could match"
            raise UserError(f"'{what}: {pattern}' matches nothing", hint=hint)


def ratio_for(name: str, overrides: Mapping[str, float]) -> float | None:
    """The ratio of the first pattern that matches."""
    return next((ratio for pattern, ratio in overrides.items() if fnmatchcase(name, pattern)), None)
