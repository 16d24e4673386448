"""What was meant to be quantized and was not, what is stored twice, and inputs that nobody tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from compressbuild.api.advice import Advice, Edit, Mark, Seen, Step

__all__ = ["not_quantized", "stored_twice", "untested_edge_cases"]

_EDGES = "edge-cases"

_HALF = 0.5
_SHOWN = 3
_SHARE = 0.01  # of all weights' bytes: less is not worth a word
_LOOKUP = "Gather"
_CONVOLUTION = "Conv"
_IN_BLOCKS = ("MatMul", "Gemm", _LOOKUP)
_BY_CHANNEL = ("Conv", "LSTM", "GRU", "RNN")  # their weights have 8 bits
_WIDE = 8


def not_quantized(seen: Seen) -> Iterator[Advice]:
    """A step that quantizes less than half of the weights. ``quantized-share`` says how much, or else the step does.
    Silent where a gate says how large it may be, or how much must be quantized, and is met."""
    step = next((step for step in reversed(seen.steps) if step.has("int8", "weights-only")), None)
    if step is None:
        return
    measured = seen.metrics.get("quantized-share", {})
    share = measured.get("value", step.facts.get("quantized_share"))
    if not isinstance(share, int | float) or share >= _HALF:
        return
    met = seen.gated & {"size", "quantized-share"}
    if met and not met & seen.missed:
        return
    left = measured.get("float") or _floats(seen)
    said = f"; the largest left in float: {', '.join(map(_described, left[:_SHOWN]))}" if left else ""
    embeddings, convolutions = _mostly(left, _LOOKUP), step.has("dynamic") and _mostly(left, _CONVOLUTION)
    todo = "its embeddings can have 8 bits, too" if embeddings else "quantize more operators, or exclude fewer"
    if convolutions:  # ranges chosen in every run make them slower
        todo = "convolutions need ranges from a calibration: take quantize.static"
    evidence = [f"{share:.0%} of the weights are quantized"]
    if isinstance(macs := measured.get("macs"), int | float):
        evidence.append(f"{macs:.0%} of the multiply-accumulates are in integers")
    yield Advice(
        what=f"{step.technique} left most of the model in float: {todo}{said}",
        evidence=tuple(evidence),
        mark=step.mark,
        edit=_calibrated(seen, step) if convolutions else _more(step, left, embeddings),
    )


def _mostly(left: Sequence[Mapping[str, Any]], operator: str) -> bool:
    """Whether an operator's weights are most of what is shown as left in float."""
    own = sum(row["n"] for row in left if row["op"] == operator)
    return own > 0 and own >= _HALF * sum(row["n"] for row in left)


def _calibrated(seen: Seen, step: Step) -> Edit | None:
    """Calibration on rows that do not judge the result, where the file has some."""
    judge = seen.datasets.get(seen.evaluation) if seen.evaluation is not None else None
    for name in ("calibration", f"{seen.evaluation}.calibration", seen.training):
        if name in seen.datasets and (judge is None or not seen.datasets[name].shares(judge)):
            return Edit("replace", step.mark, text=f"quantize.static: {{data: {name}}}")
    return None


def _more(step: Step, left: Sequence[Mapping[str, Any]], embeddings: bool) -> Edit | None:
    """The operators of what is left, where a step on weights alone names its operators; else a step for the tables.
    What activations are quantized for is measured first: more operators may cost accuracy or time."""
    named = step.params.get("op-types")
    if step.has("weights-only") and named:
        taken = (*_IN_BLOCKS, *(_BY_CHANNEL if step.params.get("bits") == _WIDE else ()))
        more = [op for op in dict.fromkeys(row["op"] for row in left) if op in taken and op not in named]
        return Edit("set", step.mark, "op-types", f"[{', '.join([*named, *more])}]") if more else None
    if embeddings:
        return Edit("after", step.mark, text=f"quantize.weights: {{bits: 8, op-types: [{_LOOKUP}]}}")
    return None


def _floats(seen: Seen) -> list[Mapping[str, Any]]:
    """The tensors that the metric ``layers`` found in float, the largest first."""
    measured = seen.details.get("layers") or seen.metrics.get("layers", {})
    floats = [row for row in measured.get("layers", ()) if "float" in row.get("dtype", "")]
    return sorted(floats, key=lambda row: -int(row["bytes"]))


def stored_twice(seen: Seen) -> Iterator[Advice]:
    """An embedding and a head, say: one weight in the model and two in the file. The metric ``layers`` knows."""
    measured = seen.details.get("layers") or seen.metrics.get("layers", {})
    rows = {row["name"]: row for row in measured.get("layers", ())}
    spared = sum(rows[name]["bytes"] for names in measured.get("repeated", ()) for name in names[1:])
    total = sum(row["bytes"] for row in rows.values())
    if not spared or spared < _SHARE * total or seen.mark is None:
        return
    groups = [" = ".join(_described(rows[name]) for name in names) for names in measured["repeated"]]
    yield Advice(
        what="the same weights are stored twice: tie them in the model before it is exported, or in the graph",
        evidence=(*groups[:_SHOWN], f"{spared:,} of {total:,} bytes of weights are copies"),
        mark=seen.mark,
        edit=_tied(seen, seen.mark),
    )


def _tied(seen: Seen, target: Mark) -> Edit | None:
    """``optimize.onnx`` lets a head read the table: behind the export, or behind the last step on floats."""
    if not seen.steps:
        return Edit("set", target, "steps", "[optimize.onnx]")
    exported = next((step for step in seen.steps if step.has("exports")), None)
    if exported is None and any(step.has("int8", "weights-only") for step in seen.steps):
        return None
    return Edit("after", (exported or seen.steps[-1]).mark, text="optimize.onnx")


def untested_edge_cases(seen: Seen) -> Iterator[Advice]:
    """Ranges from a calibration cut off what lies beyond them, and no target of the file tries such inputs. Only when
    asked to be thorough, and where a gate on quality says that the target is to be shipped."""
    step = next((step for step in seen.steps if step.has("calibrates")), None)
    ships = seen.platform is not None and seen.quality in seen.gated
    if step is None or not seen.thorough or not ships or _EDGES in seen.asked or not seen.built:
        return
    mark = seen.last_metric
    yield Advice(
        what=f"{step.technique} cuts off what its calibration did not see, and no target tries extreme inputs: measure "
        f"'{_EDGES}' too",
        evidence=(f"measured: {', '.join(sorted(seen.asked))}",),
        mark=mark or step.mark,
        edit=Edit("after", mark, text=_EDGES) if mark is not None else None,
    )


def _described(row: Mapping[str, Any]) -> str:
    return f"{row['name']} ({row['op']} {'×'.join(map(str, row['shape']))})"
