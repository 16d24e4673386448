"""The backend ``tensorrt-rtx``: engines for named GPU architectures, built with no GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compressbuild.api import Context, Profiling, Runner, UserError

from .compile import build
from .library import Library, open_library
from .settings import TensorRTRTXSettings

__all__ = ["capabilities", "compile", "load", "profile"]

_INSTALL = "pip install 'compressbuild[tensorrt-rtx]'"


def library() -> Library:
    return open_library("tensorrt_rtx", "TensorRT-RTX", _INSTALL)


def capabilities(trt: Any, wanted: Sequence[str]) -> list[Any]:
    """``trt.ComputeCapability`` members for names such as ``sm89`` or ``current``, in order."""
    known = {name.lower(): value for name, value in trt.ComputeCapability.__members__.items() if name != "NONE"}
    for name in wanted:
        if name not in known:
            raise UserError(
                f"TensorRT-RTX {trt.__version__} has no compute capability '{name}'",
                hint=f"it builds for: {', '.join(known)}; for other GPUs use the backend tensorrt on such a GPU",
            )
    if not wanted:
        raise UserError("compute-capability is an empty list", hint=f"TensorRT-RTX builds for: {', '.join(known)}")
    if "current" in wanted and len(wanted) > 1:
        raise UserError(
            "compute-capability 'current' cannot stand beside others", hint="name the architectures instead"
        )
    return [known[name] for name in sorted(wanted, key=lambda name: (len(name), name))]


def compile(ctx: Context, model: Path, settings: TensorRTRTXSettings) -> dict[str, Any]:
    """An ahead-of-time engine for each compute capability asked for, in one file."""
    rtx = library()
    targets = capabilities(rtx.trt, settings.capabilities())

    def configure(config: Any) -> None:
        config.num_compute_capabilities = len(targets)
        for index, target in enumerate(targets):
            config.set_compute_capability(target, index)

    names = [target.name.lower() for target in targets]
    found, _ = build(rtx, ctx, model, settings, configure, compute_capabilities=names)
    return {key: found[key] for key in ("version", "precision", "types", "compute_capabilities")}


def load(ctx: Context, artifact: Path, settings: TensorRTRTXSettings | None) -> Runner:
    """A Runner on the GPU of this machine."""
    from .runner import EngineRunner

    return EngineRunner.open(library(), ctx, artifact)


def profile(ctx: Context, artifact: Path, params: Profiling) -> dict[str, Any]:
    """Layers and their times, on the GPU of this machine."""
    from .profile import profiled
    from .runner import EngineRunner

    return profiled(ctx, EngineRunner.open(library(), ctx, artifact), params)
