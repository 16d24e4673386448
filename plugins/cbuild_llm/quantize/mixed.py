"""Bits of each layer, so that the directory fits a budget: measured losses, sizes known beforehand, the best choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from compressbuild.api import Context, UserError, parsed_size

from ..model.checkpoint import PARTS, Checkpoint
from .budget import choose
from .params import QuantizeLlm
from .sensitivity import measure, parts
from .tool import grid

__all__ = ["fitted", "within"]

FLOAT = 32
"""The option that leaves a part as it is, whatever its type."""

_ITEM = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_HEADER = 96  # bytes that a tensor takes in the header of a file beside its name, at most
_CONFIG = 1024  # bytes that config.json grows by, beside names of layers
_NAMED = 80  # bytes that a layer takes there beside its name, at most


def fitted(
    ctx: Context,
    module: nn.Module,
    model: Path,
    found: Checkpoint,
    names: Sequence[str],
    windows: Sequence[Tensor],
    params: QuantizeLlm,
) -> tuple[dict[str, int], dict[str, Any]]:
    """Bits of the layers that are quantized, and a report: ``bits`` and ``losses`` of each part, their sum.

    UserError if the smallest choice does not fit, or if nothing needs to be quantized.
    """
    groups = parts(module, names, windows[0][:, :8])
    counts = _counts(params)
    sizes = [{count: sum(_size(found, name, count, params) for name in group) for count in (*counts, FLOAT)}
             for group in groups]  # fmt: skip
    budget = parsed_size(params.budget or "")
    room = budget - _rest(model, found, names)
    least = sum(min(each.values()) for each in sizes)
    if least > room:
        raise UserError(
            f"the smallest choice has {budget - room + least:,} bytes, more than the budget of {budget:,}",
            hint=f"raise 'budget', choose a larger 'group-size', or take a smaller model; {_most(found, names)}",
        )
    losses = measure(ctx, module, groups, counts, windows, lambda weight, count: grid(weight, count, params))
    options = [
        {count: (size, loss.get(count, 0.0)) for count, size in each.items()}
        for each, loss in zip(sizes, losses, strict=True)
    ]
    picked = choose(options, room)
    assert picked is not None, "the least was compared with the room"
    bits = {name: count for group, count in zip(groups, picked, strict=True) for name in group if count != FLOAT}
    if not bits:
        raise UserError(
            f"the budget of {budget:,} bytes holds the model as it is, so nothing was quantized",
            hint="lower 'budget', or leave the step out",
        )
    rows = [
        {"layers": list(group), "bits": count if count != FLOAT else "float", "bytes": option[count][0],
         "losses": {str(each): loss for each, loss in lost.items()}}
        for group, count, option, lost in zip(groups, picked, options, losses, strict=True)
    ]  # fmt: skip
    summed = sum(option[count][1] for option, count in zip(options, picked, strict=True))
    return bits, {"choice": rows, "loss_sum": summed, "budget": budget}


def within(folder: Path, budget: str) -> dict[str, Any]:
    """The size of what was written. UserError if it is more than the budget."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > parsed_size(budget):
        raise UserError(
            f"the directory has {size:,} bytes, more than the budget of {parsed_size(budget):,}",
            hint="quantize.llm estimated the sizes too low, which is its fault: lower 'budget' by the difference",
        )
    return {"directory_bytes": size}


def _counts(params: QuantizeLlm) -> list[int]:
    only_4 = params.format == "awq" or (params.format == "gptq" and not params.symmetric)
    return [params.bits] if only_4 or params.bits == 8 else [4, 8]


def _size(found: Checkpoint, name: str, bits: int, params: QuantizeLlm) -> int:
    """Bytes of a layer's weight, of its entries in the header, and in ``config.json``."""
    tensor = found.tensors[f"{name}.weight"]
    rows, columns = tensor.shape
    named = len(name) + _NAMED
    if bits == FLOAT:
        return rows * columns * _ITEM[tensor.dtype] + len(f"{name}.weight") + _HEADER + named
    groups = columns // params.group_size
    held = rows * columns * bits // 8 + rows * groups * 2  # scales are float16
    parts = PARTS[params.format]
    if params.format != "compressed-tensors":
        held += rows * groups * bits // 8 + (columns * 4 if params.format == "gptq" else 0)
    else:
        held += 16  # its shape
    return held + sum(len(f"{name}.{part}") + _HEADER for part in parts) + named


def _rest(model: Path, found: Checkpoint, names: Sequence[str]) -> int:
    """Bytes of all other files and weights."""
    weights = {tensor.file for tensor in found.tensors.values()}
    beside = sum((model / name).stat().st_size for name in found.files if name not in weights)
    taken = {f"{name}.weight" for name in names}
    single = {name: tensor for name, tensor in found.tensors.items() if name not in taken}
    held = sum(prod(each.shape) * _ITEM[each.dtype] + len(name) + _HEADER for name, each in single.items())
    return beside + held + _CONFIG


def _most(found: Checkpoint, names: Sequence[str]) -> str:
    taken = {f"{name}.weight" for name in names}
    rest: Mapping[str, int] = {
        name: prod(each.shape) * _ITEM[each.dtype] for name, each in found.tensors.items() if name not in taken
    }
    name = max(rest, key=lambda each: rest[each])
    return f"'{name}' alone stays with {rest[name]:,} bytes"
