"""Whether a compiled model computes what its source does: both run on the same samples and seeded inputs.

An output is judged over all cases at once (see ``agreement``), so that a case whose answers are near zero is measured
against the magnitude that the output usually has. Whole numbers and truth values may flip where two answers tie, so of
those a small share may differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from compressbuild.api import Context, Parity, Runner, UserError

from .agreement import Agreement
from .batches import arrays, batches
from .inputs import ModelInput, fit, fixed_batch

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PRECISIONS", "Precision", "Tolerance", "check_parity"]

Precision = Literal["fp32", "fp16", "bf16", "int8"]
MOST_CASES = 24


@dataclass(frozen=True, slots=True)
class Tolerance:
    """``mismatch``: share of whole numbers that may be off."""

    max_error: float
    cosine: float
    sqnr_db: float
    mismatch: float


# A wrong kernel, layout or rounding mode misses these by far; another order of summation stays well within.
PRECISIONS: Mapping[Precision, Tolerance] = {
    "fp32": Tolerance(1e-3, 0.9999, 50, 0.02),
    "fp16": Tolerance(2e-2, 0.999, 30, 0.05),
    "bf16": Tolerance(1e-1, 0.99, 20, 0.1),
    "int8": Tolerance(0.25, 0.99, 17, 0.1),
}


@dataclass(frozen=True, slots=True)
class Case:
    """``judged``: False for inputs whose result is only reported. ``made_up``: the source may refuse them."""

    name: str
    feeds: Mapping[str, np.ndarray]
    judged: bool = True
    made_up: bool = True


Outputs = Mapping[str, "np.ndarray"]


def check_parity(
    ctx: Context,
    settings: Parity,
    precision: Precision,
    source: Callable[[], Runner],
    compiled: Callable[[], Runner],
    *,
    name: str,
) -> dict[str, Any]:
    """Facts: ``max_abs``, ``cosine``, ``sqnr_db`` of the worst output, and ``parity`` with what was tried.

    ``precision``: the coarsest arithmetic of the compiled model. ``source``, ``compiled``: open a Runner; they are
    called one after the other, so that two large models are never in memory at once. ``name``: what runs the compiled
    model, for messages. UserError: an output is beyond its tolerance, or the compiled model refuses what its source
    takes.
    """
    if not settings.check:
        return {"parity": "not checked"}
    try:
        reference = source()
    except UserError as error:
        ctx.log.warning("parity: the source cannot be run: %s", error)
        return {"parity": f"not checked: {error}"}
    inputs = tuple(ModelInput(key, tuple(shape), dtype) for key, (shape, dtype) in reference.inputs.items())
    _check_axes(inputs, settings)
    wanted, refused = _wanted(ctx, reference, inputs, settings)
    del reference
    judged = [case.name for case, _ in wanted if case.judged]
    if not judged:
        ctx.log.warning("parity: the source takes none of the made-up inputs: %s", refused)
        return {"parity": f"not checked: the source takes no made-up inputs ({refused})"}
    runner, limit, edges = compiled(), _tolerance(settings, precision), {}
    tallies = _tallies(wanted, limit)
    for case, outputs in wanted:  # one answer at a time: outputs may be larger than the model
        found = _run(runner, case, name)
        if case.judged:
            _add(tallies, case, outputs, found, name)
        else:
            edges[case.name] = _verdict(outputs, found)
    kinds = next(outputs for case, outputs in wanted if case.judged)
    worst = min(_judge(tallies, kinds, limit, precision, name), key=lambda row: row["sqnr_db"])
    return {
        **{key: worst[key] for key in ("max_abs", "cosine", "sqnr_db")},
        "parity": {"output": worst["output"], "precision": precision, "cases": judged, **edges},
    }


def _tolerance(settings: Parity, precision: Precision) -> Tolerance:
    default = PRECISIONS[precision]
    return Tolerance(
        default.max_error if settings.max_error is None else settings.max_error,
        default.cosine if settings.cosine is None else settings.cosine,
        default.sqnr_db if settings.sqnr_db is None else settings.sqnr_db,
        default.mismatch,
    )


# -- inputs ----------------------------------------------------------------------------------------------------------


def _check_axes(inputs: Sequence[ModelInput], settings: Parity) -> None:
    dynamic = list(dict.fromkeys(axis for item in inputs for axis in item.shape if isinstance(axis, str)))
    for axis in settings.axes:
        if axis not in dynamic:
            raise UserError(
                f"parity: no input has a dynamic axis '{axis}'", hint=f"there are: {', '.join(dynamic) or 'none'}"
            )


def _sizes(inputs: Sequence[ModelInput], settings: Parity) -> Iterator[dict[str, int]]:
    """Sizes of the dynamic axes: all at their last, then each in turn at its others."""
    options: dict[str, list[int]] = {}
    for item in inputs:
        for position, axis in enumerate(item.shape):
            if isinstance(axis, str) and axis not in options:
                options[axis] = settings.axes.get(axis) or ([1, 16] if position == 0 else [8, 16])
    last = {axis: sizes[-1] for axis, sizes in options.items()}
    yield last
    for axis, sizes in options.items():
        yield from ({**last, axis: size} for size in sizes[:-1])


def _cases(ctx: Context, inputs: Sequence[ModelInput], settings: Parity) -> Iterator[Case]:
    import numpy as np

    seed, every = ctx.seed, list(_sizes(inputs, settings))[:MOST_CASES]
    if settings.data is not None:
        yield from _samples(ctx, inputs, settings.data, settings.samples, every[0])
    for number, sizes in enumerate(every):
        shown = "random" + (f" {','.join(f'{axis}={size}' for axis, size in sizes.items())}" if sizes else "")
        yield Case(shown, _feeds(inputs, sizes, np.random.default_rng([seed, number])))
    first = every[0]
    zeros = {item.name: np.zeros(_shape(item, first), item.dtype) for item in inputs}
    yield Case("zeros", zeros)
    normal = _feeds(inputs, first, np.random.default_rng([seed, len(every)]))
    floats = [item for item in inputs if np.dtype(item.dtype).kind == "f"]
    if floats:
        yield Case("extremes", {**normal, **{item.name: _extremes(item, first) for item in floats}}, judged=False)
        spoiled = {item.name: normal[item.name].copy() for item in floats}
        for array in spoiled.values():
            array.reshape(-1)[:1] = np.nan
        yield Case("nan", {**normal, **spoiled}, judged=False)


def _samples(
    ctx: Context, inputs: Sequence[ModelInput], data: str, count: int, sizes: Mapping[str, int]
) -> Iterator[Case]:
    """Samples of a dataset, in batches as large as the model's, or as the largest that is tried."""
    columns, labels = arrays(ctx.dataset(data), [item.name for item in inputs], limit=count)
    fixed = fixed_batch(inputs)
    size = fixed or next((sizes[axis] for item in inputs for axis in item.shape[:1] if isinstance(axis, str)), 1)
    if fixed is not None and len(labels) < fixed:
        raise UserError(f"parity: '{data}' gives {len(labels)} samples, and the model takes {fixed} at once")
    for number, (batch, chosen) in enumerate(batches(fit(columns, inputs), labels, size)):
        if fixed is None or len(chosen) == fixed:
            yield Case(f"{data} {number * size}–{number * size + len(chosen) - 1}", batch, made_up=False)


def _shape(item: ModelInput, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes[axis] if isinstance(axis, str) else axis for axis in item.shape)


def _feeds(inputs: Sequence[ModelInput], sizes: Mapping[str, int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Floats standard normal; whole numbers 0 or 1, the first of each row 1 (token ids, a mask that is never empty)."""
    import numpy as np

    made = {}
    for item in inputs:
        shape, dtype = _shape(item, sizes), np.dtype(item.dtype)
        if dtype.kind == "f":
            made[item.name] = rng.standard_normal(shape).astype(dtype)
        else:
            values = rng.integers(0, 2, shape)
            values[..., :1] = 1
            made[item.name] = np.asarray(values, dtype)
    return made


def _extremes(item: ModelInput, sizes: Mapping[str, int]) -> np.ndarray:
    import numpy as np

    limits, shape = np.finfo(item.dtype), _shape(item, sizes)
    values = np.resize(np.array([limits.max, limits.min, limits.tiny, 0], item.dtype), math.prod(shape))
    return values.reshape(shape)


# -- running ---------------------------------------------------------------------------------------------------------


def _wanted(
    ctx: Context, reference: Runner, inputs: Sequence[ModelInput], settings: Parity
) -> tuple[list[tuple[Case, Outputs]], str]:
    """The cases that the source takes, with its answers, and why it refused the last of the others."""
    kept, refused = [], ""
    for case in _cases(ctx, inputs, settings):
        try:
            kept.append((case, _numeric(reference(case.feeds))))
        except Exception as error:  # a runtime's border: whatever it raises, made-up inputs may be wrong
            refused = " ".join(str(error).split())[:300]
            if not case.made_up:
                raise UserError(f"parity: the source does not take '{case.name}': {refused}") from error
            ctx.log.info("parity: the source does not take the case '%s': %s", case.name, refused)
    return kept, refused


def _numeric(outputs: Mapping[str, Any]) -> Outputs:
    """Text, sequences and maps cannot be compared."""
    found = {name: value for name, value in outputs.items() if _kind(value) in "biuf"}
    if not found:
        raise UserError("it has no numeric output")
    return found


def _kind(value: Any) -> str:
    return str(getattr(getattr(value, "dtype", None), "kind", "none"))


def _run(runner: Runner, case: Case, name: str) -> Outputs:
    try:
        return runner(case.feeds)
    except Exception as error:
        if not case.judged:
            return {}
        text = " ".join(str(error).split())[:300]
        raise UserError(
            f"parity: {name} does not take the case '{case.name}', which the source takes: {text}",
            hint="if such inputs never come, name the sizes that do: parity: {axes: {…}}",
        ) from error


# -- judging ---------------------------------------------------------------------------------------------------------


def _tallies(wanted: Sequence[tuple[Case, Outputs]], limit: Tolerance) -> dict[str, Agreement]:
    """For each output of the source, over all cases that are judged."""
    cases = [outputs for case, outputs in wanted if case.judged]
    return {
        output: Agreement((outputs[output] for outputs in cases if output in outputs), limit.max_error)
        for output in cases[0]
    }


def _add(tallies: Mapping[str, Agreement], case: Case, wanted: Outputs, found: Outputs, name: str) -> None:
    import numpy as np

    for output, tally in tallies.items():
        if output not in found:
            raise UserError(f"parity: {name} has no output '{output}'", hint=f"it has: {', '.join(found)}")
        expected, got = np.asarray(wanted[output]), np.asarray(found[output])
        if expected.shape != got.shape:
            raise UserError(
                f"parity: {name} gives '{output}' the shape {list(got.shape)}, its source {list(expected.shape)} "
                f"(case '{case.name}')"
            )
        if not tally.add(expected, got):
            raise UserError(
                f"parity: {name} gives '{output}' values that are not finite where its source's are "
                f"(case '{case.name}')"
            )


def _judge(
    tallies: Mapping[str, Agreement], kinds: Outputs, limit: Tolerance, precision: Precision, name: str
) -> list[dict[str, Any]]:
    """Measures of each output; UserError for one beyond its tolerance. ``kinds``: an array of each."""
    result = []
    for output, tally in tallies.items():
        row = {"output": output, **tally.measures()}
        whole = kinds[output].dtype.kind in "biu"
        wrong = _share(tally.off, limit) if whole else _beyond(row, limit)
        if wrong:
            raise UserError(
                f"parity: output '{output}' of {name} is not what its source computes: {wrong}, "
                f"beyond the tolerance of {precision}",
                hint="is the hardware's arithmetic coarser than the model's? else allow more with 'parity:'",
            )
        result.append(row)
    return result


def _beyond(row: Mapping[str, float], limit: Tolerance) -> str:
    """What of a row misses its limit, or nothing."""
    wrong = []
    if row["max_error"] > limit.max_error:
        wrong.append(
            f"differs by up to {row['max_abs']:.3g}, {row['max_error']:.3g} of its magnitude "
            f"(allowed: {limit.max_error:g})"
        )
    if row["cosine"] < limit.cosine:
        wrong.append(f"cosine {row['cosine']:.4f} (at least {limit.cosine:g})")
    if row["sqnr_db"] < limit.sqnr_db:
        wrong.append(f"SQNR {row['sqnr_db']:.1f} dB (at least {limit.sqnr_db:g})")
    return ", ".join(wrong)


def _share(off: float, limit: Tolerance) -> str:
    return f"{off:.1%} of its values differ (allowed: {limit.mismatch:.0%})" if off > limit.mismatch else ""


def _verdict(wanted: Outputs, found: Outputs) -> str:
    """Whether two models treat inputs that are hardly meant alike: infinities and NaNs in the same places."""
    import numpy as np

    if not found:
        return "refused"
    for output, expected in wanted.items():
        if expected.dtype.kind != "f":
            continue
        got = np.asarray(found.get(output, np.nan))
        if got.shape != expected.shape or not np.array_equal(np.isfinite(got), np.isfinite(expected)):
            return "not as the source"
    return "as the source"
