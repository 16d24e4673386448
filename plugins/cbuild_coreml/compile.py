"""The backend's compile function: a torch model to a Core ML package."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import coremltools
import torch
from cbuild_kit.interface import Interface, size_ranges
from cbuild_kit.parity import check_parity
from cbuild_kit.probes import within
from cbuild_torch.model.description import ModelDescription
from cbuild_torch.model.lookups import table_rows
from cbuild_torch.model.module import load_model, prepare
from cbuild_torch.model.program import example, flat, one_line, plain_attention, trace
from cbuild_torch.model.runner import TorchRunner
from coremltools.optimize import coreml as optimize
from msgspec.structs import replace
from torch import nn
from torch._ops import HigherOrderOperator
from torch.export import ExportedProgram

from compressbuild.api import Context, UserError

from .artifact import NAME, narrowed, operations, write
from .halves import clamp, has_infinity, infinite
from .runner import load
from .settings import CoreMlSettings

__all__ = ["compile"]

_WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
_SYSTEMS = {"ios": "iOS", "macos": "macOS"}


def compile(ctx: Context, model: Path, settings: CoreMlSettings) -> dict[str, Any]:
    """Trace the module, convert it, store its weights as asked and, on a Mac, compare the result with the module."""
    prepare(ctx)
    description = ModelDescription.read(model)
    sizes = size_ranges(description.inputs, settings.sizes)
    ctx.progress(0, 4, stage="trace")
    module = load_model(ctx, model)
    program, names = trace(module, description.inputs, sizes)
    interface = Interface.of(description.inputs, names, sizes)
    ctx.progress(1, 4, stage="convert")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on torch's own renamed interfaces
        converted, frontend = _convert(ctx, module, program, interface, settings)
        ctx.progress(2, 4, stage="compress")
        compressed, stored = _compress(converted, settings)
    write(compressed, interface, ctx.out, ctx.scratch)
    ctx.progress(3, 4, stage="compare")
    weights = ctx.out / NAME / _WEIGHTS
    return {
        "frontend": frontend,
        "specification": compressed.get_spec().specificationVersion,
        **stored,
        "weights_bytes": weights.stat().st_size if weights.exists() else 0,
        **_compare(ctx, model, description, settings),
    }


def _convert(
    ctx: Context, module: nn.Module, program: ExportedProgram, interface: Interface, settings: CoreMlSettings
) -> tuple[Any, str]:
    """The model, and what it was made from: coremltools knows recurrent layers in TorchScript only."""
    outputs = [value.meta["val"].dtype for value in program.graph.output_node().args[0]]
    arguments = _arguments(interface, outputs, settings)
    graphs: dict[str, Callable[[], Any]] = {"torch.export": lambda: _decomposed(program, settings)}
    if not any(isinstance(node.target, HigherOrderOperator) for node in program.graph.nodes):
        graphs["torch.jit.trace"] = lambda: _traced(flat(module, interface.inputs), interface)
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
    letters, digits = settings.deployment_target.rstrip("0123456789"), settings.deployment_target.lstrip("macios")
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
        "minimum_deployment_target": getattr(coremltools.target, _SYSTEMS[letters] + digits),
        "compute_precision": getattr(coremltools.precision, {"fp16": "FLOAT16", "fp32": "FLOAT32"}[settings.precision]),
        "skip_model_load": True,
    }


def _compress(model: Any, settings: CoreMlSettings) -> tuple[Any, dict[str, Any]]:
    """The model with its weights stored as asked, and how many of its tensors are. Sources: coremltools.optimize."""
    if settings.weights == "float":
        return model, {}
    kind, _, bits = settings.weights.partition("-")
    least = settings.weight_threshold
    if kind == "int8":
        each = optimize.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=least
        )
        found = optimize.linear_quantize_weights(model, optimize.OptimizationConfig(global_config=each))
    else:
        each = optimize.OpPalettizerConfig(mode="kmeans", nbits=int(bits), weight_threshold=least)
        found = optimize.palettize_weights(model, optimize.OptimizationConfig(global_config=each))
    count = sum(operation.startswith("constexpr_") for operation in operations(found.get_spec()))
    if not count:
        raise UserError(
            f"coremltools stores no weight of this model as {settings.weights}",
            hint=f"it takes convolutions, linear layers and LSTMs of 'weight-threshold: {least}' or more elements",
        )
    return found, {"compressed_tensors": count}


def _compare(ctx: Context, model: Path, description: ModelDescription, settings: CoreMlSettings) -> dict[str, Any]:
    if platform.system() != "Darwin":
        return {"parity": "not checked: Core ML runs on macOS only"}
    sizes = size_ranges(description.inputs, settings.sizes)
    tried = {axis: within(low, high) for axis, (low, high) in sizes.items()}
    return check_parity(
        ctx,
        replace(settings.parity, axes={**tried, **settings.parity.axes}),
        "int8" if settings.weights != "float" else settings.precision,
        lambda: TorchRunner(load_model(ctx, model), description.inputs),
        lambda: load(ctx, ctx.out, settings),
        name="Core ML",
        rows=table_rows(load_model(ctx, model), description.inputs, example(description.inputs, sizes)),
    )
