"""Runs a package through Core ML, on macOS."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import coremltools
import numpy as np

from compressbuild.api import Context, ModelInput, Runner, UserError

from .artifact import NAME, narrowed, read
from .settings import CoreMlSettings

__all__ = ["PackageRunner", "load"]

_UNITS = {"all": "ALL", "cpu-only": "CPU_ONLY", "cpu-and-gpu": "CPU_AND_GPU", "cpu-and-ne": "CPU_AND_NE"}


def load(ctx: Context, artifact: Path, settings: CoreMlSettings | None) -> Runner:
    """A Runner of a package; without settings: on whatever the Mac has."""
    return PackageRunner(artifact, (settings or CoreMlSettings()).compute_units)


class PackageRunner:
    """A Runner (see compressbuild.api) on a Core ML package."""

    def __init__(self, artifact: Path, units: str) -> None:
        _, self._interface = read(artifact)
        self._units = units
        try:
            self._model = coremltools.models.MLModel(
                str(artifact / NAME), compute_units=getattr(coremltools.ComputeUnit, _UNITS[units])
            )
        except Exception as error:  # Core ML's own errors come as plain ones
            raise UserError(f"Core ML cannot load the package: {_line(error)}") from error

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        return self._interface.inputs

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        checked = self._interface.checked(feeds, "the package")
        values = {name: array.astype(narrowed(array.dtype), copy=False) for name, array in checked.items()}
        try:
            found = self._model.predict(values)
        except Exception as error:  # as above
            raise UserError(f"Core ML cannot run the package: {_line(error)}") from error
        return {name: np.asarray(found[name]) for name in self._interface.outputs}

    def describe(self) -> dict[str, Any]:
        return {"runtime": "coreml", "coremltools": version("coremltools"), "compute_units": self._units}


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
