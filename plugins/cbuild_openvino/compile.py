"""The backend's compile function: an ONNX artifact (or an IR) to IR."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cbuild_kit.parity import Precision, check_parity
from cbuild_onnx.model import files, parity

from compressbuild.api import Context

from .artifact import read, read_onnx, write
from .lookups import table_rows
from .runner import opened
from .settings import OpenVinoSettings

__all__ = ["compile"]

_COARSENESS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")
_INFERENCE: Mapping[str, Precision] = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "device": "bf16"}


def compile(ctx: Context, model: Path, settings: OpenVinoSettings) -> dict[str, Any]:
    """Write the IR, load it on the device, and compare it with its source (docs/backends.md)."""
    is_ir = ctx.kind("subject") == "openvino-ir"
    source = None if is_ir else files.find(model)
    graph = read(model) if source is None else read_onnx(source, ctx.scratch)
    nodes = len(graph.get_ops())
    write(graph, ctx.out, compress_to_fp16=settings.compress_to_fp16)
    del graph  # it holds the weights
    facts = {"nodes": nodes, **opened(ctx.out, settings).describe()}
    if source is not None:
        coarsest = _coarsest(parity.precision(source), settings)
        checked = parity.check(
            ctx,
            settings.parity,
            source,
            lambda: opened(ctx.out, settings),
            name="OpenVINO",
            coarsest=coarsest,
            saturates=settings.device == "CPU",
        )
    else:  # the same runtime, in float32 and without compressed weights
        plain = OpenVinoSettings(device=settings.device, threads=settings.threads)
        checked = check_parity(
            ctx,
            settings.parity,
            _coarsest("int8" if _is_quantized(model) else "fp32", settings),
            lambda: opened(model, plain),
            lambda: opened(ctx.out, settings),
            name="OpenVINO",
            rows=table_rows(read(model)),
            saturates=settings.device == "CPU",
        )
    return {**facts, **checked}


def _coarsest(own: Precision, settings: OpenVinoSettings) -> Precision:
    stored: Precision = "fp16" if settings.compress_to_fp16 else "fp32"
    return max(own, stored, _INFERENCE[settings.inference_precision], key=_COARSENESS.index)


def _is_quantized(directory: Path) -> bool:
    return any(node.get_type_name() == "FakeQuantize" for node in read(directory).get_ops())
