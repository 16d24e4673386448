"""Whether an exported model is right at every size that torch takes: exporters may fix the sizes that they traced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from cbuild_kit.probes import FIRST, OTHERS, Probed
from cbuild_onnx.model.checks import compare
from torch import nn

from compressbuild.api import ModelInput, UserError

from ..model.probing import probed

__all__ = ["FIXED", "at_every_size", "known_answers"]

FIXED = (
    "the model fixes a size that is dynamic in 'inputs:': write the number there, or x.shape[0] in its code for len(x)"
)
_BAKED = (
    "the model's code computes with that size in Python, in int(…), an 'if' or a pooling to a fixed grid: write the "
    "number in 'inputs:', or let torch compute with x.shape"
)

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def known_answers(module: nn.Module, inputs: Sequence[ModelInput], sizes: Mapping[str, int]) -> Probed:
    """torch's outputs at several sizes of every named axis, 1 included; around ``sizes``, if the user gives any.

    A large size is tried a third smaller and a quarter larger, too: the model may take none of the usual ones.
    """
    firsts = {item.shape[0] for item in inputs if item.shape}
    axes = {axis: (*(FIRST if axis in firsts else OTHERS), *_beside(size), size) for axis, size in sizes.items()}
    return probed(module, inputs, axes=axes)


def _beside(size: int) -> tuple[int, ...]:
    return (size - size // 3, size + size // 4 + 1) if size > max(OTHERS) else ()


def at_every_size(
    known: Probed,
    run: Run,
    names: Iterable[str],
    *,
    hint: str,
    what: str = "the exported model",
    **allowed: Any,
) -> float:
    """The largest difference of any output; UserError with the sizes and the axis where ``run`` fails or differs.

    ``names``: of the outputs, in the order of those that are known. ``hint``, ``allowed``: as of
    :func:`cbuild_onnx.model.checks.compare`.
    """
    worst = 0.0
    names = list(names)
    for item, outputs in known.taken:
        wanted = {name: np.asarray(value) for name, value in zip(names, outputs.values(), strict=True)}
        if not any(np.isfinite(value).any() for value in wanted.values()):
            continue  # all is masked: there is nothing to compare
        try:
            found = run(item.feeds)
            worst = max(worst, compare(found, wanted, what=what, hint=hint, **allowed))
        except UserError as error:
            raise _wrong(known, item.sizes, what, str(error), error.hint) from error
        except Exception as error:  # of the runtime, which raises classes of its own
            raise _wrong(known, item.sizes, what, f"{what} fails: {_line(error)}", None) from error
    return worst


def _wrong(known: Probed, sizes: Mapping[str, int], what: str, why: str, hint: str | None) -> UserError:
    """``sizes``: at which it is wrong; the axis is the one that is not as where it is right."""
    start = known.start
    moved = [axis for axis, size in sizes.items() if size != start.get(axis)]
    shown = ", ".join(f"{axis} = {size}" for axis, size in sizes.items())
    if not moved:
        return UserError(f"{why} ({shown})" if shown else why, hint=hint)
    where = " and ".join(f"'{axis}'" for axis in moved)
    right = ", ".join(f"{axis} = {size}" for axis, size in start.items())
    return UserError(
        f"{what} is right at {right} and wrong at {shown}, so it fixes the axis {where}: {why}", hint=_BAKED
    )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
