"""The engine's own checks: what can go wrong whatever the techniques are."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from itertools import pairwise

from ..api.advice import Advice, Edit, Mark, Measured, Seen

__all__ = ["changed_nothing", "more_threads_than_cpus", "which_step"]

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
    yield Advice(
        what=f"{names} lost most of the accuracy, between {first.target} and {last.target}; start there",
        evidence=tuple(f"{seen.quality} {each.value:.4g} in {each.target}" for each in points),
        mark=blamed[0].mark,
    )


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
