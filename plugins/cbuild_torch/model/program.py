"""A module as a graph of ATen operators (torch.export), for backends that take such a graph."""

from __future__ import annotations

import contextlib
import re
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from cbuild_kit import example_arrays
from torch import Tensor, nn

from compressbuild.api import ModelInput, UserError

from .calling import caller, named_outputs, tensors

__all__ = ["example", "flat", "one_line", "place", "plain_attention", "retraced", "trace"]

_TORCH = str(Path(torch.__file__).parent)

Sizes = Mapping[str, tuple[int, int]]  # axis → least and largest size


class _Flat(nn.Module):
    """Takes tensors in the order of the declared inputs, gives a tuple of tensors."""

    def __init__(self, module: nn.Module, inputs: tuple[ModelInput, ...]) -> None:
        super().__init__()
        self.module = module
        self._inputs = inputs

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        feeds = {item.name: value for item, value in zip(self._inputs, values, strict=True)}
        return tuple(named_outputs(caller(self.module, self._inputs)(feeds)).values())


class _Half(nn.Module):
    """Computes in float16 behind float32 inputs and outputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.half()

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        halves = (value.half() if value.dtype == torch.float32 else value for value in values)
        return tuple(value.float() if value.dtype == torch.float16 else value for value in self.module(*halves))


def trace(
    module: nn.Module, inputs: Iterable[ModelInput], sizes: Sizes, *, half: bool = False
) -> tuple[Any, tuple[str, ...]]:
    """The exported program, which takes tensors by position, and the names of its outputs. An axis of one size only
    is fixed. ``half``: the module is changed, to compute in float16. UserError if torch cannot trace the module."""
    inputs = tuple(inputs)
    sample = example(inputs, sizes)
    try:
        with torch.no_grad():
            names = tuple(named_outputs(caller(module, inputs)(sample)))
        plain = flat(module, inputs)
        program = _export(_Half(plain) if half else plain, sample, (_shapes(inputs, sizes),))
    except UserError:
        raise
    except Exception as error:  # the tracer wraps whatever the user's forward raises
        fixed = "Constraints violated" in str(error)
        hint = "the model fixes a size that is dynamic in 'inputs:': write the number there, or in 'sizes:'"
        other = "control flow that depends on data cannot be traced: the node's log shows where"
        raise UserError(
            f"torch cannot trace this model: {one_line(error)}{place(error)}", hint=hint if fixed else other
        ) from error
    return program, names


def flat(module: nn.Module, inputs: Iterable[ModelInput]) -> nn.Module:
    """``module`` as one that takes tensors in the order of its inputs, and gives a tuple of tensors."""
    return _Flat(module, tuple(inputs)).eval()


def retraced(module: nn.Module, inputs: Iterable[ModelInput], sizes: Sizes) -> Any:
    """A program whose graph was changed, traced again."""
    inputs = tuple(inputs)
    return _export(module, example(inputs, sizes), _shapes(inputs, sizes))


def example(inputs: tuple[ModelInput, ...], sizes: Sizes) -> dict[str, Tensor]:
    """At the largest sizes: kernels that torch would choose for small ones narrow the range from above."""
    return tensors(example_arrays(inputs, {axis: high for axis, (_, high) in sizes.items()}))


def _shapes(inputs: tuple[ModelInput, ...], sizes: Sizes) -> tuple[dict[int, Any], ...]:
    dims = {axis: torch.export.Dim(axis, min=low, max=high) for axis, (low, high) in sizes.items() if low < high}
    return tuple({at: dims[axis] for at, axis in enumerate(item.shape) if axis in dims} for item in inputs)


def _export(module: nn.Module, example: Mapping[str, Tensor], shapes: Any) -> Any:
    with torch.no_grad(), plain_attention(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on torch's own renamed interfaces
        return torch.export.export(module, tuple(example.values()), dynamic_shapes=shapes)


@contextlib.contextmanager
def plain_attention() -> Iterator[None]:
    """Without torch's one operator for a whole encoder layer, which backends lack."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def one_line(error: BaseException) -> str:
    """torch's message, without its advice on how to get more output."""
    text = re.split(r" \(unhinted| Caused by:| For more information", " ".join(str(error).split()))[0]
    return text[:500] or type(error).__name__


def place(error: BaseException) -> str:
    """``, at model.py:12: the line``: where the code of a model was when torch could not follow it, or nothing."""
    while error.__cause__ is not None:
        error = error.__cause__
    own = (_TORCH, str(Path(__file__).parent), "<")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(own)]
    return f", at {Path(frames[-1].filename).name}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""
