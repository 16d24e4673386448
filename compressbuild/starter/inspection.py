"""What a model is made of, counted in a worker by the census of its kind: nothing of it runs here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..api import ArtifactMetric
from ..errors import NodeFailed, UsageError
from ..graph import Ask
from ..project import Project
from ..report.data.profiling import ask_profile, profile_of
from .flow import flow
from .model import Given

__all__ = ["Found", "Time", "inspect"]

_TARGET = "inspected"
_COUNTING = "compressbuild.api.counting"
_WEIGHTS = ArtifactMetric(name="inspected-weights", run=f"{_COUNTING}:weights", of="model", census=True)
_ARITHMETIC = ArtifactMetric(name="inspected-arithmetic", run=f"{_COUNTING}:arithmetic", of="model", census=True)
_RECURRENT = ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell", "DynamicQuantizeLSTM")
_PRODUCTS = ("bmm", "baddbmm")  # of two activations: attention, as torch counts it
_ATTENTION = ("Attention", "MultiHeadAttention", "GroupQueryAttention", "MultiheadAttention")
_CONVOLUTIONS = ("conv", "Conv")
_PROJECTIONS = 4  # an attention layer has as many products with weights: queries, keys, values, outputs
_RUNS, _WARMUP = 5, 1  # under the profiler: enough to see where the time goes, not to compare
_SHOWN = 3  # operators, and layers
_MAIN = 0.9  # of the arithmetic: what has as much of it names the family


class Time(msgspec.Struct, frozen=True):
    """Where the time of a run goes, by the profiler of the reference runtime. ``us``: of a run of one sample.
    ``operators``: (type, share), the longest first; ``layers``: (name, type, share), empty where the profiler does not
    tell operators of a type apart."""

    us: float
    runtime: str
    operators: tuple[tuple[str, float], ...]
    layers: tuple[tuple[str, str, float], ...]


class Found(msgspec.Struct, frozen=True):
    """``largest``: (name, layer's type, shape, numbers, bytes) of the largest tensors. ``operators``: types of
    the layers with weights. ``macs``: None where they
    cannot be counted; ``axes``: the sizes that they were counted with. ``time``: None where it cannot be measured."""

    family: str
    parameters: int
    size: int
    largest: tuple[tuple[str, str, tuple[int, ...], int, int], ...]
    operators: frozenset[str]
    macs: int | None
    axes: Mapping[str, int] = {}
    time: Time | None = None


def inspect(given: Given, path: Path, cache: Path | None = None) -> Found:
    """Builds the model's source, and counts it. ``path``: where the Compressfile will be; it need not be there."""
    text = f"version: 1\nmodels: {flow({given.name: given.entry})}\ntargets: {{{_TARGET}: {{from: {given.name}}}}}\n"
    project = Project(path, text=text, cache=cache)
    try:
        weights, macs, profile = _measured(project)
    finally:
        project.close()
    return msgspec.structs.replace(_found(given, weights, macs), time=_time(profile))


def _measured(project: Project) -> tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any] | None]:
    """All in one build, so that the model's libraries are imported once. What cannot be measured is left out."""
    from ..build.run import build_targets
    from ..evaluate.results import Results
    from ..report.text.progress import PlainProgress

    asks = [Ask(record, _TARGET, alone=True) for record in (_WEIGHTS, _ARITHMETIC)]
    try:
        asks.append(ask_profile(project, _TARGET, batch=1, repeats=_RUNS, warmup=_WARMUP))
    except UsageError:  # its reference runtime has no profiler
        profiled = ""
    else:
        profiled = asks[-1].metric.name
    project.ask(*asks)
    report = build_targets(
        project,
        selection=project.select((_TARGET,)),
        observers=[PlainProgress(sys.stderr)],
        keep_going=True,
        publish=False,
    )
    (outcome,) = report.targets
    plans = {plan.name: plan for plan in project.graph.targets[_TARGET].asked}
    results = Results.of_plan(project.store, project.plan((_TARGET,)))
    weights = results.metric(plans[_WEIGHTS.name])
    if weights is None:
        raise NodeFailed(
            f"the model could not be inspected: {outcome.reason or plans[_WEIGHTS.name].reason}",
            hint="what is said above of the node that failed has the cause",
        )
    profile = results.metric(plans[profiled]) if profiled else None
    return weights, results.metric(plans[_ARITHMETIC.name]), profile


def _time(result: Mapping[str, Any] | None) -> Time | None:
    """Of what a profiler returned; None where it returned nothing that can be read."""
    if result is None:
        return None
    try:
        found = profile_of(result)
    except msgspec.ValidationError:
        return None
    whole = sum(each.time_us for each in found.operators)
    if not whole:
        return None
    kinds: dict[str, float] = {}
    for each in found.operators:
        kinds[each.op] = kinds.get(each.op, 0.0) + each.time_us / whole
    single = [(each.name, each.op, each.time_us / whole) for each in found.operators if each.name != each.op]
    return Time(
        us=found.run_us,
        runtime=str(found.describe.get("runtime", "")),
        operators=tuple(sorted(kinds.items(), key=lambda item: -item[1])[:_SHOWN]),
        layers=tuple(sorted(single, key=lambda item: -item[2])[:_SHOWN]),
    )


def _found(given: Given, weights: Mapping[str, Any], macs: Mapping[str, Any] | None) -> Found:
    rows = weights["tensors"]
    largest = sorted(rows, key=lambda row: -int(row["bytes"]))[:5]
    arithmetic = macs["by_operator"] if macs is not None else {}
    return Found(
        family=_family(given, rows, arithmetic),
        parameters=weights["value"],
        size=weights["bytes"],
        largest=tuple((r["name"], r["op"], tuple(r["shape"]), r["n"], r["bytes"]) for r in largest),
        operators=frozenset(row["op"] for row in rows),
        macs=macs["value"] if macs is not None else None,
        axes=macs.get("axes", {}) if macs is not None else {},
    )


def _family(given: Given, rows: Iterable[Mapping[str, Any]], arithmetic: Mapping[str, int]) -> str:
    """By its layers and its arithmetic; of a Hugging Face directory whether it decodes, by its configuration."""
    rows = list(rows)
    kinds = [row["op"] for row in rows]
    convolves = _share(arithmetic, rows)
    if any(kind in _RECURRENT for kind in kinds):
        return "mix" if convolves > 1 - _MAIN else "rnn"
    attends = any(name in arithmetic for name in (*_PRODUCTS, *_ATTENTION)) or any(k in _ATTENTION for k in kinds)
    # In a graph of operators the products of an attention look like others; those with weights are several.
    attends = attends or kinds.count("MatMul") >= _PROJECTIONS
    if not attends:
        return "cnn" if convolves > 0 else "mlp"
    if convolves > 1 - _MAIN and sum(kind.startswith(_CONVOLUTIONS) for kind in kinds) > 1:  # one cuts the patches
        return "cnn" if convolves >= _MAIN else "mix"
    return "transformer-decoder" if _decodes(given.config) else "transformer-encoder"


def _share(arithmetic: Mapping[str, int], rows: Iterable[Mapping[str, Any]]) -> float:
    """Of the arithmetic, or else of the weights, what is convolutions."""
    counted: list[tuple[str, int]] = list(arithmetic.items()) or [(row["op"], row["n"]) for row in rows]
    total = sum(value for _, value in counted)
    return sum(value for name, value in counted if name.startswith(_CONVOLUTIONS)) / total if total else 0.0


def _decodes(config: Mapping[str, Any]) -> bool:
    names = [str(name) for name in config.get("architectures") or ()]
    return bool(config.get("is_decoder")) or any(name.endswith(("CausalLM", "LMHeadModel")) for name in names)
