"""Generated inputs that show differences: every named axis at several sizes, ids that vary, masks of several lengths.

A compiler or an exporter may settle on the sizes that it saw, or on one path of a forward. Inputs of one size, with
every id 1 and every mask full, would not show it. So :func:`probe` asks the source at several sizes, and another model
is compared with its answers. Sizes that the source refuses are skipped, and the reasons are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compressbuild.api import ModelInput

from .inputs import example_arrays

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Probe", "Probed", "first_range", "probe", "probe_arrays", "within"]

# 1 changes how shapes broadcast, 7 is a multiple of nothing, and windows of 20, 32 or 64 lie between 16 and 96.
# The last of each is where an axis stays while another varies. Tracing uses 2 and 16.
FIRST = (1, 16, 3)
OTHERS = (1, 7, 96, 16)
STARTS = (16, 64, 8, 1)  # where the other axes stay: at the first of these that the source takes
MOST = 24
_LONG = 32

Answer = Callable[[Mapping[str, "np.ndarray"]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Probe:
    """``sizes``: of every named axis."""

    name: str
    sizes: Mapping[str, int]
    feeds: Mapping[str, np.ndarray]


@dataclass(slots=True)
class Probed:
    """``taken``: probes and what the source answers. ``refused``: name of a probe → why the source does not take it.
    ``start``: the sizes from which one axis at a time varies; empty if the source refuses everything."""

    taken: list[tuple[Probe, Mapping[str, Any]]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    start: Mapping[str, int] = field(default_factory=dict)


def probe(
    inputs: Sequence[ModelInput],
    answer: Answer,
    *,
    axes: Mapping[str, Sequence[int]] | None = None,
    rows: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Probed:
    """Run the source at several sizes of every named axis, 1 included.

    ``answer``: runs the source on input name → array; whatever it raises is a refusal. ``axes``: the sizes of an axis,
    if not the usual ones; the last is where it stays while others vary. ``rows``: integer input → how many rows the
    table has that it indexes. At most 24 small runs.
    """
    asked = _Asked(tuple(inputs), answer, rows or {}, seed)
    options, given = _options(inputs, axes or {}), frozenset(axes or {})
    others = _others(inputs, given)
    for size in STARTS if others else STARTS[:1]:
        start = {axis: size if axis in others else sizes[-1] for axis, sizes in options.items()}
        if asked.at(start):
            break
    else:
        return asked.result
    asked.result.start = start
    for sizes in _around(start, options):
        asked.at(sizes)
    if len(others) > 1:  # sizes that have to change together, as those of a square picture
        for size in OTHERS:
            together = {**start, **dict.fromkeys(others, size)}
            if together != start and not any(asked.took({**start, axis: size}) for axis in others):
                asked.at(together)
    return asked.result


class _Asked:
    """The runs of the source so far."""

    def __init__(self, inputs: tuple[ModelInput, ...], answer: Answer, rows: Mapping[str, int], seed: int) -> None:
        self.result = Probed()
        self._inputs, self._answer, self._rows, self._seed = inputs, answer, rows, seed
        self._tried: dict[tuple[int, ...], bool] = {}
        self._plain = any(item.dtype == "bool" or "int" in item.dtype for item in inputs)

    def took(self, sizes: Mapping[str, int]) -> bool:
        return self._tried.get(tuple(sizes.values()), False)

    def at(self, sizes: Mapping[str, int]) -> bool:
        """Whether the source takes the sizes. One that dislikes the contents only, such as ids without an end, is
        given plain ones."""
        import numpy as np

        where = tuple(sizes.values())
        if where in self._tried or len(self._tried) >= MOST:
            return self._tried.get(where, False)
        rng = np.random.default_rng([self._seed, len(self._tried)])
        shown = ",".join(f"{axis}={size}" for axis, size in sizes.items())
        varied = Probe(f"random {shown}".strip(), sizes, probe_arrays(self._inputs, sizes, rng, self._rows))
        self._tried[where] = self._ask(varied)
        if not self._tried[where] and self._plain:
            plain = Probe(f"plain {shown}".strip(), sizes, example_arrays(self._inputs, sizes, seed=self._seed))
            self._tried[where] = self._ask(plain)
        return self._tried[where]

    def _ask(self, item: Probe) -> bool:
        try:
            found = self._answer(item.feeds)
        except Exception as error:  # noqa: BLE001 a runtime's border, or the user's forward: they raise anything
            self.result.refused[item.name] = " ".join(str(error).split())[:300] or type(error).__name__
            return False
        self.result.taken.append((item, found))
        return True


def first_range(inputs: Sequence[ModelInput], axes: Mapping[str, Sequence[int]]) -> tuple[int, int]:
    """The least and the largest size that is tried of the first axis; 1 and 1 if it has no name."""
    options = _options(inputs, axes)
    sizes = next((options[axis] for item in inputs for axis in item.shape[:1] if isinstance(axis, str)), (1,))
    return min(sizes), max(sizes)


def within(low: int, high: int) -> list[int]:
    """The sizes to try of an axis that is compiled for a range."""
    return sorted({low, (low + high) // 2, high})


def probe_arrays(
    inputs: Sequence[ModelInput],
    sizes: Mapping[str, int],
    rng: np.random.Generator,
    rows: Mapping[str, int] | None = None,
) -> dict[str, np.ndarray]:
    """Floats standard normal; ids over all rows of their table, its ends included; masks of several lengths.

    Integers that index no known table are 0 or 1, the first of each row 1. Every row of a mask begins with what counts,
    so that a causal model always sees something.
    """
    import numpy as np

    made = {}
    for item in inputs:
        shape = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in item.shape)
        dtype = np.dtype(item.dtype)
        if dtype.kind == "f":
            made[item.name] = rng.standard_normal(shape).astype(dtype)
        elif item.name in (rows or {}):
            made[item.name] = _ids(shape, rng, (rows or {})[item.name]).astype(dtype)
        elif dtype.kind == "b" or "mask" in item.name.lower():
            made[item.name] = _mask(item, shape, rng).astype(dtype)
        else:
            values = rng.integers(0, 2, shape)
            values[..., :1] = 1
            made[item.name] = np.asarray(values, dtype)
    return made


def _ids(shape: tuple[int, ...], rng: np.random.Generator, rows: int) -> np.ndarray:
    import numpy as np

    values = np.asarray(rng.integers(0, rows, shape))
    flat = values.reshape(-1)
    if flat.size > 2:
        flat[[-2, -1]] = 0, rows - 1
    return values


def _mask(item: ModelInput, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """True for a beginning of each row. Where true may mean 'ignore' as well, no row is all true.

    A long row counts by two thirds at least. What is farther from that than a local attention looks sees nothing, and
    a softmax over nothing is not defined: runtimes give different numbers there, which nobody uses.
    """
    import numpy as np

    if not shape:
        return np.ones(shape, bool)
    size = shape[-1]
    least = size - size // 3 if size > _LONG else 1
    lengths = rng.integers(least, max(size, 2), shape[:-1])
    if item.dtype != "bool" and len(shape) > 1 and shape[0] > 1:
        lengths[0] = size
    counts = np.arange(size) < lengths[..., None]
    return ~counts if "padding" in item.name.lower() else counts


def _options(inputs: Sequence[ModelInput], axes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for item in inputs:
        for position, axis in enumerate(item.shape):
            if isinstance(axis, str) and axis not in found:
                found[axis] = tuple(axes.get(axis) or (FIRST if position == 0 else OTHERS))
    return found


def _others(inputs: Sequence[ModelInput], given: frozenset[str]) -> list[str]:
    """Axes that are tried at the usual sizes and are not the batch."""
    first = {item.shape[0] for item in inputs if item.shape}
    found = (axis for item in inputs for axis in item.shape if isinstance(axis, str))
    return [axis for axis in dict.fromkeys(found) if axis not in first and axis not in given]


def _around(start: Mapping[str, int], options: Mapping[str, Sequence[int]]) -> Iterator[dict[str, int]]:
    """Each axis in turn at its other sizes; first sizes of every axis, for the number of runs is limited."""
    for number in range(max(map(len, options.values()), default=0)):
        for axis, sizes in options.items():
            if number < len(sizes):
                yield {**start, axis: sizes[number]}
