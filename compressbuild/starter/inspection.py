"""What a model is made of, counted in a worker by the census of its kind: nothing of it runs here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..api import ArtifactMetric
from ..errors import NodeFailed
from ..graph import Ask
from ..project import Project
from .flow import flow
from .model import Given

__all__ = ["Found", "inspect"]

_TARGET = "inspected"
_COUNTING = "compressbuild.api.counting"
_WEIGHTS = ArtifactMetric(name="inspected-weights", run=f"{_COUNTING}:weights", of="model", census=True)
_ARITHMETIC = ArtifactMetric(name="inspected-arithmetic", run=f"{_COUNTING}:arithmetic", of="model", census=True)
_RECURRENT = ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell", "DynamicQuantizeLSTM")
_PRODUCTS = ("bmm", "baddbmm")  # of two activations: attention, as torch counts it
_ATTENTION = ("Attention", "MultiHeadAttention", "GroupQueryAttention", "MultiheadAttention")
_CONVOLUTIONS = ("conv", "Conv")
_PROJECTIONS = 4  # an attention layer has as many products with weights: queries, keys, values, outputs
_MAIN = 0.9  # of the arithmetic: what has as much of it names the family


class Found(msgspec.Struct, frozen=True):
    """``largest``: (name, layer's type, shape, numbers, bytes) of the largest tensors. ``operators``: types of
    the layers with weights. ``macs``: None where they
    cannot be counted; ``axes``: the sizes that they were counted with."""

    family: str
    parameters: int
    size: int
    largest: tuple[tuple[str, str, tuple[int, ...], int, int], ...]
    operators: frozenset[str]
    macs: int | None
    axes: Mapping[str, int] = {}


def inspect(given: Given, path: Path, cache: Path | None = None) -> Found:
    """Builds the model's source, and counts it. ``path``: where the Compressfile will be; it need not be there."""
    text = f"version: 1\nmodels: {flow({given.name: given.entry})}\ntargets: {{{_TARGET}: {{from: {given.name}}}}}\n"
    project = Project(path, text=text, cache=cache)
    try:
        weights, macs = _measured(project)
    finally:
        project.close()
    return _found(given, weights, macs)


def _measured(project: Project) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Both in one build, so that the model's libraries are imported once. What cannot be counted is left out."""
    from ..build.run import build_targets
    from ..evaluate.results import Results
    from ..report.text.progress import PlainProgress

    project.ask(*(Ask(record, _TARGET, alone=True) for record in (_WEIGHTS, _ARITHMETIC)))
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
    return weights, results.metric(plans[_ARITHMETIC.name])


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
