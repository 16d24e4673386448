"""Export to ONNX with torch's exporter (torch.export), checked against torch through ONNX Runtime."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from cbuild_kit import axis_sizes, example_arrays, sample_feeds
from cbuild_onnx.model import files
from cbuild_onnx.model.checks import compare
from cbuild_onnx.model.runner import OnnxRunner
from torch import nn

from compressbuild.api import Context, ModelInput, UserError

from ..model.calling import by_keyword, caller, named_outputs, takes_any, tensors
from ..model.description import ModelDescription
from ..model.module import load_model, prepare
from ..model.program import one_line, place
from ..model.runner import TorchRunner, narrow_type
from .declared import correct_shapes
from .naming import INPUT, OUTPUT, name_layers, name_values
from .params.export import ExportOnnx
from .sizes import FIXED, at_every_size, known_answers

__all__ = ["CAUSES", "check_axes", "export", "fixed_axis", "free_names", "refuse_bfloat16", "to_program", "trace"]

_CHECK_SAMPLES = 64
_INLINE = 1 << 26  # bytes of weights, in the file that torch's exporter writes
CAUSES = (
    "the model may draw random numbers or compute with values in Python, which export fixes; if large values only "
    "round differently, check on real ones with 'data: DATASET', and raise 'atol:' or 'rtol:' only if the model's "
    "quality metric holds"
)


class _Flat(nn.Module):
    """Gives the outputs of a module as a tuple, in the order of their names."""

    def __init__(self, module: nn.Module, inputs: tuple[ModelInput, ...]) -> None:
        super().__init__()
        self.module = module
        self._inputs = inputs

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        feeds = {item.name: value for item, value in zip(self._inputs, values, strict=True)}
        return tuple(named_outputs(caller(self.module, self._inputs)(feeds)).values())


def export(ctx: Context, model: Path, params: ExportOnnx) -> dict[str, Any]:
    """Write ``model.onnx``; returns opset, nodes and the largest difference from torch that was seen."""
    prepare(ctx)
    description = ModelDescription.read(model)
    module = load_model(ctx, model)
    refuse_bfloat16(module)
    sizes = axis_sizes(description.inputs, params.sizes)
    example = example_arrays(description.inputs, sizes)
    found = _outputs_of(module, description.inputs, example, sizes)
    names = free_names(_output_names(found, params.outputs), description.inputs)
    ctx.progress(0, 3, stage="trace")
    program = trace(module, description.inputs, tensors(example), len(names), params.opset)
    ctx.progress(1, 3, stage="write")
    raw = ctx.scratch / "traced" / files.NAME  # apart: onnx refuses to write over a data file of the same name
    raw.parent.mkdir()
    large = _bytes(module) > _INLINE
    program.save(str(raw), external_data=large)
    proto = files.read(raw, weights=False)
    name_layers(proto, module)
    name_values(proto, [item.name for item in description.inputs], names)
    check_axes(proto, description.inputs)
    feeds = _feeds(ctx, description.inputs, params, sizes)
    wanted = TorchRunner(module, description.inputs)(feeds)
    known = known_answers(module, description.inputs, params.sizes)
    nodes = len(proto.graph.node)
    if large:  # one copy in memory at a time
        for value in program.model.graph.initializers.values():
            value.const_value = None  # the exporter keeps the last graph that it made
        del program, module
        gc.collect()  # what was traced refers to itself
    files.write(proto, ctx.out, weights_from=raw.parent)
    del proto
    ctx.progress(2, 3, stage="check")
    if correct_shapes(ctx.out / files.NAME, known, sizes, ctx.scratch, threads=ctx.threads):
        ctx.log.info("torch's exporter noted sizes of its example as fixed shapes; they are taken out")
    runner = OnnxRunner(ctx.out / files.NAME, threads=ctx.threads)
    allowed = {"atol": params.atol, "rtol": params.rtol}
    wanted = dict(zip(names, wanted.values(), strict=True))
    worst = compare(runner(feeds), wanted, what="the exported model", hint=CAUSES, **allowed)
    worst = max(worst, at_every_size(known, runner, names, hint=CAUSES, **allowed))
    ctx.progress(3, 3)
    return {"opset": params.opset, "nodes": nodes, "max_difference": worst}


def _outputs_of(
    module: nn.Module, inputs: tuple[ModelInput, ...], example: dict[str, np.ndarray], sizes: Mapping[str, int]
) -> list[str]:
    """Names of the outputs. UserError if the module does not take its dynamic axes at these ``sizes``."""
    try:
        with torch.no_grad():
            return list(named_outputs(caller(module, inputs)(tensors(example))))
    except (RuntimeError, ValueError, IndexError) as error:
        free = {axis for item in inputs for axis in item.shape[1:] if isinstance(axis, str)}
        if not free:
            raise
        shown = ", ".join(f"{axis} = {size}" for axis, size in sizes.items())
        raise UserError(
            f"the model does not take an example of {shown}: {' '.join(str(error).split())[:200]}",
            hint=f"say a size that it takes: 'sizes: {{{next(axis for axis in sizes if axis in free)}: …}}'",
        ) from error


def refuse_bfloat16(module: nn.Module) -> None:
    if narrow_type(module) == "bfloat16":
        raise UserError(
            "the model is in bfloat16, in which ONNX Runtime has no kernels for the CPU, so the file cannot be checked",
            hint="'.float()' in the factory, which loses nothing; after export.onnx, convert.bf16 or convert.fp16 "
            "narrows the file",
        )


def free_names(outputs: list[str], inputs: tuple[ModelInput, ...]) -> list[str]:
    """An output cannot have the name of an input in an ONNX file: it gets ``_output`` at its end."""
    taken = {item.name for item in inputs} | set(outputs)
    found: list[str] = []
    for name in outputs:
        free = name
        while free in {item.name for item in inputs} or free in found or (free != name and free in taken):
            free += "_output"
        found.append(free)
    return found


def _output_names(found: list[str], wanted: tuple[str, ...]) -> list[str]:
    if not wanted:
        return found
    if len(wanted) != len(found) or len(set(wanted)) != len(wanted):
        raise UserError(
            f"'outputs:' gives {len(wanted)} names, but the model has {len(found)} outputs: {', '.join(found)}",
            hint="name every output once, in the model's order",
        )
    return list(wanted)


def trace(
    module: nn.Module,
    inputs: tuple[ModelInput, ...],
    example: dict[str, torch.Tensor],
    outputs: int,
    opset: int,
) -> Any:
    """The ONNX program of ``module``; ``example``: input name → tensor; ``outputs``: how many it has. Its inputs and
    outputs have no names yet: see :func:`~cbuild_torch.to_onnx.naming.name_values`. UserError if torch cannot make it.
    """
    dims = {axis: torch.export.Dim(axis) for item in inputs for axis in item.shape if isinstance(axis, str)}
    shapes = [{i: dims[axis] for i, axis in enumerate(item.shape) if isinstance(axis, str)} for item in inputs]
    names = [item.name for item in inputs]
    arguments: dict[str, Any] = {"args": tuple(example.values()), "dynamic_shapes": tuple(shapes)}
    if not _returns_tensors(module, inputs, example) or takes_any(module):
        module = _Flat(module, inputs).eval()
        arguments["dynamic_shapes"] = (tuple(shapes),)
    elif by_keyword(module, names):
        arguments = {"kwargs": example, "dynamic_shapes": dict(zip(names, shapes, strict=True))}
    arguments["input_names"] = [f"{INPUT}{i}" for i in range(len(names))]
    return to_program(module, output_names=[f"{OUTPUT}{i}" for i in range(outputs)], opset=opset, **arguments)


def to_program(model: nn.Module | torch.export.ExportedProgram, *, opset: int, **arguments: Any) -> Any:
    """torch's exporter, silent; ``arguments``: of ``torch.onnx.export``. UserError if it cannot."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), _quiet_registry(), torch.no_grad():
            return torch.onnx.export(model, **arguments, opset_version=opset, dynamo=True, verbose=False)
    except Exception as error:  # the exporter wraps whatever the user's forward or a missing operator raises
        raise UserError(f"torch cannot export this model: {_reason(error)}{place(error)}", hint=_hint(error)) from error


@contextlib.contextmanager
def _quiet_registry() -> Iterator[None]:
    """The exporter's table of operators warns of each operator of torchvision where that is not installed, whatever
    the model uses. It would fill the lines of the log that a failure shows."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _returns_tensors(module: nn.Module, inputs: tuple[ModelInput, ...], example: dict[str, torch.Tensor]) -> bool:
    with torch.no_grad():
        result = caller(module, inputs)(example)
    return isinstance(result, torch.Tensor) or (
        isinstance(result, tuple | list) and all(isinstance(value, torch.Tensor) for value in result)
    )


def _reason(error: BaseException) -> str:
    """The innermost cause, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(error)


def _hint(error: BaseException) -> str:
    if "Constraints violated" in str(error) or "Constraints violated" in _reason(error):
        return FIXED
    return "data-dependent control flow and custom operators cannot be exported: the node's log shows where"


def check_axes(proto: onnx.ModelProto, inputs: tuple[ModelInput, ...]) -> None:
    """The exporter may silently fix a named axis to the size that it was traced with."""
    made = {value.name: value.type.tensor_type.shape.dim for value in proto.graph.input}
    for item in inputs:
        for axis, dim in zip(item.shape, made.get(item.name, ()), strict=False):
            if isinstance(axis, str) and not dim.dim_param:
                raise fixed_axis(item.name, axis, dim.dim_value)


def fixed_axis(name: str, axis: str, size: int) -> UserError:
    return UserError(f"the model accepts only {size} for the axis '{axis}' of input '{name}'", hint=FIXED)


def _bytes(module: nn.Module) -> int:
    return sum(value.numel() * value.element_size() for value in module.state_dict().values())


def _feeds(
    ctx: Context, inputs: tuple[ModelInput, ...], params: ExportOnnx, sizes: dict[str, int]
) -> dict[str, np.ndarray]:
    """What to compare on: samples, or generated inputs at another batch size than the traced one."""
    if params.data is not None:
        return sample_feeds(ctx.dataset(params.data), inputs, _CHECK_SAMPLES)
    batch = next((item.shape[0] for item in inputs if item.shape and isinstance(item.shape[0], str)), None)
    return example_arrays(inputs, {**sizes, batch: sizes[batch] + 1} if batch else sizes, seed=1)
