"""The source ``exported``: an ONNX model from a file of ``torch.export.save``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from cbuild_kit import axis_sizes, example_arrays
from cbuild_onnx.model import files
from cbuild_onnx.model.checks import compare
from cbuild_onnx.model.runner import OnnxRunner
from onnx import ModelProto
from torch import Tensor, nn
from torch.utils._pytree import tree_unflatten

from compressbuild.api import Context, ModelInput, UserError

from ..model.module import prepare
from ..model.program import one_line
from ..model.runner import TorchRunner
from .archive import safe_copy
from .declared import correct_shapes
from .export import CAUSES, check_axes, free_names, to_program
from .naming import INPUT, OUTPUT, name_layers, name_values
from .params.program import ExportedProgram
from .sizes import at_every_size, known_answers

__all__ = ["read"]

_SYMBOL = re.compile(r"\b[su]\d+\b")
_AGAIN = "it may be of another version of torch: save it again with this one"


def read(ctx: Context, params: ExportedProgram) -> dict[str, Any]:
    """Write ``model.onnx``; returns opset, nodes and the largest difference from torch that was seen."""
    prepare(ctx)
    shown = params.exported
    program = _load(safe_copy(ctx.file(params.exported), shown, ctx.scratch / "checked.pt2"), shown)
    axes = _axes(program, params.axes, shown)
    inputs = tuple(_inputs(program, axes, shown))
    module = _Module(program, [item.name for item in inputs])
    sizes = axis_sizes(inputs)
    feeds = example_arrays(inputs, sizes, seed=1)
    found = list(TorchRunner(module, inputs)(feeds))
    if params.outputs and len(params.outputs) != len(found):
        raise UserError(f"'outputs:' gives {len(params.outputs)} names, but '{shown}' has {len(found)} outputs")
    names = free_names(list(params.outputs) or found, inputs)
    made = to_program(
        program,
        input_names=[f"{INPUT}{i}" for i in range(len(inputs))],
        output_names=[f"{OUTPUT}{i}" for i in range(len(names))],
        opset=params.opset,
    )
    raw = ctx.scratch / "traced" / files.NAME
    raw.parent.mkdir()
    made.save(str(raw), external_data=True)
    proto = files.read(raw, weights=False)
    name_layers(proto, module.graph)
    name_values(proto, [item.name for item in inputs], names)
    _name_axes(proto, axes)
    check_axes(proto, inputs)
    files.write(proto, ctx.out, weights_from=raw.parent)
    known = known_answers(module, inputs, {})
    correct_shapes(ctx.out / files.NAME, known, sizes, ctx.scratch, threads=ctx.threads)
    runner = OnnxRunner(ctx.out / files.NAME, threads=ctx.threads)
    allowed = {"atol": params.atol, "rtol": params.rtol}
    wanted = dict(zip(names, TorchRunner(module, inputs)(feeds).values(), strict=True))
    worst = compare(runner(feeds), wanted, what="the converted model", hint=CAUSES, **allowed)
    worst = max(worst, at_every_size(known, runner, names, hint=CAUSES, what="the converted model", **allowed))
    return {"opset": params.opset, "nodes": len(proto.graph.node), "max_difference": worst}


def _load(path: Path, shown: str) -> torch.export.ExportedProgram:
    try:
        return torch.export.load(path)
    except Exception as error:  # its reader asserts, looks up and parses: errors of any class
        raise UserError(f"torch cannot read '{shown}': {one_line(error)}", hint=_AGAIN) from error


def _tensors(program: torch.export.ExportedProgram, shown: str) -> Iterator[tuple[str, Tensor]]:
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    for name in program.graph_signature.user_inputs:
        value = values.get(str(name))
        if not isinstance(value, Tensor):
            raise UserError(
                f"'{shown}': its input '{name}' is a constant, not a tensor",
                hint="export it with tensors alone; put the others into the module",
            )
        yield str(name), value


def _axes(program: torch.export.ExportedProgram, named: Mapping[str, str], shown: str) -> dict[str, str]:
    """Symbol of each dynamic size → name of the axis. A file of torch keeps the symbols alone."""
    found: dict[str, str] = {}
    for _, value in _tensors(program, shown):
        for position, size in enumerate(value.shape):
            if not isinstance(size, int) and _SYMBOL.fullmatch(str(size)):
                found.setdefault(str(size), "batch" if position == 0 else str(size))
    if strange := sorted(named.keys() - found.keys()):
        raise UserError(
            f"'axes:' names '{strange[0]}', but '{shown}' has no such size",
            hint=f"its dynamic sizes: {', '.join(sorted(found)) or 'none'}",
        )
    return {**found, **named}


def _inputs(program: torch.export.ExportedProgram, axes: Mapping[str, str], shown: str) -> Iterator[ModelInput]:
    for name, value in _tensors(program, shown):
        shape = [size if isinstance(size, int) else axes.get(str(size), str(size)) for size in value.shape]
        yield ModelInput(name, tuple(shape), str(value.dtype).removeprefix("torch."))


def _name_axes(proto: ModelProto, axes: Mapping[str, str]) -> None:
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = _SYMBOL.sub(lambda found: axes.get(found[0], found[0]), dim.dim_param)


class _Module(nn.Module):
    """The program as a module that takes its inputs in order, and gives its outputs by their names in the graph."""

    def __init__(self, program: torch.export.ExportedProgram, inputs: list[str]) -> None:
        super().__init__()
        self.graph = program.module(check_guards=False)  # guards are Python from the file
        self._spec = program.call_spec.in_spec
        self._outputs = [str(name) for name in program.graph_signature.user_outputs]
        self._names = inputs

    def eval(self) -> _Module:
        return self  # an exported graph has one mode, that of its export

    def forward(self, *values: Tensor) -> dict[str, Tensor]:
        args, kwargs = tree_unflatten(list(values), self._spec)
        found = torch.utils._pytree.tree_leaves(self.graph(*args, **kwargs))
        return dict(zip(self._outputs, found, strict=True))
