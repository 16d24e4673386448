"""Export of a torch model to LiteRT, with litert-torch: torch.export, StableHLO, then LiteRT's converter.

https://github.com/google-ai-edge/litert-torch
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import litert_torch
import torch
from cbuild_kit.interface import Interface, size_ranges
from cbuild_kit.parity import check_parity
from cbuild_torch.model.calling import caller, named_outputs
from cbuild_torch.model.description import ModelDescription
from cbuild_torch.model.lookups import table_rows
from cbuild_torch.model.module import load_model, prepare
from cbuild_torch.model.program import example, one_line, place, plain_attention
from cbuild_torch.model.runner import TorchRunner
from msgspec.structs import replace
from torch import Tensor, nn

from compressbuild.api import Context, ModelInput, UserError

from . import flatbuffer
from .artifact import NAME
from .params import ExportTflite
from .runner import TfliteRunner

__all__ = ["export"]


def export(ctx: Context, model: Path, params: ExportTflite) -> dict[str, Any]:
    """Convert the module at fixed sizes, and compare the model with it.

    Facts: ``operators``: how many there are; ``narrowed``: inputs whose 64-bit integers became 32-bit ones.
    """
    prepare(ctx)
    description = ModelDescription.read(model)
    sizes = fixed_sizes(description.inputs, params.sizes)
    ctx.progress(0, 2, stage="convert")
    module = load_model(ctx, model)
    sample = example(description.inputs, sizes)
    rows = table_rows(module, description.inputs, sample)
    names = _output_names(module, description.inputs, sample)
    (ctx.out / NAME).write_bytes(_converted(_Named(module, description.inputs), sample))
    del module
    interface = Interface.of(description.inputs, names, sizes)
    interface.write(ctx.out)
    ctx.progress(1, 2, stage="compare")
    compared = check_parity(
        ctx,
        replace(params.parity, axes={**params.parity.axes, **{axis: [low] for axis, (low, _) in sizes.items()}}),
        "fp32",
        lambda: TorchRunner(load_model(ctx, model), description.inputs),
        lambda: TfliteRunner(ctx.out, threads=ctx.threads),
        name="LiteRT",
        rows=rows,
    )
    found = flatbuffer.operators(flatbuffer.read(ctx.out / NAME))
    return {
        "operators": sum(found.values()),
        "narrowed": [item.name for item in interface.inputs if item.dtype == "int64"],
        **compared,
    }


def fixed_sizes(inputs: Iterable[ModelInput], given: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """The one size of every dynamic axis, as a range. A first axis that is not ``given`` is 1; others must be."""
    inputs = tuple(inputs)
    first = {item.shape[0]: 1 for item in inputs if item.shape and isinstance(item.shape[0], str)}
    return size_ranges(inputs, {**first, **given})


class _Named(nn.Module):
    """Takes and gives tensors by their names, which become those of the model's signature."""

    def __init__(self, module: nn.Module, inputs: tuple[ModelInput, ...]) -> None:
        super().__init__()
        self.module = module
        self._inputs = inputs

    def forward(self, **feeds: Tensor) -> dict[str, Tensor]:
        return named_outputs(caller(self.module, self._inputs)(feeds))


def _output_names(module: nn.Module, inputs: tuple[ModelInput, ...], sample: Mapping[str, Tensor]) -> tuple[str, ...]:
    try:
        with torch.no_grad():
            return tuple(named_outputs(caller(module, inputs)(dict(sample))))
    except UserError:
        raise
    except Exception as error:  # the user's forward raises anything
        raise UserError(f"the model cannot be run at these sizes: {one_line(error)}{place(error)}") from error


def _converted(module: nn.Module, sample: Mapping[str, Tensor]) -> bytes:
    try:
        with torch.no_grad(), plain_attention(), _quiet():
            return bytes(litert_torch.convert(module.eval(), sample_kwargs=dict(sample)).model_content())
    except Exception as error:  # torch's tracer and MLIR raise classes of their own, and plain ones
        raise UserError(
            f"litert-torch cannot convert this model: {one_line(error)}{place(error)}",
            hint="it lacks this operator, or the model's control flow depends on data; the node's log shows more",
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars, and warnings on torch's own renamed interfaces."""
    level = logging.root.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.root.setLevel(level)
