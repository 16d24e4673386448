"""What runs a context: a device with the chip, and nothing here."""

from __future__ import annotations

from pathlib import Path

from compressbuild.api import Context, Runner, UserError

from .settings import QnnSettings

__all__ = ["load"]


def load(ctx: Context, artifact: Path, settings: QnnSettings | None) -> Runner:
    raise UserError("a QNN context runs on its device alone", hint="run it there, with ONNX Runtime's QNN provider")
