"""What a target does with extreme inputs: zeros, saturation, NaN and infinity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from cbuild_kit import fit, fixed_batch
from cbuild_kit.predictions import Predictions
from cbuild_kit.scores import output

from compressbuild.api import Context, ModelInput, UserError

from ..answers.predict import answers, regrouped
from .params.edges import Case, Edges, PredictEdges

__all__ = ["edge_cases", "edge_inputs", "predict_edges"]

_CASES: tuple[str, ...] = get_args(Case)
Feeds = Mapping[str, np.ndarray]


def edge_inputs(case: str, sample: Feeds, least: Mapping[str, Any], greatest: Mapping[str, Any]) -> dict[str, Any]:
    """One sample 1×… of the case. ``least``, ``greatest``: of each input in the data.

    Whole numbers of more than 8 bits are indices: they keep to what the data has. Empty where the case would change
    nothing.
    """
    made, changed = {}, False
    for name, array in sample.items():
        value = _value(case, array.dtype, least[name], greatest[name])
        made[name] = array if value is None else np.full_like(array, value)
        changed = changed or value is not None
    return made if changed else {}


def _value(case: str, dtype: np.dtype[Any], least: Any, greatest: Any) -> Any:
    if case in ("zeros", "least", "greatest"):
        return {"zeros": 0, "least": least, "greatest": greatest}[case]
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        return {"lowest": limits.min, "highest": limits.max, "nan": np.nan, "infinite": np.inf}[case]
    if dtype.kind in "iu" and dtype.itemsize == 1 and case in ("lowest", "highest"):
        return np.iinfo(dtype).min if case == "lowest" else np.iinfo(dtype).max
    return None


def predict_edges(ctx: Context, subject: Path, params: PredictEdges) -> dict[str, Any]:
    """The subject's answer to each case; ``labels`` N×2: which case, and whether the subject refused it."""
    runner = ctx.runner("subject")
    inputs = runner.inputs
    sample, least, greatest = _spans(ctx, params.data, inputs)
    found: dict[str, dict[str, np.ndarray]] = {}
    for number, case in enumerate(params.cases):
        feeds = edge_inputs(case, sample, least, greatest)
        if feeds:
            found[case] = _answer(ctx, runner, case, fit(feeds, inputs), inputs)
        ctx.progress(number + 1, len(params.cases))
    form = next((answer for answer in found.values() if answer), None)
    if form is None:
        raise UserError(f"the model fails on every case: {', '.join(params.cases)}", hint="the node's log shows why")
    outputs = {
        name: np.concatenate([answer.get(name, _nothing(array)) for answer in found.values()])
        for name, array in form.items()
    }
    labels = np.array([[_CASES.index(case), not answer] for case, answer in found.items()], np.int64)
    Predictions(outputs, labels).write(ctx.out)
    return {"count": len(found), "refused": [case for case, answer in found.items() if not answer]}


def _spans(ctx: Context, data: str, inputs: Sequence[ModelInput]) -> tuple[Feeds, dict[str, Any], dict[str, Any]]:
    """The first sample, and the least and greatest number of each input."""
    sample: Feeds = {}
    least: dict[str, Any] = {}
    greatest: dict[str, Any] = {}
    for _, feeds, _labels in regrouped(ctx.dataset(data), [item.name for item in inputs], 512):
        if not sample:
            sample = fit({name: array[:1] for name, array in feeds.items()}, inputs)
        for name, array in feeds.items():
            least[name] = min(least.get(name, array.min()), array.min())
            greatest[name] = max(greatest.get(name, array.max()), array.max())
    if not sample:
        raise UserError("the dataset is empty", hint="a loader yields batches (inputs, labels)")
    return sample, least, greatest


def _answer(ctx: Context, runner: Any, case: str, feeds: Feeds, inputs: Sequence[ModelInput]) -> dict[str, np.ndarray]:
    try:
        with np.errstate(all="ignore"):
            return answers(runner, feeds, 1, fixed_batch(inputs))
    except Exception as error:  # noqa: BLE001  runtimes raise whatever they like for what they do not take
        ctx.log.warning("%s: refused: %s", case, " ".join(str(error).split())[:300])
        return {}


def _nothing(like: np.ndarray) -> np.ndarray:
    return np.full_like(like, np.nan if like.dtype.kind == "f" else 0)


def edge_cases(ctx: Context, subject: Path, params: Edges) -> dict[str, Any]:
    """``{"value": share of cases answered as the baseline does, "n", "per_class": {"nan": {"value": 0 or 1, "n": 1,
    "finite", "baseline_finite", "difference"}}}``.

    As the baseline: refused or not alike, the same numbers finite, and those no farther apart than ``tolerance`` of the
    baseline's largest.
    """
    own, base = Predictions.read(subject), Predictions.read(ctx.artifact("baseline"))
    both = sorted({*own.labels[:, 0].tolist()} & {*base.labels[:, 0].tolist()})
    if not both:
        raise UserError("no case applies to the inputs of both the target and its baseline")
    rows = {_CASES[code]: _compared(own, base, code, params) for code in both}
    value = float(np.mean([row["value"] for row in rows.values()]))
    return {"value": value, "n": len(rows), "rows": "case", "per_class": rows}


def _compared(own: Predictions, base: Predictions, code: int, params: Edges) -> dict[str, Any]:
    (first, refused), (second, other_refused) = (_of(predictions, code, params) for predictions in (own, base))
    if first.shape != second.shape:
        raise UserError(
            f"an output {list(first.shape)} and the baseline's {list(second.shape)} differ in shape",
            hint="both models must have the same outputs; the metric's 'output' chooses one",
        )
    finite, wanted = np.isfinite(first), np.isfinite(second)
    row = {"finite": bool(finite.all()) and not refused, "baseline_finite": bool(wanted.all()) and not other_refused}
    if refused or other_refused:
        return {"value": float(refused == other_refused), "n": 1, **row, "refused": refused}
    both = finite & wanted
    apart = float(np.abs(first[both] - second[both]).max(initial=0.0))
    largest = float(np.abs(second[both]).max(initial=0.0))
    same = bool((finite == wanted).all()) and apart <= params.tolerance * largest
    return {"value": float(same), "n": 1, **row, "difference": apart / largest if largest else apart}


def _of(predictions: Predictions, code: int, params: Edges) -> tuple[np.ndarray, bool]:
    (at,) = np.flatnonzero(predictions.labels[:, 0] == code)
    return output(predictions, params.output)[at].astype(np.float64), bool(predictions.labels[at, 1])
