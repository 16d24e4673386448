"""The backend's compile function: a torch model to an ExecuTorch program, on XNNPACK where it has kernels."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cbuild_kit.coverage import merged
from cbuild_kit.interface import Interface, size_ranges
from cbuild_kit.parity import Precision, check_parity
from cbuild_kit.probes import within
from cbuild_torch.model.description import ModelDescription
from cbuild_torch.model.lookups import table_rows
from cbuild_torch.model.module import load_model, prepare
from cbuild_torch.model.program import example, one_line, trace
from cbuild_torch.model.runner import TorchRunner
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import EdgeProgramManager, to_edge_transform_and_lower
from msgspec.structs import replace
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from compressbuild.api import Context, UserError

from .artifact import PROGRAM
from .quantize import quantize
from .runner import load
from .settings import ExecuTorchSettings

__all__ = ["compile"]

_PRECISION: Mapping[str, Precision] = {"fp32": "fp32", "fp16": "fp16", "int8": "int8", "int8-dynamic": "int8"}


def compile(ctx: Context, model: Path, settings: ExecuTorchSettings) -> dict[str, Any]:
    """Trace the module, quantize the graph if asked to, lower it, and compare the program with the module."""
    prepare(ctx)
    description = ModelDescription.read(model)
    sizes = size_ranges(description.inputs, settings.sizes)
    quantized = settings.precision.startswith("int8")
    ctx.progress(0, 4, stage="trace")
    module = load_model(ctx, model)
    tried = {axis: within(low, high) for axis, (low, high) in sizes.items()}
    rows = table_rows(module, description.inputs, example(description.inputs, sizes))
    program, names = trace(module, description.inputs, sizes, half=settings.precision == "fp16")
    del module
    interface = Interface.of(description.inputs, names, sizes)
    facts: dict[str, Any] = {"precision": settings.precision}
    if quantized:
        ctx.progress(1, 4, stage="quantize")
        program, layers = quantize(
            ctx,
            program,
            interface,
            settings,
            lambda: TorchRunner(load_model(ctx, model), description.inputs),
            axes=tried,
            rows=rows,
        )
        facts |= layers
    ctx.progress(2, 4, stage="lower")
    lowered = _lower(program)
    facts |= _delegated(ctx, lowered)
    (ctx.out / PROGRAM).write_bytes(_emit(lowered))
    interface.write(ctx.out)
    ctx.progress(3, 4, stage="compare")
    compared = check_parity(
        ctx,
        replace(
            settings.parity,
            axes={**tried, **settings.parity.axes},
            data=settings.data if settings.parity.data is None else settings.parity.data,
        ),
        _PRECISION[settings.precision],
        # What int8 costs the model is seen on data; made-up inputs show whether the runtime computes what it was given.
        lambda: (
            TorchRunner(_Named(program, names), description.inputs)
            if quantized
            else TorchRunner(load_model(ctx, model), description.inputs)
        ),
        lambda: load(ctx, ctx.out, settings),
        name="ExecuTorch",
        rows=rows,
    )
    return merged(facts, {"bytes": (ctx.out / PROGRAM).stat().st_size}, compared)


class _Named(nn.Module):
    """An exported graph with named outputs. It is no submodule, as it refuses ``eval()``."""

    def __init__(self, program: ExportedProgram, names: tuple[str, ...]) -> None:
        super().__init__()
        self._call = (program.module(check_guards=False),)
        self._names = names

    def forward(self, *values: Tensor) -> dict[str, Tensor]:
        return dict(zip(self._names, self._call[0](*values), strict=True))


def _lower(program: ExportedProgram) -> EdgeProgramManager:
    try:
        with _quiet():
            return to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    except Exception as error:  # the verifier and the partitioner raise classes of their own, and plain ones
        raise _refusal("lower", error, program) from error


def _emit(lowered: EdgeProgramManager) -> bytes:
    try:
        with _quiet():
            return bytes(lowered.to_executorch().buffer)
    except Exception as error:  # as above
        raise _refusal("emit", error) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # on torch's own renamed interfaces
        yield


def _delegated(ctx: Context, lowered: EdgeProgramManager) -> dict[str, Any]:
    """``delegated``: operators that XNNPACK runs; ``portable``: name → how many ExecuTorch's own, slow kernels run."""
    delegated: Counter[str] = Counter()
    portable: Counter[str] = Counter()
    graph = lowered.exported_program().graph_module
    for part in graph.modules():
        if not isinstance(part, GraphModule):
            continue
        for node in part.graph.nodes:
            if node.op == "get_attr" and hasattr(found := getattr(part, str(node.target), None), "original_module"):
                delegated.update(_operators(found.original_module.graph.nodes))
        portable.update(_operators(part.graph.nodes))
    if not delegated:
        raise UserError(
            "no operator of this model runs on XNNPACK",
            hint="it has convolutions, linear layers and elementwise operators; use another backend",
        )
    if portable:
        shown = ", ".join(f"{name} ×{count}" for name, count in sorted(portable.items()))
        ctx.log.warning("these operators run on ExecuTorch's portable kernels, not on XNNPACK: %s", shown)
    return {"delegated": delegated.total(), "portable": dict(sorted(portable.items()))}


def _operators(nodes: Iterable[Node]) -> list[str]:
    """Names of the operators among ``nodes``: not of what passes sizes and results around."""
    found = [node.target for node in nodes if node.op == "call_function" and hasattr(node.target, "_schema")]
    names = [str(getattr(target, "__name__", target)).removesuffix(".default") for target in found]
    return [name for name in names if name != "sym_size.int"]


def _grouped_up(program: ExportedProgram | None) -> str | None:
    """The first batch normalisation behind a transposed convolution with groups, which ExecuTorch 1.5 cannot fold."""
    for node in program.graph.nodes if program is not None else ():
        before = node.args[0] if node.args else None
        if "batch_norm" in str(node.target) and isinstance(before, Node) and "conv_transpose" in str(before.target):
            groups = before.args[6] if len(before.args) > 6 else 1
            if groups != 1:
                return f"'{_layer(node)}' into '{_layer(before)}', a transposed convolution with groups"
    return None


def _layer(node: Node) -> str:
    """The module that a node comes from, as the source names it."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]).removeprefix("module.") if stack else node.name  # what is traced holds it as 'module'


def _refusal(what: str, error: Exception, program: ExportedProgram | None = None) -> UserError:
    """ExecuTorch's message, without traces and advice about its own interfaces. A pass that fails says only its
    own name; what it fails at is in the cause."""
    folds = "FuseBatchNormPass" in str(error)
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    text = re.split(r"\s+(?:stack trace:|Original traceback:|There are a few things|While executing)", one_line(error))[
        0
    ]
    at = re.search(r"While executing %(\w+)", one_line(error))
    hint = "fix the size that varies: 'sizes: {batch: 1}'" if "shape_dynamism" in text else None
    if folds:
        text = f"it cannot fold the batch normalisation {_grouped_up(program) or 'into the layer before it'}: {text}"
        hint = "add the step fold.batchnorm, which folds it in torch"
    return UserError(f"ExecuTorch cannot {what} this model: {text}{f' (at {at[1]})' if at else ''}", hint=hint)
