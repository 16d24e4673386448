"""Runs an ``openvino-genai-model`` on this machine's processor."""

from __future__ import annotations

from pathlib import Path

from cbuild_llm.model.serving import EngineRunner

from compressbuild.api import Context

from .engine import VERSION, OpenVinoGenAi
from .settings import OpenVinoGenAiSettings

__all__ = ["load", "opened"]


def opened(folder: Path, settings: OpenVinoGenAiSettings) -> EngineRunner:
    """The model in the runtime. UserError if it cannot be loaded."""
    engine = OpenVinoGenAi(folder, settings.threads, settings.cache)
    about = {"runtime": VERSION, "device": "cpu", "cache": settings.cache, "threads": settings.threads}
    return EngineRunner(engine, about)


def load(ctx: Context, artifact: Path, settings: OpenVinoGenAiSettings | None) -> EngineRunner:
    """A Runner of an ``openvino-genai-model``; without settings: with one thread."""
    return opened(artifact, settings or OpenVinoGenAiSettings())
