"""Whether a compiled model computes what its source does: both run on the same samples and seeded inputs.

An output is judged over all cases at once (see ``agreement``), so that a case whose answers are near zero is measured
against the magnitude that the output usually has. Whole numbers and truth values may flip where two answers tie, so a
small share of them may differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from compressbuild.api import Context, ModelInput, Parity, Runner, UserError

from .agreement import Agreement
from .batching import arrays, batches
from .fidelity import LEAST
from .inputs import fit, fixed_batch
from .probes import first_range, probe, probe_arrays

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PRECISIONS", "Precision", "Tolerance", "check_parity"]

Precision = Literal["fp32", "fp16", "bf16", "int8"]


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

_CAUSES: Mapping[Precision, str] = {
    "fp32": "compiling fixed a size or a branch of the model, or the runtime computes in a narrower type",
    "fp16": "values beyond 65504, or sums that need more than 11 bits: keep such operators in float32",
    "bf16": "sums or differences that need more than 8 bits: keep such operators in float32",
    "int8": "an 8-bit kernel that computes something else or rounds differently: a number for the batch in 'inputs:', "
    "or operators kept in float ('exclude:'), lead to other kernels",
}
_SHAPE = (
    "at the sizes of this case the runtime computes something else than the source. If the model is never given such "
    "sizes, name the least and the largest that it is given: 'parity: {axes: {AXIS: [LEAST, LARGEST]}}'"
)
_SATURATES = (
    "8-bit products that saturate, for this processor is an x86-64 without VNNI: quantize weights to 7 bits "
    "('reduce-range: true')"
)
_EXACT = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})


@dataclass(frozen=True, slots=True)
class Case:
    """``judged``: False for inputs whose result is only reported."""

    name: str
    feeds: Mapping[str, np.ndarray]
    judged: bool = True


Outputs = Mapping[str, "np.ndarray"]


def check_parity(
    ctx: Context,
    settings: Parity,
    precision: Precision,
    source: Callable[[], Runner],
    compiled: Callable[[], Runner],
    *,
    name: str,
    rows: Mapping[str, int] | None = None,
    again: Callable[[], Runner] | None = None,
    saturates: bool = False,
) -> dict[str, Any]:
    """Facts: ``max_abs``, ``cosine``, ``sqnr_db`` of the worst output, and ``parity`` with what was tried.

    ``precision``: the coarsest arithmetic of the compiled model. ``source``, ``compiled``: open a Runner; they are
    called one after the other, so that two large models are never in memory at once. ``name``: what runs the compiled
    model, for messages. ``rows``: integer input → rows of the table that it indexes, so that ids reach them all.
    ``again``: opens the source so that it rounds floats in another order. In a deep model where one scale stands for a
    whole tensor, that alone can move answers far; then twice as much is allowed, and ``concern`` says so.
    ``saturates``: as in the backend's record. UserError: an output is beyond its tolerance, or the compiled model
    rejects what its source accepts.
    """
    if not settings.check:
        return {"parity": "not checked"}
    try:
        reference = source()
    except UserError as error:
        ctx.log.warning("parity: the source cannot be run: %s", error)
        return {"parity": f"not checked: {error}"}
    inputs = tuple(reference.inputs)
    _check_axes(inputs, settings)
    wanted, refused = _wanted(ctx, reference, inputs, settings, rows or {})
    del reference
    judged = [case.name for case, _ in wanted if case.judged]
    if not judged:
        why = next(reversed(refused.values()), "")
        ctx.log.warning("parity: the source rejects all generated inputs: %s", why)
        return {"parity": f"not checked: the source rejects generated inputs ({why})"}
    runner, limit, edges = compiled(), _tolerance(settings, precision), {}
    tallies = _tallies(wanted, limit)
    farthest: dict[str, str] = {}
    for case, outputs in wanted:  # one answer at a time: outputs may be larger than the model
        found = _run(runner, case, name)
        if case.judged:
            _add(tallies, case, outputs, found, name, farthest)
        else:
            edges[case.name] = _verdict(outputs, found)
    kinds = next(outputs for case, outputs in wanted if case.judged)
    facts: dict[str, Any] = {}
    if again is not None and settings.max_error is settings.cosine is settings.sqnr_db is None:
        del runner
        limit, facts = _with_sway(ctx, tallies, wanted, limit, again)
    cause = _SATURATES if precision == "int8" and saturates and _lacks_vnni(ctx.facts) else _CAUSES[precision]
    rows_judged = _judge(tallies, kinds, limit, precision, name, farthest, cause)
    worst = min(rows_judged, key=lambda row: row["sqnr_db"])
    tried: dict[str, Any] = {"output": worst["output"], "precision": precision, "cases": judged, **edges}
    if refused:
        tried["refused"] = refused
    return {**{key: worst[key] for key in ("max_abs", "cosine", "sqnr_db")}, "parity": tried, **facts}


def _lacks_vnni(facts: Mapping[str, Any]) -> bool:
    """Whether the processor is known to be an x86-64 without VNNI."""
    return facts.get("cpu.arch") == "x86_64" and bool(isa := facts.get("cpu.isa")) and _EXACT.isdisjoint(isa)


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


def _samples(ctx: Context, inputs: Sequence[ModelInput], data: str, settings: Parity) -> Iterator[Case]:
    """Samples of a dataset, in batches as large as the model's, or as the largest that is tried."""
    columns, labels = arrays(ctx.dataset(data), [item.name for item in inputs], limit=settings.samples)
    fixed = fixed_batch(inputs)
    least, size = first_range(inputs, settings.axes) if fixed is None else (fixed, fixed)
    if len(labels) < least:
        raise UserError(f"parity: '{data}' gives {len(labels)} samples, but the model takes {least} at once")
    for number, (batch, chosen) in enumerate(batches(fit(columns, inputs), labels, size)):
        if len(chosen) >= least:
            yield Case(f"{data} {number * size}–{number * size + len(chosen) - 1}", batch)


def _edges(
    inputs: Sequence[ModelInput], sizes: Mapping[str, int], rows: Mapping[str, int], rng: np.random.Generator
) -> Iterator[Case]:
    """Zeros, and the largest finite floats."""
    import numpy as np

    yield Case("zeros", {item.name: np.zeros(_shape(item, sizes), item.dtype) for item in inputs})
    normal = probe_arrays(inputs, sizes, rng, rows)
    floats = [item for item in inputs if np.dtype(item.dtype).kind == "f"]
    if floats:
        yield Case("extremes", {**normal, **{item.name: _extremes(item, sizes) for item in floats}}, judged=False)
        spoiled = {item.name: normal[item.name].copy() for item in floats}
        for array in spoiled.values():
            array.reshape(-1)[:1] = np.nan
        yield Case("nan", {**normal, **spoiled}, judged=False)


def _shape(item: ModelInput, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes[axis] if isinstance(axis, str) else axis for axis in item.shape)


def _extremes(item: ModelInput, sizes: Mapping[str, int]) -> np.ndarray:
    import numpy as np

    limits, shape = np.finfo(item.dtype), _shape(item, sizes)
    values = np.resize(np.array([limits.max, limits.min, limits.tiny, 0], item.dtype), math.prod(shape))
    return values.reshape(shape)


# -- running ---------------------------------------------------------------------------------------------------------


def _wanted(
    ctx: Context, reference: Runner, inputs: Sequence[ModelInput], settings: Parity, rows: Mapping[str, int]
) -> tuple[list[tuple[Case, Outputs]], dict[str, str]]:
    """The cases that the source takes, with its answers, and why it refused each of the others."""
    import numpy as np

    kept: list[tuple[Case, Outputs]] = []
    for case in _samples(ctx, inputs, settings.data, settings) if settings.data is not None else ():
        try:
            kept.append((case, _numeric(reference(case.feeds))))
        except Exception as error:  # a runtime's border
            raise UserError(f"parity: the source rejects the case '{case.name}': {_line(error)}") from error
    probed = probe(inputs, lambda feeds: _numeric(reference(feeds)), axes=settings.axes, rows=rows, seed=ctx.seed)
    kept.extend((Case(item.name, item.feeds), outputs) for item, outputs in probed.taken)
    refused = probed.refused
    if probed.taken:
        for case in _edges(inputs, probed.start, rows, np.random.default_rng([ctx.seed, 1 << 16])):
            try:
                kept.append((case, _numeric(reference(case.feeds))))
            except Exception as error:  # noqa: BLE001 a runtime's border: made-up inputs may be wrong
                refused[case.name] = _line(error)
    for shown, why in refused.items():
        ctx.log.info("parity: the source rejects the case '%s': %s", shown, why)
    return kept, refused


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


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
        raise UserError(
            f"parity: {name} fails on the case '{case.name}', which its source accepts: {_line(error)}",
            hint="compiling fixed a size that is dynamic in 'inputs:': write the number there; "
            "if only some sizes occur, list them: 'parity: {axes: {…}}'",
        ) from error


# -- judging ---------------------------------------------------------------------------------------------------------


def _tallies(wanted: Sequence[tuple[Case, Outputs]], limit: Tolerance) -> dict[str, Agreement]:
    """For each output of the source, over all cases that are judged."""
    cases = [outputs for case, outputs in wanted if case.judged]
    return {
        output: Agreement((outputs[output] for outputs in cases if output in outputs), limit.max_error)
        for output in cases[0]
    }


def _add(
    tallies: Mapping[str, Agreement],
    case: Case,
    wanted: Outputs,
    found: Outputs,
    name: str,
    farthest: dict[str, str],
) -> None:
    """``farthest``: output → the case in which it is farthest off, kept up to date."""
    import numpy as np

    for output, tally in tallies.items():
        if output not in found:
            raise UserError(f"parity: {name} has no output '{output}'", hint=f"it has: {', '.join(found)}")
        expected, got = np.asarray(wanted[output]), np.asarray(found[output])
        if expected.shape != got.shape:
            raise UserError(
                f"parity: output '{output}' of {name} has the shape {list(got.shape)}, its source's "
                f"{list(expected.shape)} (case '{case.name}')",
                hint=_SHAPE,
            )
        before = tally.worst
        finite = tally.add(expected, got)
        if tally.worst > before:
            farthest[output] = case.name
        if not finite:
            raise UserError(
                f"parity: output '{output}' of {name} is infinite or NaN where its source's is finite "
                f"(case '{case.name}')"
            )


def _judge(
    tallies: Mapping[str, Agreement],
    kinds: Outputs,
    limit: Tolerance,
    precision: Precision,
    name: str,
    farthest: Mapping[str, str],
    cause: str,
) -> list[dict[str, Any]]:
    """Measures of each output; UserError for one beyond its tolerance. ``kinds``: an array of each. ``cause``: the
    likely one, for the hint."""
    result = []
    for output, tally in tallies.items():
        row = {"output": output, **tally.measures()}
        whole = kinds[output].dtype.kind in "biu"
        wrong = _share(tally.off, limit) if whole else _beyond(row, limit)
        if wrong:
            where = farthest.get(output, "zeros")  # nothing is off where a limit asks for more than equality
            raise UserError(
                f"parity: output '{output}' of {name} is not what its source computes: {wrong}, "
                f"beyond the tolerance of {precision}, worst in the case '{where}'",
                hint=f"{cause}; to compare on real samples, 'parity: {{data: NAME}}'",
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


def _with_sway(
    ctx: Context,
    tallies: Mapping[str, Agreement],
    wanted: Sequence[tuple[Case, Outputs]],
    limit: Tolerance,
    again: Callable[[], Runner],
) -> tuple[Tolerance, dict[str, Any]]:
    """The tolerance of a model whose own rounding decides its answers, and the concern; as it was for any other.

    It never goes below the SQNR at which a quantized model counts as another one.
    """
    if not any(_beyond(tally.measures(), limit) for tally in tallies.values()):
        return limit, {}
    runner, own = again(), _tallies(wanted, limit)
    for case, outputs in wanted:
        if case.judged:
            _add(own, case, outputs, _run(runner, case, "the source"), "the source", {})
    rows = [tally.measures() for tally in own.values()]
    sway = max(row["max_error"] for row in rows)
    allowed = Tolerance(
        max(limit.max_error, 2 * sway),
        min(limit.cosine, 1 - 4 * (1 - min(row["cosine"] for row in rows))),
        min(limit.sqnr_db, max(LEAST, min(row["sqnr_db"] for row in rows) - 6)),
        limit.mismatch,
    )
    if allowed == limit:
        return limit, {}
    concern = f"rounding in another order alone moves its answers by {sway:.2g} of their magnitude"
    ctx.log.warning("parity: %s: a wrong kernel that does no more is not seen", concern)
    return allowed, {"concern": concern}


def _share(off: float, limit: Tolerance) -> str:
    return f"{off:.1%} of its values differ (allowed: {limit.mismatch:.0%})" if off > limit.mismatch else ""


def _verdict(wanted: Outputs, found: Outputs) -> str:
    """Whether two models agree on extreme inputs: infinities and NaNs in the same places."""
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
