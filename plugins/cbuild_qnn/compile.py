"""The backend's compile function: an ONNX model to context binaries for the HTP, with ONNX Runtime's QNN provider.

https://onnxruntime.ai/docs/execution-providers/QNN-ExecutionProvider.html
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import onnxruntime_qnn
from cbuild_kit.interface import size_ranges
from cbuild_onnx.model import files, parity, soundness
from cbuild_onnx.model.runner import declared_inputs, one_line, session
from onnx import ModelProto, ValueInfoProto

from compressbuild.api import Context, UserError

from .artifact import NAME, contexts
from .runner import EmulatedRunner
from .sessions import open_session
from .settings import QnnSettings

__all__ = ["compile"]


def compile(ctx: Context, model: Path, settings: QnnSettings) -> dict[str, Any]:
    """Fix the shapes, have the provider compile ahead of time, and compare what the emulator of the HTP computes with
    the contexts with the source.

    Facts: ``contexts``: how many binaries there are, ``context_bytes``: their size; ``cpu_operators``: operator type →
    how many are left to the CPU.
    """
    source = _fixed(ctx, soundness.find(model), settings)
    target = ctx.scratch / "made" / NAME
    target.parent.mkdir()
    _compiled(ctx, source, target, settings)
    if not target.is_file():
        raise UserError("the HTP runs no operator of this model", hint="quantize it, or say 'fp16: true'")
    names, others = contexts(target.parent)
    if not names:
        raise UserError("the HTP runs no operator of this model", hint="quantize it, or say 'fp16: true'")
    if others:
        shown = ", ".join(f"{name} ×{count}" for name, count in others.items())
        ctx.log.warning("these operators run on the CPU, not on the HTP: %s", shown)
    for path in sorted(target.parent.iterdir()):
        shutil.copyfile(path, ctx.out / path.name)
    own = parity.precision(source)
    size = sum((ctx.out / name).stat().st_size for name in names)
    return {
        "contexts": len(names),
        "context_bytes": size,
        "cpu_operators": others,
        "runtime": "onnxruntime-qnn",
        "version": onnxruntime_qnn.__version__,
        **parity.check(
            ctx,
            settings.parity,
            source,
            lambda: EmulatedRunner(ctx.out, settings),
            name="the emulator of the HTP",
            coarsest="fp16" if settings.fp16 and own == "fp32" else own,
        ),
    }


def _fixed(ctx: Context, source: Path, settings: QnnSettings) -> Path:
    """The model with one size for each axis."""
    inputs = declared_inputs(session(source, threads=ctx.threads, optimise=False))
    first = {item.shape[0]: 1 for item in inputs if item.shape and isinstance(item.shape[0], str)}
    sizes = {axis: low for axis, (low, _) in size_ranges(inputs, {**first, **settings.sizes}).items()}
    proto = files.read(source)
    for value, item in zip(_fed(proto), inputs, strict=True):
        for axis, dimension in zip(item.shape, value.type.tensor_type.shape.dim, strict=True):
            if isinstance(axis, str):
                dimension.dim_value = sizes[axis]
    for value in (*proto.graph.output, *proto.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in sizes:
                dimension.dim_value = sizes[dimension.dim_param]
    place = ctx.scratch / "fixed"
    place.mkdir()
    return files.write(proto, place)


def _fed(proto: ModelProto) -> list[ValueInfoProto]:
    """The inputs that a session is fed: old files list constants among them."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    return [value for value in proto.graph.input if value.name not in constants]


def _compiled(ctx: Context, source: Path, target: Path, settings: QnnSettings) -> None:
    """Have ONNX Runtime write the model with its contexts to ``target``."""
    entries = {"ep.context_enable": "1", "ep.context_file_path": str(target), "ep.context_embed_mode": "0"}
    if not settings.cpu_fallback:
        entries["session.disable_cpu_ep_fallback"] = "1"
    try:
        open_session(source, settings, entries)
    except Exception as error:  # ONNX Runtime's error classes have no base of their own
        lacking = "fallback to CPU EP" in str(error)
        raise UserError(
            "the HTP lacks an operator of this model"
            if lacking
            else f"QNN cannot compile this model: {one_line(error)}",
            hint="'cpu-fallback: true' leaves such operators to the CPU; the fact 'cpu_operators' then names them"
            if lacking
            else "the node's log shows the provider's own words",
        ) from error
