"""Mixed precision by measured sensitivity: the layers that 8 bits hurt most stay float.

As in accuracy-aware quantization of OpenVINO, and in HAWQ (Dong et al. 2019) with the metric itself for curvature.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import arrays, fit, fixed_batch, require_labels

from compressbuild.api import Context, UserError

from ..model import files
from ..model.runner import OnnxRunner, declared_inputs, session
from .checking import compared
from .params import QuantizeMixed
from .static import CAUSES, Calibrated, calibrate, quantize_nodes

__all__ = ["quantize"]

_BATCH = 64
_SILENT = 200.0  # decibels: no noise at all


@dataclass(frozen=True, slots=True)
class _Layer:
    """What quantizing this layer alone does. ``drop``: of the metric; ``sqnr``: of the outputs, decibels."""

    name: str
    drop: float
    sqnr: float


class _Judge:
    """Measures models on the validation data, against the float model."""

    def __init__(self, ctx: Context, source: Path, params: QuantizeMixed) -> None:
        inputs = declared_inputs(session(source, threads=ctx.threads, optimise=False))
        columns, labels = arrays(ctx.dataset(params.validation or params.data), [item.name for item in inputs])
        fixed = fixed_batch(inputs)
        whole = len(labels) - len(labels) % fixed if fixed else len(labels)
        self._inputs = {name: column[:whole] for name, column in fit(columns, inputs).items()}
        self._labels, self._batch = labels[:whole], fixed or _BATCH
        self._ctx = ctx
        self._score = _metric(ctx, params, self._labels)
        self._wanted = self._run(source)
        self.score = self._score(self._wanted)
        self.measured = 0

    def _run(self, path: Path) -> dict[str, np.ndarray]:
        runner = OnnxRunner(path, threads=self._ctx.threads)
        parts = [
            runner({name: column[start : start + self._batch] for name, column in self._inputs.items()})
            for start in range(0, len(self._labels), self._batch)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def __call__(
        self, ready: Calibrated, *, only: Iterable[str] = (), without: Iterable[str] = ()
    ) -> tuple[float, float]:
        """Score, and SQNR of all float outputs in decibels; ``only``, ``without``: of ``Calibrated.quantized``."""
        place = self._ctx.scratch / "candidate"
        place.mkdir(exist_ok=True)
        found = self._run(ready.write(ready.quantized(only=only, without=without), place))
        self.measured += 1
        power = noise = 0.0
        for name, wanted in self._wanted.items():
            if wanted.dtype.kind == "f":
                power += float(np.sum(wanted.astype(np.float64) ** 2))
                noise += float(np.sum((found[name].astype(np.float64) - wanted) ** 2))
        sqnr = 10 * math.log10(power / noise) if noise > 0 and power > 0 else _SILENT
        return self._score(found), sqnr


def _metric(ctx: Context, params: QuantizeMixed, labels: np.ndarray) -> Callable[[dict[str, np.ndarray]], float]:
    if params.score is not None:
        function = ctx.function(params.score)
        return lambda outputs: float(function(outputs, labels))
    if params.metric == "sqnr":
        return lambda outputs: 0.0  # judged by the ratio itself

    require_labels(labels, "'metric: top1'")

    def top1(outputs: dict[str, np.ndarray]) -> float:
        first = next(iter(outputs.values()))
        if first.shape[:-1] != labels.shape or labels.dtype.kind not in "iub":
            raise UserError(
                f"top1 needs integer labels of shape {list(first.shape[:-1])}, they are {labels.dtype} "
                f"{list(labels.shape)}",
                hint="use 'metric: sqnr', or a 'score:' of your own",
            )
        return float((first.argmax(-1) == labels).mean())

    return top1


def quantize(ctx: Context, model: Path, params: QuantizeMixed) -> dict[str, Any]:
    """Write the cheapest assignment found; returns scores, each layer that stayed float, and each layer's sensitivity
    if it had to be measured."""
    judge = _Judge(ctx, files.find(model), params)
    ready = calibrate(ctx, model, params)
    names = _layers(ready, params)
    score, sqnr = judge(ready)
    layers = {} if _good(params, judge.score - score, sqnr) else _sensitivity(ctx, ready, names, judge)
    ranked = sorted(layers, key=lambda name: (-layers[name].drop, layers[name].sqnr))
    kept: list[str] = []
    final, ratio = score, sqnr
    while not _good(params, judge.score - final, ratio):
        if len(kept) == len(ranked):
            raise UserError(
                f"{_limit(params)} cannot be met even with every layer in float",
                hint="activations between layers are still quantized: 'op-types: [Conv, MatMul, Gemm]' leaves them in "
                "float; if that does not help, 8 bits cannot meet this limit",
            )
        kept.append(ranked[len(kept)])
        final, ratio = judge(ready, without=kept)
        ctx.log.info("%s in float: score %.4f, SQNR %.1f dB", kept[-1], final, ratio)
    kept, final, ratio = _give_back(ready, judge, params, kept, (final, ratio))
    made = ready.quantized(without=kept)
    count = quantize_nodes(made)
    ready.write(made, ctx.out)
    facts: dict[str, Any] = (
        {}
        if params.metric == "sqnr" and params.score is None
        else {"score": final, "score_float": judge.score, "score_int8": score}
    )
    return {
        **facts,
        "sqnr": round(ratio, 3),
        "sqnr_int8": round(sqnr, 3),
        "layers": len(names),
        "kept_float": [_fact(layers[name]) for name in kept],
        "sensitivity": [_fact(layers[name]) for name in ranked],
        "quantize_nodes": count,
        "calibration": ready.variety,
        "measured": judge.measured,
        **compared(ctx, ready.source, params.validation or params.data, what="quantize.mixed", causes=CAUSES),
    }


def _fact(layer: _Layer) -> dict[str, Any]:
    return {"layer": layer.name, "drop_alone": round(layer.drop, 6), "sqnr_alone": round(layer.sqnr, 3)}


def _layers(ready: Calibrated, params: QuantizeMixed) -> list[str]:
    """Names of the layers with constant weights that will be quantized, in graph order."""
    proto = files.read(ready.model, weights=False)
    constants = {tensor.name for tensor in proto.graph.initializer}
    skipped = set(ready.skipped)
    found = [
        node.name
        for node in proto.graph.node
        if node.op_type in params.layers
        and node.op_type in ready.operators
        and node.input[1] in constants
        and node.name
        and node.name not in skipped
    ]
    if not found:
        raise UserError(
            f"the model has no {' or '.join(params.layers)} with constant weights", hint="see 'layers:' and 'exclude:'"
        )
    return found


def _sensitivity(ctx: Context, ready: Calibrated, names: list[str], judge: _Judge) -> dict[str, _Layer]:
    """Each layer quantized alone."""
    found = {}
    for number, name in enumerate(names):
        score, sqnr = judge(ready, only=[name])
        found[name] = _Layer(name, judge.score - score, sqnr)
        ctx.progress(number + 1, len(names), stage="sensitivity")
    return found


def _good(params: QuantizeMixed, drop: float, sqnr: float) -> bool:
    if params.metric == "sqnr" and params.score is None:
        return sqnr >= params.min_sqnr
    return drop <= params.max_drop + 1e-12


def _limit(params: QuantizeMixed) -> str:
    by_ratio = params.metric == "sqnr" and params.score is None
    return f"'min-sqnr: {params.min_sqnr:g}'" if by_ratio else f"'max-drop: {params.max_drop:g}'"


def _give_back(
    ready: Calibrated, judge: _Judge, params: QuantizeMixed, kept: Iterable[str], now: tuple[float, float]
) -> tuple[list[str], float, float]:
    """Quantize again whatever turns out not to be needed in float, the least sensitive first (the last one is)."""
    left = list(kept)
    for name in left[-2::-1]:
        fewer = [other for other in left if other != name]
        score, sqnr = judge(ready, without=fewer)
        if _good(params, judge.score - score, sqnr):
            left, now = fewer, (score, sqnr)
    return left, *now
