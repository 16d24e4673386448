"""What is written and has no effect: a step that changes nothing, threads that a container does not have."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .view import Advice, Edit, Seen

__all__ = ["changed_nothing", "more_threads_than_cpus"]


def changed_nothing(seen: Seen) -> Iterator[Advice]:
    """A step whose output has the bytes of its input."""
    for step in seen.steps:
        if step.output is None or step.output != step.before:
            continue
        yield Advice(
            check="changed-nothing",
            target=seen.target,
            what=f"{step.technique} changed nothing: remove the step, or give it something to do",
            evidence=("its files have the bytes of its input's",),
            mark=step.mark,
            reference="docs/keys.md",
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
        check="more-threads-than-cpus",
        target=seen.target,
        what=f"'{seen.platform}' runs {seen.threads} threads where the container may use {seen.quota:g} CPUs, so they "
        f"are throttled: use {fit}",
        evidence=(f"threads {seen.threads}, cgroup quota {seen.quota:g} CPUs",),
        mark=seen.platform_mark,
        reference="Linux kernel, CFS bandwidth control (Documentation/scheduler/sched-bwc.rst)",
        edit=Edit("set", seen.platform_mark, "threads", str(fit)),
    )
