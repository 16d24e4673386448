"""What a trial is asked first, and what one build of several of them came to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from ..api import ArtifactMetric
from ..build.outcome import TargetReport
from ..build.run import build_targets
from ..execute.events import NodeFinished, Observer
from ..graph import MetricPlan, TargetPlan
from ..project import Project, Selection, narrowed

__all__ = ["Ended", "judged"]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A target of the search that came to an end. ``ran``: nodes that ran for it, and for none before it. ``errors``:
    last lines of what failed it. ``early``: it missed a gate before everything was measured."""

    report: TargetReport
    ran: int = 0
    errors: tuple[str, ...] = ()
    early: bool = False


def judged(
    project: Project, names: Sequence[str], *, observers: Sequence[Observer] = (), jobs: int | None = None
) -> dict[str, Ended]:
    """Build and measure targets together, in stages: first gates that look at files alone, then those that need no
    measurement of times, for which everything else waits, then the rest. A target that misses a gate, or fails, goes on
    to no later stage. Nothing is published.

    Interrupted ends it; what has ended by then is in the cache.
    """
    statuses: dict[str, tuple[str, str]] = {}

    def seen(event: object) -> None:
        if isinstance(event, NodeFinished) and statuses.get(event.node, ("",))[0] != "built":
            statuses[event.node] = (event.status, event.error or "")

    found: dict[str, Ended] = {}
    left = list(names)
    for plans in _stages(project, names):
        now = {name: plans[name] for name in left if name in plans}
        if not now:
            continue
        part = narrowed(project, now)
        built = build_targets(
            part,
            tuple(now),
            selection=Selection(tuple(now), {}, words=tuple(now)),
            observers=[seen, *observers],
            jobs=jobs,
            keep_going=len(now) > 1,
            publish=False,
        )
        last = plans is project.graph.targets
        for report in built.targets:
            found[report.name] = Ended(report=report, early=not last)
        left = [name for name in left if name not in now or found[name].report.status == "checked"]
    counted: set[str] = set()
    for name in names:
        graph = project.graph
        own = {graph.nodes[index].position for index in graph.closure(graph.targets[name].nodes)}
        errors = [error for at, (status, error) in statuses.items() if at in own and status == "failed"]
        ran = {at for at in own if statuses.get(at, ("",))[0] == "built"} - counted
        counted |= ran
        lines = tuple(text.strip().splitlines()[-1] for text in errors if text.strip())
        early = found[name].early and found[name].report.status == "gate failed"
        found[name] = replace(found[name], ran=len(ran), errors=lines, early=early)
    return found


def _stages(project: Project, names: Sequence[str]) -> Iterator[Mapping[str, TargetPlan]]:
    """Target → what is asked of it, the cheapest first; the last has all. A target that measures no times has no
    earlier stage, as nothing of it is dear."""
    graph = project.graph

    def dear(metric: MetricPlan | None) -> bool:
        return metric is not None and metric.node is not None and graph.nodes[metric.node].exclusive

    def runs(metric: MetricPlan | None) -> bool:
        record = project.registry.metrics.get(metric.name) if metric is not None else None
        return metric is not None and not isinstance(metric.record or record, ArtifactMetric)

    def asked(too_much: Callable[[MetricPlan | None], bool]) -> dict[str, TargetPlan]:
        found = {}
        for name, plan in timed.items():
            gates = tuple(gate for gate in plan.gates if not too_much(gate.metric) and not too_much(gate.against))
            wanted = {gate.metric.name for gate in gates}
            metrics = tuple(metric for metric in plan.metrics if metric.name in wanted)
            if gates:
                found[name] = replace(plan, metrics=metrics, gates=gates, compared=(), details=(), asked=())
        return found

    plans = {name: graph.targets[name] for name in names}
    timed = {name: plan for name, plan in plans.items() if any(graph.nodes[index].exclusive for index in plan.nodes)}
    files, cheap = asked(lambda metric: dear(metric) or runs(metric)), asked(dear)
    yield {name: plan for name, plan in files.items() if plan.gates != cheap[name].gates}
    yield cheap
    yield graph.targets
