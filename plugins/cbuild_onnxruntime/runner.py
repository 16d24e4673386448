"""Runs a compiled model in an ONNX Runtime session."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from cbuild_onnx.model.runner import one_line

from compressbuild.api import Context, ModelInput, Runner, UserError

from .artifact import onnx_file
from .session import open_session
from .settings import OnnxRuntimeSettings

__all__ = ["SessionRunner", "load"]

_DTYPES = {
    "float": "float32",
    "float16": "float16",
    "double": "float64",
    "bool": "bool",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def load(ctx: Context, artifact: Path, settings: OnnxRuntimeSettings | None) -> Runner:
    """A Runner of a compiled artifact; without settings: one thread on the CPU."""
    settings = settings or OnnxRuntimeSettings()
    return SessionRunner(open_session(onnx_file(artifact), settings), settings)


class SessionRunner:
    """A Runner (see compressbuild.api) on an ONNX Runtime session."""

    def __init__(self, session: onnxruntime.InferenceSession, settings: OnnxRuntimeSettings) -> None:
        self._session = session
        self._settings = settings
        self._outputs = [output.name for output in session.get_outputs()]
        self._inputs = tuple(ModelInput(item.name, _shape(item), _dtype(item)) for item in session.get_inputs())

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        return self._inputs

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        try:
            values = self._session.run(self._outputs, dict(feeds))
        except Exception as error:  # noqa: BLE001 (ONNX Runtime's error classes have no base of their own)
            raise UserError(f"ONNX Runtime cannot run the model: {one_line(error)}") from None
        return dict(zip(self._outputs, (np.asarray(value) for value in values), strict=True))

    def end_profile(self) -> str:
        """The file in which the profiler of a session opened with ``profile`` wrote its events."""
        return str(self._session.end_profiling())

    def describe(self) -> dict[str, Any]:
        return {
            "runtime": "onnxruntime",
            "version": onnxruntime.__version__,
            "provider": self._session.get_providers()[0],
            "threads": self._settings.threads,
            "optimization": self._settings.optimization,
        }


def _shape(item: Any) -> tuple[int | str, ...]:
    return tuple(
        size if isinstance(size, int) else (size or f"{item.name}.{axis}") for axis, size in enumerate(item.shape)
    )


def _dtype(item: Any) -> str:
    name = item.type.removeprefix("tensor(").removesuffix(")")
    if name not in _DTYPES:
        raise UserError(
            f"input '{item.name}' is of type {item.type}, which numpy cannot hold",
            hint="inputs can be numbers or booleans",
        )
    return _DTYPES[name]
