"""What was meant to be quantized and was not."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api.advice import Advice, Seen

__all__ = ["not_quantized"]

_HALF = 0.5
_SHOWN = 3


def not_quantized(seen: Seen) -> Iterator[Advice]:
    """A step that quantizes less than half of the weights. ``quantized-share`` says how much, or else the step does."""
    step = next((step for step in reversed(seen.steps) if step.has("int8", "weights-only")), None)
    if step is None:
        return
    measured = seen.metrics.get("quantized-share", {})
    share = measured.get("value", step.facts.get("quantized_share"))
    if not isinstance(share, int | float) or share >= _HALF:
        return
    left = [f"{row['name']} ({row['op']} {'×'.join(map(str, row['shape']))})" for row in measured.get("float", ())]
    said = f"; the largest left in float: {', '.join(left[:_SHOWN])}" if left else ""
    evidence = [f"{share:.0%} of the weights are quantized"]
    if isinstance(macs := measured.get("macs"), int | float):
        evidence.append(f"{macs:.0%} of the multiply-accumulates are in integers")
    yield Advice(
        what=f"{step.technique} left most of the model in float: quantize more operators, or exclude fewer{said}",
        evidence=tuple(evidence),
        mark=step.mark,
    )
