"""Trials and what is best of them: feasibility, the Pareto front, and the one to apply. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec

from ..evaluate.gates import Verdict

__all__ = ["Objective", "Trial", "best", "bounds", "front", "violation"]


_OUTSIDE = 1e-6
"""The least violation."""


class Objective(msgspec.Struct, frozen=True):
    """A metric to minimize or maximize. ``relative``: by its ratio to the baseline, as absolute times of different
    moments cannot be compared."""

    metric: str
    direction: Literal["minimize", "maximize"]
    unit: str = ""
    relative: bool = False

    @property
    def sign(self) -> int:
        return 1 if self.direction == "minimize" else -1


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A point that was built. ``point``: path of a range → value. ``values``: of the objectives, none if it failed, or
    missed a gate before they were measured.
    ``violation``: how far outside its gates it is, 0 inside. ``ran``: nodes that ran for it.
    ``metrics``: what else was measured; ``limits``: where the gates lie (see :func:`bounds`)."""

    number: int
    point: dict[str, Any]
    state: Literal["feasible", "infeasible", "failed"]
    values: tuple[float, ...] = ()
    violation: float = 0.0
    reason: str = ""
    ran: int = 0
    metrics: Mapping[str, float] = {}
    limits: Mapping[str, list[float]] = {}


def violation(verdicts: Sequence[Verdict]) -> float:
    """How far outside: the sum over limits that are not kept, each as a share of its bound."""
    total = 0.0
    for verdict in verdicts:
        if verdict.ok:
            continue
        if verdict.margin is None or not math.isfinite(verdict.margin):  # not measured
            total += 1.0
        else:  # what is inconclusive may be inside by its value, and is outside all the same
            total += max(-verdict.margin, 0.0) / abs(verdict.bound or 1.0) + _OUTSIDE
    return total


def bounds(
    verdicts: Sequence[Verdict], measured: Mapping[str, float], relative: Collection[str]
) -> dict[str, list[float]]:
    """Metric → the values at which its gates begin to be missed. ``measured``: values of metrics, or the ratios to the
    baseline of those in ``relative``. A limit on a class, or on what is not measured, has no such place."""
    found: dict[str, list[float]] = {}
    for verdict in verdicts:
        own, got = measured.get(verdict.metric), verdict.value
        if own is None or got is None or not math.isfinite(got):
            continue
        place = None
        if verdict.limit in ("max-ratio", "min-ratio"):
            place = verdict.bound if verdict.metric in relative else own / got * verdict.bound if got else None
        elif verdict.metric not in relative:
            drop = own + got - verdict.bound  # of the value that it may not fall below by more
            place = {"min": verdict.bound, "max": verdict.bound, "max-drop": drop}.get(verdict.limit)
        if place is not None:
            found.setdefault(verdict.metric, []).append(place)
    return found


def front(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """The feasible trials that no other one beats: not worse in every objective, and better in one. Of several with the
    same values, the first."""
    feasible = [trial for trial in trials if trial.state == "feasible"]
    kept: list[Trial] = []
    for trial in feasible:
        own = _costs(trial, objectives)
        others = [_costs(other, objectives) for other in feasible]
        if any(all(a <= b for a, b in zip(cost, own, strict=True)) and cost != own for cost in others):
            continue
        if all(_costs(other, objectives) != own for other in kept):
            kept.append(trial)
    return sorted(kept, key=lambda trial: _costs(trial, objectives))


def best(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Trial | None:
    """The best; with several objectives the one of the front that is nearest to the best of each, where each objective
    counts from the best (0) to the worst (1) of the front."""
    found = front(trials, objectives)
    if not found:
        return None
    columns = list(zip(*(_costs(trial, objectives) for trial in found), strict=True))
    spans = [(min(column), max(column) - min(column)) for column in columns]

    def distance(trial: Trial) -> float:
        costs = zip(_costs(trial, objectives), spans, strict=True)
        return math.hypot(*((cost - low) / span if span else 0.0 for cost, (low, span) in costs))

    return min(found, key=lambda trial: (distance(trial), trial.number))


def _costs(trial: Trial, objectives: Sequence[Objective]) -> tuple[float, ...]:
    return tuple(objective.sign * value for objective, value in zip(objectives, trial.values, strict=True))
