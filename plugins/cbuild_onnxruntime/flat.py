"""The backend ``ort-format``: flatbuffers that ONNX Runtime's minimal builds, for phones, load without a parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cbuild_onnx.model import parity, soundness
from cbuild_onnx.model.profile import profiled

from compressbuild.api import Context, Profiling, Runner, UserError

from .artifact import FLAT, onnx_file
from .runner import SessionRunner
from .session import open_session
from .settings import OnnxRuntimeSettings, OrtFormatSettings

__all__ = ["compile", "load", "profile"]


def compile(ctx: Context, model: Path, settings: OrtFormatSettings) -> dict[str, Any]:
    """Optimise the graph, write it, load it, and compare it with its source (docs/backends.md)."""
    source, target = onnx_file(model), ctx.out / FLAT
    soundness.check(source)
    open_session(source, _session_settings(settings), save=target)  # the suffix says the format
    if not target.is_file():
        raise UserError(
            "ONNX Runtime did not write the .ort file",
            hint="the model may be larger than 2 GB, which the format cannot hold",
        )
    facts = load(ctx, ctx.out, settings).describe()
    checked = parity.check(ctx, settings.parity, source, lambda: load(ctx, ctx.out, settings), name="ONNX Runtime")
    return {**facts, **checked}


def load(ctx: Context, artifact: Path, settings: OrtFormatSettings | None) -> Runner:
    """A Runner of an ``.ort`` file; without settings: one thread."""
    chosen = _session_settings(settings or OrtFormatSettings())
    return SessionRunner(open_session(artifact / FLAT, chosen), chosen)


def profile(ctx: Context, artifact: Path, params: Profiling) -> dict[str, Any]:
    """Under ONNX Runtime's own profiler, with the settings of the platform."""
    chosen = _session_settings(ctx.settings("subject") or OrtFormatSettings())
    runner = SessionRunner(open_session(artifact / FLAT, chosen, profile=ctx.scratch / "profile"), chosen)
    return profiled(runner, runner.end_profile, params)


def _session_settings(settings: OrtFormatSettings) -> OnnxRuntimeSettings:
    return OnnxRuntimeSettings(threads=settings.threads, optimization=settings.optimization)
