"""What runs a published directory: vLLM, and nothing here."""

from __future__ import annotations

from pathlib import Path

from compressbuild.api import Context, Runner, UserError

from .settings import VllmSettings

__all__ = ["load"]


def load(ctx: Context, artifact: Path, settings: VllmSettings | None) -> Runner:
    raise UserError("compressbuild does not run vLLM", hint="measure the artifact that the target is made from")
