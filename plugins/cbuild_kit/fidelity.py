"""How much of a float model is left after quantization: signal to noise of every output, and of its parts.

An output that joins values of different ranges, as boxes in pixels and scores from 0 to 1, can have a good ratio as a
whole while its small part is lost. So the ratio is also taken of the indices of an axis whose magnitudes lie together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compressbuild.api import Context, UserError

from .agreement import EXACT_DB

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LEAST", "USUAL", "Answer", "check_fidelity"]

LEAST, USUAL = 5.0, 20.0  # decibels: below the first it is another model; 8 bits cost a sound one down to the second
_APART = 8.0  # between magnitudes of two parts
_MOST_INDICES = 1 << 13  # of an axis that is split
_MOST_PARTS = 4
_BYTES = 1 << 28  # of the source's answers that are kept
_LOST = 1e-7  # of the output's largest magnitude: numerically nothing

Answer = Callable[[Mapping[str, "np.ndarray"]], Mapping[str, Any]]


def check_fidelity(
    ctx: Context,
    source: Callable[[], Answer],
    made: Callable[[], Answer],
    feeds: Iterable[Mapping[str, np.ndarray]],
    *,
    what: str,
    causes: str,
    joined: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Facts: ``sqnr_db`` of each float output; ``sqnr_parts`` where an output mixes ranges; ``agreement``, the share of
    equal values, of each other output; ``concern`` where a ratio is below 20 dB.

    ``source``, ``made``: open the models, one after the other, so that two large ones are never in memory at once.
    ``what``: the step, and ``causes``: what usually is wrong, for messages. ``joined``: output → the axis along which
    the model joins several values. UserError: an output, or a part of a joined one, is below 5 dB.
    """
    answer, kept, room = source(), [], _BYTES
    for batch in feeds:
        outputs = {name: value for name, value in answer(batch).items() if hasattr(value, "dtype")}
        kept.append((batch, outputs))
        room -= sum(value.nbytes for value in outputs.values())
        if room < 0:
            break
    del answer
    answer, tallies = made(), {}
    for batch, outputs in kept:
        found = answer(batch)
        for name, wanted in outputs.items():
            tally = tallies.setdefault(name, _Tally(name))
            tally.add(wanted, _same_form(name, wanted, found.get(name), what))
    return _judged(ctx, tallies, joined or {}, what, causes)


def _same_form(name: str, wanted: np.ndarray, found: Any, what: str) -> np.ndarray:
    import numpy as np

    if found is None or np.shape(found) != wanted.shape:
        form = "no value" if found is None else f"the shape {list(np.shape(found))}"
        raise UserError(
            f"output '{name}' of the model that {what} made has {form}; its source's has the shape {list(wanted.shape)}"
        )
    return np.asarray(found)


class _Tally:
    """Signal and noise of one output, as a whole and for each index of its axes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.float = True
        self.broken = False  # not finite where the source is
        self._same = self._count = 0
        self._signal = self._noise = 0.0
        self.rank = 1
        self._axes: dict[int, tuple[np.ndarray, np.ndarray] | None] = {}

    def add(self, wanted: np.ndarray, found: np.ndarray) -> None:
        import numpy as np

        self.float = wanted.dtype.kind == "f"
        self._same += int(np.count_nonzero(wanted == found))
        self._count += wanted.size
        if not self.float:
            return
        self.rank = max(wanted.ndim, 1)
        finite = np.isfinite(wanted)
        self.broken |= not bool(np.isfinite(found[finite]).all())
        expected = np.where(finite, wanted, 0).astype(np.float64)
        signal = expected**2
        noise = np.where(finite, found.astype(np.float64) - expected, 0) ** 2
        self._signal += float(signal.sum())
        self._noise += float(noise.sum())
        for axis in range(1, wanted.ndim):
            others = tuple(each for each in range(wanted.ndim) if each != axis)
            self._add_axis(axis, signal.sum(axis=others), noise.sum(axis=others))

    def _add_axis(self, axis: int, signal: np.ndarray, noise: np.ndarray) -> None:
        known = self._axes.get(axis, (0.0, 0.0))
        if known is None or len(signal) > _MOST_INDICES or (axis in self._axes and len(known[0]) != len(signal)):
            self._axes[axis] = None  # of another size in each batch: its indices mean nothing
        else:
            self._axes[axis] = (known[0] + signal, known[1] + noise)

    @property
    def sqnr(self) -> float:
        return _ratio(self._signal, self._noise)

    @property
    def agreement(self) -> float:
        return self._same / self._count if self._count else 1.0

    def parts(self) -> dict[int, list[tuple[str, float]]]:
        """Axis → (indices, ratio) of each group of indices whose magnitudes lie together, if there are several."""
        import numpy as np

        found = {}
        for axis, sums in self._axes.items():
            if sums is None or not self._signal:
                continue
            signal, noise = sums
            heard = np.flatnonzero(signal > _LOST**2 * signal.max())
            order = heard[np.argsort(signal[heard], kind="stable")]
            cuts = np.flatnonzero(np.diff(np.log(signal[order])) > 2 * math.log(_APART)) + 1
            groups = np.split(order, cuts)
            if 1 < len(groups) <= _MOST_PARTS:
                found[axis] = [
                    (_spans(sorted(map(int, group))), _ratio(float(signal[group].sum()), float(noise[group].sum())))
                    for group in groups
                ]
        return found


def _ratio(signal: float, noise: float) -> float:
    if noise == 0:
        return EXACT_DB
    return max(-EXACT_DB, 10 * math.log10(max(signal / noise, 1e-30)))


def _spans(indices: Sequence[int]) -> str:
    """``0–3, 5``"""
    spans: list[list[int]] = []
    for index in indices:
        if spans and index == spans[-1][1] + 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    shown = [f"{low}–{high}" if high > low else str(low) for low, high in spans[:4]]
    return ", ".join(shown) + (" …" if len(spans) > 4 else "")


def _judged(
    ctx: Context, tallies: Mapping[str, _Tally], joined: Mapping[str, int], what: str, causes: str
) -> dict[str, Any]:
    facts: dict[str, Any] = {"sqnr_db": {name: round(t.sqnr, 2) for name, t in tallies.items() if t.float}}
    same = {name: round(tally.agreement, 4) for name, tally in tallies.items() if not tally.float}
    if same:
        facts["agreement"] = same
    rows = [(f"output '{name}'", tally.sqnr, True) for name, tally in tallies.items() if tally.float]
    parts: dict[str, float] = {}
    for name, tally in tallies.items():
        join = joined[name] % tally.rank if name in joined else None
        if tally.broken:
            raise UserError(f"{what} made output '{name}' infinite or NaN where its source is finite", hint=causes)
        for axis, groups in tally.parts().items():
            for indices, ratio in groups:
                rows.append((f"part {indices} of axis {axis} of output '{name}'", ratio, join == axis))
                parts[f"{name}[{axis}: {indices}]"] = round(ratio, 2)
    if parts:
        facts["sqnr_parts"] = parts
    for subject, ratio, refuses in rows:
        if refuses and ratio < LEAST:
            raise UserError(
                f"{what} damaged the model: the signal of {subject} is only {ratio:.1f} dB above the noise "
                f"({LEAST:g} is required, {USUAL:g} is usual)",
                hint=causes,
            )
    low = min(rows, key=lambda row: row[1], default=None)
    if low is not None and low[1] < USUAL:
        facts["concern"] = f"the signal of {low[0]} is only {low[1]:.1f} dB above the noise ({USUAL:g} is usual)"
        ctx.log.warning("%s; usual causes: %s", facts["concern"], causes)
    return facts
