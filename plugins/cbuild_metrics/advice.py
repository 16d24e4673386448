"""What was meant to be quantized and was not, what is stored twice, and inputs that nobody tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from compressbuild.api.advice import Advice, Edit, Seen

__all__ = ["not_quantized", "stored_twice", "untested_edge_cases"]

_EDGES = "edge-cases"

_HALF = 0.5
_SHOWN = 3
_SHARE = 0.01  # of all weights' bytes: less is not worth a word


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
    left = [_described(row) for row in measured.get("float") or _floats(seen)]
    said = f"; the largest left in float: {', '.join(left[:_SHOWN])}" if left else ""
    evidence = [f"{share:.0%} of the weights are quantized"]
    if isinstance(macs := measured.get("macs"), int | float):
        evidence.append(f"{macs:.0%} of the multiply-accumulates are in integers")
    yield Advice(
        what=f"{step.technique} left most of the model in float: quantize more operators, or exclude fewer{said}",
        evidence=tuple(evidence),
        mark=step.mark,
    )


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
        what="the same weights are stored twice: tie them in the model before it is exported",
        evidence=(*groups[:_SHOWN], f"{spared:,} of {total:,} bytes of weights are copies"),
        mark=seen.mark,
    )


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
