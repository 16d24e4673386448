"""What runs a context: a device with the chip. Here, Qualcomm's emulator does: its values count, its time does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compressbuild.api import Context, ModelInput, Runner, UserError

from .artifact import NAME
from .settings import QnnSettings

__all__ = ["EmulatedRunner", "load"]


def load(ctx: Context, artifact: Path, settings: QnnSettings | None) -> Runner:
    raise UserError("a QNN context runs on its device alone", hint="run it there, with ONNX Runtime's QNN provider")


class EmulatedRunner:
    """A Runner (see compressbuild.api) on the published context binaries, in the HTP's emulator. What the HTP lacks
    runs on the CPU, as on a device."""

    def __init__(self, artifact: Path, settings: QnnSettings) -> None:
        from cbuild_onnx.model.runner import declared_inputs

        from .sessions import open_session

        try:
            self._session = open_session(artifact / NAME, settings, {})
        except Exception as error:  # ONNX Runtime's error classes have no base of their own
            raise UserError(f"the emulator of the HTP cannot load the context: {_line(error)}") from error
        self._inputs = declared_inputs(self._session)
        self._outputs = [each.name for each in self._session.get_outputs()]

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        return self._inputs

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        arrays = {item.name: np.asarray(feeds[item.name], order="C") for item in self._inputs}
        try:
            values = self._session.run(None, arrays)
        except Exception as error:  # as above
            raise UserError(f"the emulator of the HTP cannot run the context: {_line(error)}") from error
        return dict(zip(self._outputs, values, strict=True))

    def describe(self) -> dict[str, Any]:
        return {"runtime": "onnxruntime-qnn", "provider": "an emulator of the HTP"}


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
