"""Choosing layers and parameters by glob, with an error for a pattern that means nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.conv import _ConvNd

from compressbuild.api import UserError

__all__ = ["check_patterns", "matching", "prunable_layers", "ratio_for"]


def prunable_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Name → convolution or linear layer, in the module's order."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, _ConvNd | nn.Linear)}


def matching(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def check_patterns(what: str, patterns: Iterable[str], names: Iterable[str]) -> None:
    """UserError for the first pattern that matches none of ``names``."""
    known = list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise UserError(f"'{what}: {pattern}' matches nothing", hint=f"there are e.g. {', '.join(known[:6])}")


def ratio_for(name: str, overrides: Mapping[str, float]) -> float | None:
    """The ratio of the first pattern that matches."""
    return next((ratio for pattern, ratio in overrides.items() if fnmatchcase(name, pattern)), None)
