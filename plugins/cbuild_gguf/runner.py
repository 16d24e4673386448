"""Runs a GGUF model on llama.cpp, on this machine's processor."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from cbuild_llm.model.serving import EngineRunner

from compressbuild.api import Context

from .artifact import FILE
from .llama import VERSION, Llama
from .settings import GgufSettings

__all__ = ["load", "opened"]


def opened(file: Path, settings: GgufSettings) -> EngineRunner:
    """The file in llama.cpp. UserError if it cannot be loaded."""
    return EngineRunner(
        Llama(file, settings.threads, settings.cache),
        {
            "runtime": VERSION,
            "version": version("cyllama"),
            "device": "cpu",
            "cache": settings.cache,
            "threads": settings.threads,
        },
    )


def load(ctx: Context, artifact: Path, settings: GgufSettings | None) -> EngineRunner:
    """A Runner of a GGUF model; without settings: with one thread."""
    return opened(artifact / FILE, settings or GgufSettings())
