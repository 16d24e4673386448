"""The backend's compile function: the model as it is, loaded as the platform asks and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cbuild_kit.parity import check_parity

from compressbuild.api import Context

from . import flatbuffer
from .artifact import copy
from .runner import TfliteRunner, load_reference
from .settings import LiteRtSettings

__all__ = ["compile"]


def compile(ctx: Context, model: Path, settings: LiteRtSettings) -> dict[str, Any]:
    """LiteRT compiles when it loads a model, so the file stays. What XNNPACK computes is compared with LiteRT's own
    kernels.

    Facts: ``operators``: how many there are; ``operator_types``: type → how many.
    """
    read = flatbuffer.read(copy(model, ctx.out))
    runner = TfliteRunner(ctx.out, threads=settings.threads, xnnpack=settings.xnnpack)
    operators = flatbuffer.operators(read)
    facts = {"operators": sum(operators.values()), "operator_types": operators, **runner.describe()}
    del runner
    precision = flatbuffer.precision(read)
    compared = check_parity(
        ctx,
        settings.parity,
        precision,
        lambda: load_reference(ctx, ctx.out),
        lambda: TfliteRunner(ctx.out, threads=settings.threads, xnnpack=settings.xnnpack),
        name="LiteRT",
    )
    return {**facts, "precision": precision, **compared}
