"""Running a module on inputs that show differences: several sizes, ids that vary, and lengths beyond its windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from cbuild_kit import axis_sizes, example_arrays
from cbuild_kit.probes import OTHERS, Probed, probe, probe_arrays
from torch import Tensor, nn

from compressbuild.api import ModelInput

from .calling import caller, named_outputs, tensors
from .lookups import table_rows

__all__ = ["answers", "first_difference", "probed", "varied", "window_sizes"]

_WINDOWS = ("sliding_window", "attention_window", "local_attention", "attention_chunk_size")
_LONGEST = 640  # a window beyond that is not looked past

Outputs = Mapping[str, Tensor]
Answer = Callable[[Mapping[str, np.ndarray]], Outputs]


def answers(module: nn.Module, inputs: Iterable[ModelInput]) -> Answer:
    """Input name → array to output name → tensor."""
    call = caller(module, inputs)

    def answer(feeds: Mapping[str, np.ndarray]) -> Outputs:
        with torch.no_grad():
            return named_outputs(call(tensors(feeds)))

    return answer


def probed(
    module: nn.Module, inputs: Iterable[ModelInput], *, axes: Mapping[str, Sequence[int]] | None = None, seed: int = 1
) -> Probed:
    """What the module answers at several sizes of every named axis, 1 included. ``axes``: sizes to try, if not the
    usual ones; the last is where an axis stays while others vary."""
    inputs = tuple(inputs)
    rows = table_rows(
        module, inputs, tensors(example_arrays(inputs, {axis: sizes[-1] for axis, sizes in (axes or {}).items()}))
    )
    return probe(
        inputs, answers(module, inputs), axes={**window_sizes(module, inputs), **(axes or {})}, rows=rows, seed=seed
    )


def varied(module: nn.Module, inputs: Iterable[ModelInput], count: int) -> list[dict[str, Tensor]]:
    """Some inputs of one size, batch 1, that differ in all that the module takes."""
    inputs = tuple(inputs)
    sizes, plain = axis_sizes(inputs, batch=1), tensors(example_arrays(inputs, batch=1))
    rows = table_rows(module, inputs, plain)
    made = [tensors(probe_arrays(inputs, sizes, np.random.default_rng(seed), rows)) for seed in range(count)]
    try:
        for feeds in made:
            answers(module, inputs)({name: value.numpy() for name, value in feeds.items()})
    except (RuntimeError, ValueError, LookupError):  # of the model's code, which may want more of its inputs
        return [tensors(example_arrays(inputs, batch=1, seed=seed)) for seed in range(count)]
    return made


def window_sizes(module: nn.Module, inputs: Iterable[ModelInput]) -> dict[str, tuple[int, ...]]:
    """Axis → sizes, on both sides of the longest window that the module names; empty if the usual ones are."""
    longest = max((size for size in _windows(module) if size + 9 <= _LONGEST), default=0)
    if longest + 9 <= max(OTHERS):
        return {}
    axes = {axis for item in inputs for axis in item.shape[1:] if isinstance(axis, str)}
    return dict.fromkeys(sorted(axes), (longest + 9, *OTHERS))


def _windows(module: nn.Module) -> Iterator[int]:
    for layer in module.modules():
        for holder in (layer, vars(layer).get("config")):
            for name in _WINDOWS if holder is not None else ():
                value = vars(holder).get(name)
                if isinstance(value, int) and not isinstance(value, bool):
                    yield value


def first_difference(known: Probed, answer: Answer, *, atol: float = 1e-4, rtol: float = 1e-3) -> str | None:
    """Where another module first gives something else, in words; None if it never does."""
    for item, wanted in known.taken:
        found: Mapping[str, Any] = answer(item.feeds)
        for name, value in wanted.items():
            if not _near(found[name], value, atol, rtol):
                return f"output '{name}' is {_said(found[name], value)} ({item.name})"
    return None


def _near(found: Tensor, wanted: Tensor, atol: float, rtol: float) -> bool:
    if found.shape != wanted.shape:
        return False
    if not wanted.is_floating_point():
        return True  # a class may change where two scores are as good as equal; the scores are compared
    return torch.allclose(found, wanted, atol=atol, rtol=rtol, equal_nan=True)


def _said(found: Tensor, wanted: Tensor) -> str:
    if found.shape != wanted.shape:
        return f"{list(found.shape)}, not {list(wanted.shape)}"
    return f"off by {float((found - wanted).abs().max()):.3g}"
