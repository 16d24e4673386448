"""The census of torch models: parameters, arithmetic and traffic of the module in eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from compressbuild.api import Census, Context, Weight

from .macs import count
from .module import load_model
from .traffic import weights_read

__all__ = ["census"]


def census(ctx: Context, model: Path) -> Census:
    return Census(
        weights=partial(_weights, ctx, model),
        macs=partial(count, ctx, model),
        traffic=partial(weights_read, ctx, model),
    )


def _weights(ctx: Context, model: Path) -> Iterator[Weight]:
    """A shared parameter comes once; buffers are not trained."""
    module = load_model(ctx, model)
    modules = dict(module.named_modules())
    for name, parameter in module.named_parameters():
        layer = name.rpartition(".")[0]
        dtype = str(parameter.dtype).removeprefix("torch.")
        tensor = parameter.detach()
        array = tensor.float().numpy() if dtype == "bfloat16" else tensor.numpy()
        yield Weight(name=name, array=array, dtype=dtype, layer=layer, operator=type(modules[layer]).__name__)
