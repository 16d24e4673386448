"""A published ``torch-model`` as a module, outside of a build."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from torch import nn

from compressbuild.api import UserError

from .description import DESCRIPTION, ModelDescription, validate
from .module import load_model

__all__ = ["open_model"]

Factory = Callable[..., Any]


def open_model(directory: Path, factory: Factory | None, trusted: Collection[str]) -> nn.Module:
    """The module, in eval mode. ``factory``: the function that the Compressfile names. ``trusted``: factories that
    installed plugins offer, which need not be given.

    UserError without the factory: a name in a file is no reason to import anything.
    """
    if not (directory / DESCRIPTION).is_file():
        raise UserError(
            f"'{directory}' is no torch-model: it has no {DESCRIPTION}",
            hint="a target without a platform publishes one, as the last step before 'export.onnx' leaves it",
        )
    try:
        validate(directory)
        description = ModelDescription.read(directory)
    except (ValueError, OSError) as error:
        raise UserError(f"'{directory}' is damaged: {error}", hint="build or fetch it again") from error
    if factory is None and description.factory not in trusted:
        module, _, name = description.factory.partition(":")
        raise UserError(
            f"'{directory}' is built by the factory {description.factory}, which is yours to import",
            hint=f"from {module} import {name}; load_torch({str(directory)!r}, factory={name})",
        )
    return load_model(_Given(description.factory, factory), directory)  # type: ignore[arg-type]


class _Given:
    """All of a Context that loading takes: the factory that was given, or else is trusted."""

    def __init__(self, name: str, factory: Factory | None) -> None:
        self._name = name
        self._factory = factory

    def factory(self, name: str) -> Factory:
        assert name == self._name
        if self._factory is not None:
            return self._factory
        module, _, attribute = name.partition(":")
        found: Factory = getattr(importlib.import_module(module), attribute)
        return found
