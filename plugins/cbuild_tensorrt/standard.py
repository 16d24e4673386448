"""The backend ``tensorrt``: TensorRT 10 and 11, which time their kernels on the GPU that they build for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressbuild.api import Context, Profiling, Runner, UserError

from .compile import build
from .flags import member
from .library import Library, open_library
from .settings import TensorRTSettings

__all__ = ["compile", "configure", "load", "profile", "save_timing_cache"]

_INSTALL = "on a machine with an NVIDIA GPU and its driver: pip install 'compressbuild[tensorrt]'"
_OLDEST = 10


def library() -> Library:
    found = open_library("tensorrt", "TensorRT", _INSTALL)
    if int(found.version.split(".")[0]) < _OLDEST:
        raise UserError(f"TensorRT {found.version} is too old", hint=f"version {_OLDEST} or later is needed")
    return found


def configure(trt: Any, config: Any, settings: TensorRTSettings, timing_cache: bytes) -> None:
    """Set on the builder's config what the standard TensorRT alone has."""
    if settings.hardware_compatibility != "none":
        config.hardware_compatibility_level = member(
            trt.HardwareCompatibilityLevel, settings.hardware_compatibility, "hardware compatibility"
        )
    if settings.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if settings.timing_cache is not None or settings.save_timing_cache:
        cache = config.create_timing_cache(timing_cache)
        if cache is None or not config.set_timing_cache(cache, False):
            raise UserError(
                f"TensorRT does not take the timing cache {settings.timing_cache or ''}".rstrip(),
                hint="it must come from the same TensorRT version and the same kind of GPU",
            )


def save_timing_cache(config: Any, out: Path) -> None:
    with memoryview(config.get_timing_cache().serialize()) as data:
        (out / "timing.cache").write_bytes(data)


def compile(ctx: Context, model: Path, settings: TensorRTSettings) -> dict[str, Any]:
    """An engine tuned for the GPU of this machine."""
    tensorrt = library()
    timing_cache = b"" if settings.timing_cache is None else ctx.file(settings.timing_cache).read_bytes()
    found, config = build(
        tensorrt,
        ctx,
        model,
        settings,
        lambda config: configure(tensorrt.trt, config, settings, timing_cache),
        gpu={name.removeprefix("gpu."): value for name, value in ctx.facts.items() if name.startswith("gpu.")},
        hardware_compatibility=settings.hardware_compatibility,
        version_compatible=settings.version_compatible,
    )
    if settings.save_timing_cache:
        save_timing_cache(config, ctx.out)
    return {key: found[key] for key in ("version", "precision", "types", "gpu")}


def load(ctx: Context, artifact: Path, settings: TensorRTSettings | None) -> Runner:
    """A Runner on the GPU of this machine."""
    from .runner import EngineRunner

    return EngineRunner.open(library(), ctx, artifact)


def profile(ctx: Context, artifact: Path, params: Profiling) -> dict[str, Any]:
    """Layers and their times, on the GPU of this machine."""
    from .profile import profiled
    from .runner import EngineRunner

    return profiled(ctx, EngineRunner.open(library(), ctx, artifact), params)
