"""ONNX Runtime's own profiler over a compiled model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cbuild_onnx.model.profile import profiled

from compressbuild.api import Context, Profiling

from .artifact import onnx_file
from .runner import SessionRunner
from .session import open_session
from .settings import OnnxRuntimeSettings

__all__ = ["profile"]


def profile(ctx: Context, artifact: Path, params: Profiling) -> dict[str, Any]:
    """Rows are the nodes of the optimised graph; the session has the settings of the platform."""
    settings = ctx.settings("subject") or OnnxRuntimeSettings()
    path = onnx_file(artifact)
    session = open_session(path, settings, profile=ctx.scratch / "profile")
    runner = SessionRunner(session, settings)
    return profiled(runner, runner.end_profile, params, path)
