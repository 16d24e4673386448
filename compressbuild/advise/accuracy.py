"""Accuracy that was lost: too much pruned at once, products that saturate, and the step that is to blame."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from .view import Advice, Edit, Measured, Seen, Step

__all__ = ["RECOVER", "saturation", "too_much_at_once", "which_step"]

RECOVER = ("finetune", "distill", "train", "prune.gradual", "prune.movement", "quantize.qat")
_AT_ONCE = ("prune.magnitude", "prune.channels", "prune.heads", "prune.layers", "prune.nm", "prune.recurrent")
_MUCH = 0.3  # of the weights or channels: below it a loss has other causes as often
_BLAMED = 0.5  # of the whole loss


def too_much_at_once(seen: Seen) -> Iterator[Advice]:
    """A large share pruned in one step, with no training after it, and more accuracy lost than may be."""
    if not seen.too_much:
        return
    for place, step in enumerate(seen.steps):
        share = _share(step)
        if share is None or any(later.technique in RECOVER for later in seen.steps[place + 1 :]):
            continue
        yield Advice(
            check="too-much-at-once",
            target=seen.target,
            what=f"{step.technique} removes {share:.0%} at once, and nothing trains after it: prune gradually, and let "
            "it recover",
            evidence=_loss(seen),
            mark=step.mark,
            reference="docs/techniques/prune.gradual.md; Zhu & Gupta, To prune, or not to prune, 2017, "
            "arXiv:1710.01878",
            edit=_recovery(step, share, seen.recipe),
        )


def _share(step: Step) -> float | None:
    if step.technique not in _AT_ONCE:
        return None
    found = step.params.get("ratio", step.params.get("sparsity"))
    return float(found) if isinstance(found, int | float) and found >= _MUCH else None


def _recovery(step: Step, share: float, recipe: str) -> Edit | None:
    if not recipe:
        return None
    if step.technique == "prune.magnitude":
        return Edit("replace", step.mark, text=f"prune.gradual: {{{recipe}, sparsity: {share:g}}}")
    return Edit("after", step.mark, text=f"finetune: {{{recipe}}}")


def _loss(seen: Seen) -> tuple[str, ...]:
    assert seen.best is not None
    assert seen.lost is not None
    name, value = seen.best
    allowed = f"{seen.allowed:g} may be lost"
    return (f"{seen.quality} {seen.value:.4g}, {value:.4g} in {name}: {seen.lost:.4g} lost, {allowed}",)


def which_step(seen: Seen) -> Iterator[Advice]:
    """Between which two measured targets most of the accuracy went: those that share the first steps."""
    if not seen.too_much or seen.value is None:
        return
    own = tuple(step.node for step in seen.steps)
    worse = 1 if seen.lower_is_better else -1
    shared = [each for each in seen.siblings if each.nodes == own[: len(each.nodes)] and len(each.nodes) < len(own)]
    # Of several that share as many steps the best: the others lost theirs when they were compiled.
    longest: dict[int, Measured] = {}
    for each in sorted(shared, key=lambda each: each.value * worse, reverse=True):
        longest[len(each.nodes)] = each
    points = [*sorted(longest.values(), key=lambda each: len(each.nodes)), Measured(seen.target, own, seen.value)]
    if len(points) < 2:
        return
    drops = [(b.value - a.value) * worse for a, b in pairwise(points)]
    at = max(range(len(drops)), key=drops.__getitem__)
    whole = (points[-1].value - points[0].value) * worse
    if whole <= 0 or drops[at] < _BLAMED * whole or drops[at] <= (seen.allowed or 0.0):
        return
    first, last = points[at], points[at + 1]
    blamed = [
        step for step in seen.steps[len(first.nodes) : len(last.nodes)] if not step.technique.startswith("export.")
    ]
    named = {advice.mark for advice in too_much_at_once(seen)}
    if not blamed or any(step.mark in named for step in blamed):
        return  # there is nothing to blame, or it is said already
    names = " and ".join(step.technique for step in blamed)
    between = f"between {first.target} and {last.target}"
    yield Advice(
        check="which-step",
        target=seen.target,
        what=f"{names} lost most of the accuracy, {between}; start there",
        evidence=tuple(f"{seen.quality} {each.value:.4g} in {each.target}" for each in points),
        mark=blamed[0].mark,
        reference="docs/howto/layers.md",
    )


def saturation(seen: Seen) -> Iterator[Advice]:
    """Full 8-bit weights against unsigned activations where the processor adds their products in 16 bits."""
    if not seen.saturates:
        return
    for step in seen.steps:
        params = step.params
        unsigned = params.get("scheme", "u8-affine") == "u8-affine" and params.get("weights", "int8") == "int8"
        if params.get("reduce-range") is not False or not unsigned or params.get("activations") in ("int8", "int16"):
            continue
        yield Advice(
            check="saturation",
            target=seen.target,
            what=f"{step.technique} multiplies u8 × s8 with 8-bit weights, and the processor of '{seen.platform}' "
            "saturates the sums: use 7 bits",
            evidence=("reduce-range false", "x86-64 without VNNI adds two products in 16 bits: 2 × 255 × 127 > 32767"),
            mark=step.mark,
            reference="docs/techniques/quantize.static.md; ONNX Runtime, Quantize ONNX models: when and why to use "
            "reduce-range",
            edit=Edit("set", step.mark, "reduce-range", "true"),
        )
