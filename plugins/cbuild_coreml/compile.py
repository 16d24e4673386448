"""The backend's compile function: a torch model to a Core ML package."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import coremltools
import torch
from cbuild_kit.coverage import merged
from cbuild_kit.fidelity import Answer
from cbuild_kit.interface import Interface, size_ranges
from cbuild_kit.parity import check_parity
from cbuild_kit.probes import within
from cbuild_torch.model.description import ModelDescription
from cbuild_torch.model.lookups import table_rows
from cbuild_torch.model.module import load_model, prepare
from cbuild_torch.model.program import example, flat, one_line, plain_attention, trace
from cbuild_torch.model.runner import TorchRunner
from msgspec.structs import replace
from torch import nn
from torch._ops import HigherOrderOperator
from torch.export import ExportedProgram

from compressbuild.api import Context, UserError

from .artifact import NAME, narrowed, write
from .halves import clamp, has_infinity, infinite
from .quantize import answering, quantize
from .runner import load
from .settings import CoreMlSettings
from .weights import compress, stored

__all__ = ["compile"]

_WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"


def compile(ctx: Context, model: Path, settings: CoreMlSettings) -> dict[str, Any]:
    """Trace the module, quantize the graph if asked to, convert it and store its weights as asked. On a Mac, compare
    the result with the module, or with the quantized graph.

    Facts: ``frontend``: which of torch's graphs was converted; ``specification``: version of the format;
    ``deployment_target``; ``weights_bytes``; those of :func:`.weights.compress` and :func:`.quantize.quantize`.
    """
    prepare(ctx)
    description = ModelDescription.read(model)
    sizes = size_ranges(description.inputs, settings.sizes)
    ctx.progress(0, 5, stage="trace")
    module = load_model(ctx, model)
    program, names = trace(module, description.inputs, sizes)
    interface = Interface.of(description.inputs, names, sizes)
    facts: dict[str, Any] = {}
    reference = _module(ctx, model, description)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on torch's own renamed interfaces
        if settings.quantized:
            ctx.progress(1, 5, stage="quantize")
            program, facts = quantize(ctx, program, interface, settings, reference)
            # What int8 costs the model is among the facts; a Mac shows whether Core ML computes what it was given.
            reference = partial(answering, program, interface)
        ctx.progress(2, 5, stage="convert")
        converted, frontend = _convert(ctx, None if settings.quantized else module, program, interface, settings)
        ctx.progress(3, 5, stage="compress")
        compressed, kept = (converted, stored(converted)) if settings.quantized else compress(converted, settings)
    write(compressed, interface, ctx.out, ctx.scratch)
    ctx.progress(4, 5, stage="compare")
    weights = ctx.out / NAME / _WEIGHTS
    return merged(
        facts,
        {
            "frontend": frontend,
            "specification": compressed.get_spec().specificationVersion,
            "deployment_target": settings.target,
            **kept,
            "weights_bytes": weights.stat().st_size if weights.exists() else 0,
        },
        _compare(ctx, model, description, settings, reference),
    )


def _module(ctx: Context, model: Path, description: ModelDescription) -> Callable[[], Answer]:
    """What opens the module itself."""
    return lambda: TorchRunner(load_model(ctx, model), description.inputs)


def _convert(
    ctx: Context, module: nn.Module | None, program: ExportedProgram, interface: Interface, settings: CoreMlSettings
) -> tuple[Any, str]:
    """The model, and what it was made from: coremltools knows recurrent layers in TorchScript only. ``module``: None
    for a quantized program, as a trace of the module would not be quantized."""
    outputs = [value.meta["val"].dtype for value in program.graph.output_node().args[0]]
    arguments = _arguments(interface, outputs, settings)
    graphs: dict[str, Callable[[], Any]] = {"torch.export": lambda: _decomposed(program, settings)}
    if module is not None and not any(isinstance(node.target, HigherOrderOperator) for node in program.graph.nodes):
        whole = flat(module, interface.inputs)
        graphs["torch.jit.trace"] = lambda: _traced(whole, interface)
    refusals: list[Exception] = []
    for name, graph in graphs.items():
        try:
            converted = coremltools.convert(graph(), **arguments)
        except Exception as error:  # noqa: BLE001 (converters of single operators raise whatever they trip over)
            ctx.log.info("coremltools cannot convert the output of %s: %s", name, one_line(error))
            refusals.append(error)
            continue
        lost = infinite(converted)
        if lost is not None and not has_infinity(program):
            raise UserError(
                f"the constant '{lost}' becomes infinite in float16, whose largest number is 65504",
                hint="most likely a mask of the lowest float32: use -1e4 in the model, or 'precision: fp32'",
            )
        return converted, name
    raise UserError(
        f"coremltools cannot convert this model: {one_line(refusals[0])}",
        hint="Core ML lacks this operator, or this form of it: write the model without it",
    ) from refusals[0]


def _decomposed(program: ExportedProgram, settings: CoreMlSettings) -> ExportedProgram:
    made = program.run_decompositions({})
    if settings.precision == "fp16":
        clamp(made)
    return made


def _traced(module: nn.Module, interface: Interface) -> Any:
    """The TorchScript of a module. Tracing may fix a size that varies, so both ends are tried."""
    low, high = (
        tuple(example(interface.inputs, {axis: (ends[at],) * 2 for axis, ends in interface.sizes.items()}).values())
        for at in (0, 1)
    )
    with torch.no_grad(), plain_attention():
        traced = torch.jit.trace(module, high, check_trace=False)
        for sample in (low, high):
            torch.testing.assert_close(traced(*sample), module(*sample))
    return traced


def _arguments(interface: Interface, outputs: list[torch.dtype], settings: CoreMlSettings) -> Mapping[str, Any]:
    types = [narrowed(str(dtype).removeprefix("torch.")) for dtype in outputs]
    ranges = {axis: coremltools.RangeDim(low, high, default=low) for axis, (low, high) in interface.sizes.items()}
    return {
        "inputs": [
            coremltools.TensorType(
                name=item.name,
                shape=tuple(ranges[axis] if isinstance(axis, str) else axis for axis in item.shape),
                dtype=narrowed(item.dtype),
            )
            for item in interface.inputs
        ],
        "outputs": [
            coremltools.TensorType(name=name, dtype=dtype) for name, dtype in zip(interface.outputs, types, strict=True)
        ],
        "convert_to": "mlprogram",
        "minimum_deployment_target": getattr(coremltools.target, settings.target),
        "compute_precision": getattr(coremltools.precision, {"fp16": "FLOAT16", "fp32": "FLOAT32"}[settings.precision]),
        "skip_model_load": True,
    }


def _compare(
    ctx: Context,
    model: Path,
    description: ModelDescription,
    settings: CoreMlSettings,
    reference: Callable[[], Answer],
) -> dict[str, Any]:
    if platform.system() != "Darwin":
        return {"parity": "not checked: Core ML runs on macOS only"}
    sizes = size_ranges(description.inputs, settings.sizes)
    tried = {axis: within(low, high) for axis, (low, high) in sizes.items()}
    return check_parity(
        ctx,
        replace(
            settings.parity,
            axes={**tried, **settings.parity.axes},
            data=settings.data if settings.parity.data is None else settings.parity.data,
        ),
        "int8" if settings.weights != "float" else settings.precision,
        reference,
        lambda: load(ctx, ctx.out, settings),
        name="Core ML",
        rows=table_rows(load_model(ctx, model), description.inputs, example(description.inputs, sizes)),
    )
