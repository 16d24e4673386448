"""The backend's compile function: a graph optimised ahead of time, compared with its source."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from cbuild_onnx.model import files, parity, soundness
from cbuild_onnx.model.unfold import unfold
from msgspec.structs import replace

from compressbuild.api import Context, UserError

from .artifact import count_nodes, onnx_file
from .older import older
from .runner import SessionRunner, load
from .session import open_session
from .settings import OnnxRuntimeSettings

__all__ = ["compile"]


def compile(ctx: Context, model: Path, settings: OnnxRuntimeSettings) -> dict[str, Any]:
    """Optimise the graph ahead of time and prove that a session with these settings takes the result.

    The saved graph is optimised up to ``extended``: the layouts that ``all`` adds hold for one processor only, and the
    session adds them again in milliseconds. A provider other than the CPU fuses operators itself, so its graph stops
    at ``basic``. For an older ONNX Runtime the graph is published as it is, in an opset that this one reads. Last, the
    result is compared with the source (docs/backends.md).
    """
    source, target = onnx_file(model), ctx.out / "model.onnx"
    soundness.check(source)
    level = settings.optimization
    optimised = settings.save_optimized and settings.runtime is None  # an older one may not know what is fused here
    if optimised:
        level = "extended" if level == "all" else level
        if settings.provider != "cpu":
            level = "basic" if level != "disabled" else level
        on_cpu = replace(settings, provider="cpu", tf32=False)
        open_session(source, on_cpu, level=level, save=target)
        if not target.is_file():
            raise UserError(
                "ONNX Runtime did not write the optimised model",
                hint="set 'save-optimized: false' on the platform, which publishes the model as it came",
            )
        _drop_copies(ctx, source, target)
    else:
        shipped = source if settings.runtime is None else older(ctx, source, settings.runtime)
        folder = model if shipped == source else shipped.parent
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = "model.onnx" if file == shipped else str(file.relative_to(folder))
            (ctx.out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, ctx.out / name)
    described = SessionRunner(open_session(target, settings), settings).describe()
    own = parity.precision(source)
    precision = "fp16" if settings.tf32 and own == "fp32" else own  # TensorFloat-32 has the fraction of float16
    return {
        "nodes": count_nodes(target),
        "saved_level": level if optimised else None,
        **described,
        **parity.check(
            ctx,
            settings.parity,
            source,
            lambda: load(ctx, ctx.out, settings),
            name="ONNX Runtime",
            coarsest=precision,
            saturates=settings.provider == "cpu",
        ),
    }


def _drop_copies(ctx: Context, source: Path, target: Path) -> None:
    """A constant that is a moved copy of another is made of it when a session is opened, not stored beside it."""
    optimised = files.read(target, weights=False)
    if unfold(files.read(source, weights=False), optimised, target.parent):
        place = ctx.scratch / "unfolded"
        place.mkdir()
        files.write(optimised, place, weights_from=target.parent)
        for old in target.parent.iterdir():
            old.unlink()
        for new in place.iterdir():
            shutil.move(new, target.parent / new.name)
