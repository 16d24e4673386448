"""The engine's own checks: what can go wrong whatever the techniques are."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from typing import Any

from ..api.advice import NEGLIGIBLE, Advice, Edit, Failure, Mark, Measured, Seen

__all__ = ["build_failed", "changed_nothing", "more_threads_than_cpus", "no_difference", "which_step"]

_BLAMED = 0.5  # of the whole loss


def which_step(seen: Seen, named: Collection[Mark]) -> Iterator[Advice]:
    """Between which two measured targets most of the accuracy went: those that share the first steps. ``named``: the
    steps whose loss is explained already."""
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
    blamed = [step for step in seen.steps[len(first.nodes) : len(last.nodes)] if not step.has("exports")]
    if not blamed or any(step.mark in named for step in blamed):
        return
    names = " and ".join(step.technique for step in blamed)
    finds = any(step.has("int8", "weights-only") for step in blamed)
    layers = f"; 'cbuild advise --measure {seen.target}' finds the layer" if finds else ""
    yield Advice(
        what=f"{names} lost most of the accuracy, between {first.target} and {last.target}; start there{layers}",
        evidence=tuple(f"{seen.quality} {each.value:.4g} in {each.target}" for each in points),
        mark=blamed[0].mark,
    )


def build_failed(seen: Seen, explained: Collection[Mark]) -> Iterator[Advice]:
    """What failed in the last build, where it stands, and the change that its error names. ``explained``: where
    another check says why."""
    failed = seen.failed
    if failed is None or failed.mark in explained:
        return
    edit = _change(seen, failed)
    yield Advice(
        what=f"{failed.name} failed in the last build: {failed.error}" + (f"; {failed.hint}" if failed.hint else ""),
        evidence=("nothing that it depends on has changed since",),
        mark=edit.mark if edit is not None else failed.mark,
        edit=edit,
    )


def _change(seen: Seen, failed: Failure) -> Edit | None:
    """The first change of those that the error names that a step before it, or the platform, has a parameter for."""
    own = [step for step in seen.steps if step.node == failed.node]
    until = seen.steps[: seen.steps.index(own[0]) + 1] if own else seen.steps
    for key, text in failed.change.items():
        if failed.role in ("technique", "compile"):
            if (step := next((step for step in reversed(until) if key in step.params), None)) is not None:
                return Edit("set", step.mark, key, text)
            if failed.role == "compile" and key in failed.params and seen.platform_mark is not None:
                return Edit("set", seen.platform_mark, key, text)
    return None


def changed_nothing(seen: Seen) -> Iterator[Advice]:
    """A step whose output has the bytes of its input."""
    for step in seen.steps:
        if step.output is None or step.output != step.before:
            continue
        yield Advice(
            what=f"{step.technique} changed nothing: remove the step, or give it something to do",
            evidence=("its files have the bytes of its input's",),
            mark=step.mark,
            edit=Edit("remove", step.mark),
        )


def no_difference(seen: Seen, named: Collection[Mark]) -> Iterator[Advice]:
    """Steps that the baseline lacks, which made another file, and no number: neither its size nor any metric.
    ``named``: steps that another check says more about."""
    added = [step for step in seen.steps if step.node not in seen.baseline_nodes and not step.has("exports")]
    if not added or not seen.same_model or any(step.output is None or step.has("trains") for step in added):
        return  # that a training ends at the same accuracy is chance
    if any(step.output == step.before or step.mark in named for step in added) or _differs(seen):
        return
    assert seen.sizes is not None
    names = " and ".join(step.technique for step in added)
    yield Advice(
        what=f"{names} made no difference to '{seen.target}': remove {'it' if len(added) == 1 else 'them'}, or measure "
        "what it is for",
        evidence=(
            f"size {seen.sizes[0]:,} bytes, {seen.sizes[1]:,} of {seen.baseline}",
            *([seen.timed()] if seen.ratios is not None else []),
            f"equal in both: {', '.join(_alike(seen))}",
        ),
        mark=added[0].mark,
        edit=Edit("remove", added[0].mark) if len(added) == 1 else None,
    )


def _differs(seen: Seen) -> bool:
    """Whether a number differs, or there are none that could."""
    if seen.sizes is None or not seen.sizes[1] or abs(seen.sizes[0] / seen.sizes[1] - 1) > NEGLIGIBLE:
        return True
    if seen.ratios is not None and not seen.ratios[1] <= 1 <= seen.ratios[2]:
        return True
    alike = _alike(seen)
    compared = [name for name in _values(seen.metrics) if name in _values(seen.baseline_metrics)]
    return seen.quality not in alike or len(alike) < len(compared)


def _alike(seen: Seen) -> list[str]:
    """The metrics that are equal in both: the quality to the last digit, others as nearly as makes no difference."""
    own, base = _values(seen.metrics), _values(seen.baseline_metrics)
    both = [(name, value, base[name]) for name, value in own.items() if name in base]
    return [name for name, a, b in both if abs(a - b) <= (0 if name == seen.quality else NEGLIGIBLE * abs(b))]


def _values(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Metric → value. A time is left out: its ratio to the baseline's is what counts."""
    found = {name: each.get("value") for name, each in metrics.items() if "ratio_low" not in each}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def more_threads_than_cpus(seen: Seen) -> Iterator[Advice]:
    """More threads than the container's quota of CPU time lets run: they wait for one another, throttled."""
    if seen.quota is None or seen.threads is None or seen.platform_mark is None or seen.threads <= seen.quota:
        return
    fit = max(1, math.floor(seen.quota))
    if seen.threads <= fit:  # less than one CPU: a thread is the least there is
        return
    yield Advice(
        what=f"'{seen.platform}' runs {seen.threads} threads where the container may use {seen.quota:g} CPUs, so they "
        f"are throttled: use {fit}",
        evidence=(f"threads {seen.threads}, cgroup quota {seen.quota:g} CPUs",),
        mark=seen.platform_mark,
        edit=Edit("set", seen.platform_mark, "threads", str(fit)),
    )
