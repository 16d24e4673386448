"""The backend's compile function: a torch model to a package of native code."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from cbuild_kit import axis_sizes, example_arrays
from cbuild_kit.interface import Interface
from cbuild_kit.parity import check_parity
from cbuild_torch.model.calling import caller, named_outputs, tensors
from cbuild_torch.model.description import ModelDescription
from cbuild_torch.model.lookups import table_rows
from cbuild_torch.model.module import load_model, prepare
from cbuild_torch.model.program import flat, one_line, place
from cbuild_torch.model.runner import TorchRunner
from torch import nn
from torch.export.passes import move_to_device_pass
from torch.fx import GraphModule

from compressbuild.api import Context, ModelInput, UserError

from .artifact import PACKAGE, Package
from .runner import load, set_precision
from .settings import InductorSettings

__all__ = ["compile"]


def compile(ctx: Context, model: Path, settings: InductorSettings) -> dict[str, Any]:
    """Trace the module, turn it into C++ (or CUDA), compile that, and compare it with the module."""
    prepare(ctx)
    _check_device(settings)
    description = ModelDescription.read(model)
    module = load_model(ctx, model)
    ctx.progress(0, 3, stage="trace")
    program, names = _trace(module, description.inputs, settings.device)
    ctx.progress(1, 3, stage="compile")
    set_precision(settings)
    with _workplace(ctx.scratch / "inductor", settings):
        _compile(program, ctx.out / PACKAGE, settings)
    interface = Interface(description.inputs, names)
    Package(interface, settings.device, torch.__version__.partition("+")[0]).write(ctx.out)
    rows = table_rows(module, description.inputs, tensors(example_arrays(description.inputs)))
    del module, program
    ctx.progress(2, 3, stage="compare")
    compared = check_parity(
        ctx,
        settings.parity,
        "fp16" if settings.tf32 else "fp32",  # TensorFloat-32 has the fraction of float16
        lambda: TorchRunner(load_model(ctx, model), description.inputs),
        lambda: load(ctx, ctx.out, settings),
        name="the compiled package",
        rows=rows,
    )
    return {"bytes": (ctx.out / PACKAGE).stat().st_size, **compared}


def _trace(module: nn.Module, inputs: tuple[ModelInput, ...], device: str) -> tuple[Any, tuple[str, ...]]:
    """The exported program and the names of its outputs; UserError if torch cannot trace the module."""
    example = tensors(example_arrays(inputs, axis_sizes(inputs)))
    dims = {axis: torch.export.Dim(axis) for item in inputs for axis in item.shape if isinstance(axis, str)}
    shapes = tuple({i: dims[axis] for i, axis in enumerate(item.shape) if isinstance(axis, str)} for item in inputs)
    try:
        with torch.no_grad():
            names = tuple(named_outputs(caller(module, inputs)(example)))
            program = torch.export.export(flat(module, inputs), tuple(example.values()), dynamic_shapes=(shapes,))
            if device != "cpu":
                # Traced there, a batch would be limited to what one call of cuDNN takes.
                program = move_to_device_pass(program, device)
    except UserError:
        raise
    except Exception as error:  # the tracer wraps whatever the user's forward raises
        fixed = "Constraints violated" in str(error)
        hint = "the model fixes a size that is dynamic in 'inputs:': write the number there instead"
        other = "control flow that depends on data cannot be traced: the node's log shows where"
        raise UserError(
            f"torch cannot trace this model: {one_line(error)}{place(error)}", hint=hint if fixed else other
        ) from error
    return program, names


@contextlib.contextmanager
def _workplace(place: Path, settings: InductorSettings) -> Iterator[None]:
    """An empty cache directory of this node's own: what another run left there would be reused silently."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(place)
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if before is None:
            del os.environ["TORCHINDUCTOR_CACHE_DIR"]
        else:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = before


def _compile(program: Any, target: Path, settings: InductorSettings) -> None:
    from torch import _inductor
    from torch._inductor import config

    # One process, for a pool of compilers would outlive the node; no precompiled headers, for they are used once.
    changes = {
        "compile_threads": 1,
        "cpp.threads": settings.threads,
        "cpp_cache_precompile_headers": False,
        "aot_inductor.precompile_headers": False,
        "fx_graph_cache": False,
        "cpp.enable_kernel_profile": settings.kernel_profile,
    }
    if settings.kernel_profile:
        _forget_traces(program)
    try:
        with config.patch({name: value for name, value in changes.items() if name in config._config}):
            _inductor.aoti_compile_and_package(program, package_path=str(target))
    except Exception as error:  # a C++ compiler's failure comes as torch's own classes, which differ between versions
        raise UserError(
            f"TorchInductor cannot compile this model: {one_line(error)}",
            hint="the node's log shows the compiler's output",
        ) from error


def _forget_traces(program: Any) -> None:
    """The marks of kernels would hold the traces of the source, and the code would parse them at every call."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            node.meta.pop("stack_trace", None)


def _check_device(settings: InductorSettings) -> None:
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "this torch finds no CUDA device", hint="install a CUDA build of torch on a machine with an NVIDIA GPU"
        )
