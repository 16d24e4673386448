"""What a target's model is beside the one that it was made from, as metrics with an ``origin`` measure it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from ...api import AnswerMetric
from ...graph import Ask
from ...project import Project
from .asked import asked

__all__ = ["Tried", "known_origins", "measure_origins"]


class Tried(NamedTuple):
    """``failed``: target → why a measurement failed. ``refused``: why there can be none."""

    failed: dict[str, str]
    refused: dict[str, str]


def _asks(project: Project, names: Iterable[str]) -> dict[str, list[Ask]]:
    """Metric → what to ask for: of targets that do not list it."""
    records = [r for r in project.registry.metrics.values() if isinstance(r, AnswerMetric) and r.origin]
    targets = [project.graph.targets[name] for name in names]
    found = {
        record.name: [
            Ask(record, target.name, alone=True)
            for target in targets
            if target.metrics and record.name not in {metric.name for metric in target.metrics}
        ]
        for record in records
    }
    return {name: asks for name, asks in found.items() if asks and _has_data(project, asks)}


def _has_data(project: Project, asks: Iterable[Ask]) -> bool:
    """Whether each target is evaluated on data: without it there is nothing to run both on."""
    specs = (project.spec.targets[ask.of].evaluate or project.spec.evaluate for ask in asks)
    return all(spec is not None and spec.data is not None for spec in specs)


def known_origins(project: Project, names: Iterable[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Target → metric → result, of those that were measured but not listed. Runs nothing."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for metric, asks in _asks(project, names).items():
        for target, result in asked(project, asks).items():
            if isinstance(result, dict):
                found.setdefault(target, {})[metric] = result
    return found


def measure_origins(project: Project, names: Iterable[str]) -> Tried:
    """Measure what is not known yet. Builds what that needs, and publishes nothing. Progress goes to stderr."""
    from ...build.run import build_targets  # what executes, which reading does without
    from ..text.progress import PlainProgress

    tried = Tried({}, {})
    refused: list[dict[str, str]] = []
    taken: set[str] = set()
    for asks in _asks(project, names).values():
        known = asked(project, asks)
        refused.append({name: reason for name, reason in known.items() if isinstance(reason, str)})
        taken.update(name for name, result in known.items() if not isinstance(result, str))
        wanted = [name for name, result in known.items() if result is None]
        if not wanted:
            continue
        before = project.graph
        project.ask(*asks)
        try:
            observers = [PlainProgress(sys.stderr)]
            report = build_targets(project, wanted, observers=observers, keep_going=True, publish=False)
        finally:
            project.graph = before
        tried.failed.update({each.name: each.reason for each in report.targets if each.status == "failed"})
    for reasons in sorted(
        refused, key=lambda each: any("does not apply" in why for why in each.values()), reverse=True
    ):
        tried.refused.update({name: why for name, why in reasons.items() if name not in taken})
    return tried
