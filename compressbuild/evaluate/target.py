"""A target judged: what was measured of it, its gates, and what is worth a warning."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..graph import Graph, TargetPlan
from .concerns import Concern, target_concerns
from .gates import Measured, Verdict, judge_gate
from .history import History
from .results import Results

__all__ = ["Assessment", "assess"]


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """``metrics``: name → what its function returned; ``unmeasured``: name → why nothing can measure it."""

    metrics: Mapping[str, Measured] = {}
    unmeasured: Mapping[str, str] = {}
    verdicts: tuple[Verdict, ...] = ()
    warnings: tuple[Concern, ...] = ()

    @property
    def missed(self) -> tuple[Verdict, ...]:
        """Limits that keep the target from being published."""
        return tuple(verdict for verdict in self.verdicts if not verdict.ok)


def assess(graph: Graph, target: TargetPlan, results: Results, history: History) -> Assessment:
    """Judge a target by its results. ``history``: the records that gates compare with."""
    found = {metric.name: results.metric(metric) for metric in target.metrics}
    metrics = {name: result for name, result in found.items() if result is not None}
    made = results.made(target.artifact)
    recorded = history.before(target.name, target.gates, made.output if made is not None else "", metrics)
    return Assessment(
        metrics=metrics,
        unmeasured={metric.name: metric.reason for metric in target.metrics if metric.node is None},
        verdicts=tuple(
            verdict for gate in target.gates for verdict in judge_gate(gate, results.metric, recorded, target.baseline)
        ),
        warnings=target_concerns(graph, target, metrics, results.metric, results.size, results.facts),
    )
