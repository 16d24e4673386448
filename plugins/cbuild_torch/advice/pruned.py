"""Pruning that lost too much, or that saves no time: of every technique that prunes, whoever offers it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from compressbuild.api.advice import Advice, Edit, Seen, Step

__all__ = ["pattern_without_kernels", "too_much_at_once", "zeros_not_faster"]

_MUCH = 0.3  # of the weights or channels: below it a loss has other causes as often
_ARCHIVE = frozenset({"compressed-size", "nonzeros"})


def too_much_at_once(seen: Seen) -> Iterator[Advice]:
    """A large share pruned in one step, with no training in it or after it, and more accuracy lost than may be."""
    if not seen.too_much:
        return
    for place, step in enumerate(seen.steps):
        share = _share(step)
        if share is None or any(later.has("trains") for later in seen.steps[place:]):
            continue
        yield Advice(
            what=f"{step.technique} removes {share:.0%} at once, and nothing trains after it: prune gradually, and let "
            "it recover",
            evidence=_loss(seen),
            mark=step.mark,
            edit=_recovery(step, share, seen.recipe),
            explains_loss=True,
        )


def _share(step: Step) -> float | None:
    if not step.has("prunes"):
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
    name, value = seen.best
    allowed = f"{seen.allowed:g} may be lost"
    return (f"{seen.quality} {seen.value:.4g}, {value:.4g} in {name}: {seen.lost:.4g} lost, {allowed}",)


def zeros_not_faster(seen: Seen) -> Iterator[Advice]:
    """Zeros scattered over dense weights: they save bytes of an archive, and no time."""
    step = next((step for step in seen.steps if step.has("zeros")), None)
    if step is None or not seen.not_faster or any(each.has("shrinks", "int8") for each in seen.steps):
        return
    if "zeros" in seen.baseline_traits or _for_the_archive(seen) or _no_kernels(seen, step):
        return
    sparsity = step.params.get("sparsity")
    edit, evidence = None, [seen.timed()]
    if isinstance(sparsity, int | float):
        evidence.append(f"{step.technique} sparsity {sparsity:g}")
        # As many weights go: a layer loses inputs and outputs, so what is left is the square.
        recovers = any(later.has("trains") for later in seen.steps if later.node > step.node)
        if step.technique == "prune.magnitude" and 0 < sparsity < 1 and (recovers or seen.recipe):
            ratio = 1 - math.sqrt(1 - sparsity)
            then = "" if recovers else f"finetune: {{{seen.recipe}}}"
            edit = Edit("replace", step.mark, text=f"prune.channels: {{ratio: {ratio:.2f}}}", then=then)
    yield Advice(
        what="smaller only when packed: dense kernels multiply zeros too; remove whole channels, and train after it",
        evidence=tuple(evidence),
        mark=step.mark,
        edit=edit,
    )


def pattern_without_kernels(seen: Seen) -> Iterator[Advice]:
    """Zeros in a pattern, for a runtime whose kernels multiply them like other numbers. No measurement is needed."""
    step = next((step for step in seen.steps if step.has("pattern")), None)
    if step is None or not _no_kernels(seen, step) or _for_the_archive(seen):
        return
    yield Advice(
        what=f"{step.technique} leaves zeros in a pattern, and '{seen.backend}' has no kernels that skip them, so they "
        "save no time there: remove whole channels, or ship it to a runtime that has",
        evidence=(*([seen.timed()] if seen.ratios is not None else []), f"backend {seen.backend}, dense kernels only"),
        mark=step.mark,
    )


def _no_kernels(seen: Seen, step: Step) -> bool:
    return step.has("pattern") and seen.backend is not None and not seen.sparse


def _for_the_archive(seen: Seen) -> bool:
    """Whether the zeros are for the size of an archive, and that is what the gates ask."""
    return bool(seen.gated & _ARCHIVE) and seen.speed not in seen.gated
