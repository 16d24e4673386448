"""Runs a ``genai-model`` on ONNX Runtime GenAI, on this machine's processor."""

from __future__ import annotations

from pathlib import Path

from cbuild_llm.model.serving import EngineRunner

from compressbuild.api import Context

from .engine import VERSION, GenAi
from .settings import GenAiSettings

__all__ = ["load", "opened"]


def opened(folder: Path, settings: GenAiSettings) -> EngineRunner:
    """The model in the runtime. UserError if it cannot be loaded."""
    engine = GenAi(folder, settings.threads)
    return EngineRunner(engine, {"runtime": VERSION, "device": "cpu", "threads": settings.threads})


def load(ctx: Context, artifact: Path, settings: GenAiSettings | None) -> EngineRunner:
    """A Runner of a ``genai-model``; without settings: with one thread."""
    return opened(artifact, settings or GenAiSettings())
