"""The search: each trial is an ordinary build of the target with the values of a point, which publishes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from ..api import Metric
from ..build.outcome import TargetReport
from ..build.run import build_targets
from ..errors import CompressfileError, Diagnostic, Incompatible, UsageError
from ..evaluate.roles import apart
from ..execute.events import NodeFinished, Observer
from ..graph import MetricPlan
from ..interrupts import Held
from ..project import STATE_DIR, Project, narrowed
from ..words import suggest
from .propose import propose, require
from .space import Point, Space, identity, located
from .study import Study
from .trials import Objective, Trial, violation

__all__ = ["Search"]


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """One search. ``trials``: how many there are to be, with those of earlier searches. ``timeout``: seconds after
    which no trial begins. ``warn``: takes what the user should know."""

    path: Path
    target: str
    objectives: tuple[Objective, ...]
    space: Space
    trials: int
    overrides: tuple[str, ...] = ()
    cache: Path | None = None
    jobs: int | None = None
    timeout: float | None = None
    seed: int = 0
    observers: tuple[Observer, ...] = ()
    warn: Callable[[str], None] = print

    @classmethod
    def of(
        cls,
        path: Path,
        target: str,
        wanted: Sequence[tuple[str, Any]],
        overrides: Sequence[str] = (),
        cache: Path | None = None,
        **rest: Any,
    ) -> Search:
        """``wanted``: metrics, each with ``minimize`` or ``maximize``. Everything that can be refused before the first
        trial is refused here."""
        require()
        space = Space.of(path, target, overrides, cache)
        with_first = [*overrides, *space.settings(space.first())]
        with located(space.marks), closing(Project(path, with_first, cache=cache)) as project:
            project.select([target])  # refused where it cannot be built
            objectives = _objectives(project, target, wanted)
        found = cls(
            path=path,
            target=target,
            objectives=objectives,
            space=space,
            overrides=tuple(overrides),
            cache=cache,
            **rest,
        )
        found._try_ends()
        return found

    def run(self) -> Iterator[Trial]:
        """Each trial as it ends: first the points of earlier searches, then new ones. Interrupted ends it; what has
        ended by then is kept."""
        began = time.monotonic()
        study = Study(self.path.parent / STATE_DIR / "tune" / self.target)
        if study.damaged:
            self.warn(f"the record of earlier trials of '{self.target}' is damaged, so the search begins at the first")
        known = [point for point in study.points if self.space.holds(point)]
        done: list[Trial] = []
        lost = None
        for point in self._points(known, done):
            if self.timeout is not None and time.monotonic() - began >= self.timeout:
                self.warn(f"the time is over after {len(done)} of {self.trials} trials")
                break
            trial = self._trial(len(done), point)
            with Held():
                lost = study.add(trial.point) or lost
            done.append(trial)
            yield trial
        if lost is not None:
            self.warn(f"the trials are not recorded, so the next search begins at the first: {lost}")

    def _points(self, known: Sequence[Point], done: list[Trial]) -> Iterator[Point]:
        """``done``: what has ended, which the caller adds to."""
        yield from known
        every = self.space.every(self.trials)
        if every is not None:
            tried = {identity(point) for point in known}
            yield from (point for point in every if identity(point) not in tried)
            return
        while len(done) < self.trials:
            point = propose(self.space, done, self.objectives, self.seed)
            if point is None:
                self.warn(f"no new point is found after {len(done)} trials")
                return
            yield point

    def _trial(self, number: int, point: Point) -> Trial:
        failed: list[str] = []

        def seen(event: object) -> None:
            if isinstance(event, NodeFinished) and event.status == "failed":
                failed.append(event.error or "")

        base: dict[str, Any] = {"number": number, "point": dict(point)}
        settings = [*self.overrides, *self.space.settings(point)]
        try:
            with closing(Project(self.path, settings, cache=self.cache)) as project:
                ran = 0
                for part in (_early(project, self.target), project):
                    if part is None:
                        continue
                    watching = [seen, *self.observers]
                    built = build_targets(part, [self.target], observers=watching, jobs=self.jobs, publish=False)
                    report, ran = built.targets[0], ran + built.counts.get("built", 0)
                    if report.status != "checked":
                        break
        except (CompressfileError, Incompatible) as error:  # these values together are refused
            return Trial(state="failed", reason=str(error), **base)
        missed = "; ".join(f"{v.metric} {v.limit} {v.verdict}" for v in report.verdicts if not v.ok)
        if report.status == "gate failed" and part is not project:
            return Trial(state="infeasible", violation=violation(report.verdicts), reason=missed, ran=ran, **base)
        if report.status not in ("checked", "gate failed"):
            said = [report.reason, *(text.strip().splitlines()[-1] for text in failed if text.strip())]
            return Trial(state="failed", reason=": ".join(said), ran=ran, **base)
        values = {o.metric: _measured(report, o) for o in self.objectives}
        if missing := [name for name, value in values.items() if value is None]:
            reason = f"{', '.join(missing)} was not measured"
            return Trial(state="failed", reason=reason, ran=ran, **base)
        numbers = tuple(value for value in values.values() if value is not None)
        return Trial(
            state="infeasible" if missed else "feasible",
            values=numbers, violation=violation(report.verdicts), reason=missed, ran=ran, **base,
        )  # fmt: skip

    def _try_ends(self) -> None:
        """Each end of a range and each choice must be a value that the parameter accepts."""
        found: dict[Diagnostic, None] = {}
        texts: dict[str, str] = {}
        for value, point in self.space.ends():
            settings = [*self.overrides, *self.space.settings(point)]
            try:
                with (
                    located(self.space.marks, value),
                    closing(Project(self.path, settings, cache=self.cache)) as project,
                ):
                    _ = project.graph
            except CompressfileError as error:
                found.update(dict.fromkeys(error.diagnostics))
                texts |= error.texts
        if found:
            raise CompressfileError(found, texts)


def _early(project: Project, target: str) -> Project | None:
    """The project with those gates of the target alone that need no measurement of times, for which everything else
    waits: a trial that misses one of them is not measured. None if there are no such gates, or no such times."""
    plan, nodes = project.graph.targets[target], project.graph.nodes

    def dear(metric: MetricPlan | None) -> bool:
        return metric is not None and metric.node is not None and nodes[metric.node].exclusive

    gates = tuple(gate for gate in plan.gates if not dear(gate.metric) and not dear(gate.against))
    if not gates or not any(nodes[index].exclusive for index in plan.nodes):
        return None
    names = {gate.metric.name for gate in gates}
    metrics = tuple(metric for metric in plan.metrics if metric.name in names)
    return narrowed(project, replace(plan, metrics=metrics, gates=gates, compared=(), details=(), asked=()))


def _objectives(project: Project, target: str, wanted: Sequence[tuple[str, Any]]) -> tuple[Objective, ...]:
    plan = project.graph.targets[target]
    metrics = {metric.name: metric for metric in plan.metrics}
    offered = [name for name, metric in metrics.items() if metric.node is not None]
    if not wanted:
        listed = (
            f"'{target}' measures {', '.join(offered)}" if offered else f"'{target}' measures nothing: add 'evaluate'"
        )
        raise UsageError("nothing to search for: name a metric with --minimize or --maximize", hint=listed)
    found: list[Objective] = []
    for name, direction in wanted:
        metric = metrics.get(name)
        if metric is None:
            hint = suggest(name, offered, "it measures", otherwise=None if offered else "add it to 'evaluate'")
            raise UsageError(f"target '{target}' has no metric '{name}'", hint=hint)
        if metric.node is None:
            raise UsageError(f"'{name}' cannot be measured here: {metric.reason}")
        if any(name == other.metric for other in found):
            raise UsageError(f"'{name}' is named twice")
        better = {"lower": "minimize", "higher": "maximize"}.get(metric.direction, direction)
        if better != direction:
            raise UsageError(f"of '{name}', {metric.direction} is better", hint=f"--{better} {name}")
        record: Metric | None = metric.record or project.registry.metrics.get(name)
        relative = record is not None and apart(record) and plan.baseline not in (None, target)
        found.append(Objective(name, direction, "" if relative else metric.unit, relative))
    return tuple(found)


def _measured(report: TargetReport, objective: Objective) -> float | None:
    result: Mapping[str, Any] = report.metrics.get(objective.metric, {})
    value = result.get("ratio" if objective.relative else "value")
    return float(value) if isinstance(value, int | float) and value == value else None
