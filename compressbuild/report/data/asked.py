"""What commands measure beside what a Compressfile says, as far as the cache has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...evaluate.results import Results
from ...graph import Ask, build_graph
from ...plan import make_plan
from ...project import Project

__all__ = ["asked"]


def asked(project: Project, asks: Sequence[Ask]) -> dict[str, dict[str, Any] | str | None]:
    """Target → the result of what is asked of it, or why it cannot be measured here; None: it was not measured. One
    ``ask`` for each target. Runs nothing, and leaves the project's own graph as it is."""
    if not asks:
        return {}
    graph = build_graph(project.spec, project.registry, project.facts, tuple(asks), project.types)
    names = [ask.of for ask in asks]
    plan = make_plan(graph, names, project.keyer, project.store.lookup, project.traces.get)
    results = Results.of_plan(project.store, plan)
    found: dict[str, dict[str, Any] | str | None] = {}
    for name in names:
        (metric,) = graph.targets[name].asked
        found[name] = results.metric(metric) if metric.node is not None else metric.reason
    return found
