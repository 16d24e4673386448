"""The search: each trial is an ordinary build of the target with the values of a point, which publishes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from ..api import Metric
from ..build.outcome import TargetReport
from ..errors import CompressfileError, Diagnostic, Incompatible, UsageError
from ..evaluate.roles import apart
from ..execute.events import Observer
from ..interrupts import Held
from ..project import STATE_DIR, Project, together
from ..words import suggest
from .propose import propose, require
from .space import Point, Space, identity, located
from .stages import Ended, judged
from .study import Study
from .trials import Objective, Trial, bounds, violation

__all__ = ["Search"]


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """One search. ``trials``: how many there are to be, with those of earlier searches. ``timeout``: seconds after
    which no trial begins. ``at_once``: how many trials are one build. ``warn``: takes what the user should know.
    ``units``: of the target's metrics."""

    path: Path
    target: str
    objectives: tuple[Objective, ...]
    space: Space
    trials: int
    overrides: tuple[str, ...] = ()
    cache: Path | None = None
    jobs: int | None = None
    at_once: int = 1
    timeout: float | None = None
    seed: int = 0
    observers: tuple[Observer, ...] = ()
    warn: Callable[[str], None] = print
    units: Mapping[str, str] = {}

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
            units = {metric.name: metric.unit for metric in project.graph.targets[target].metrics}
        found = cls(
            path=path,
            target=target,
            objectives=objectives,
            space=space,
            overrides=tuple(overrides),
            cache=cache,
            units=units,
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
        for points in self._batches(known, done):
            if self.timeout is not None and time.monotonic() - began >= self.timeout:
                self.warn(f"the time is over after {len(done)} of {self.trials} trials")
                break
            for trial in self._ended(len(done), points):
                with Held():
                    lost = study.add(trial.point) or lost
                done.append(trial)
                yield trial
        if lost is not None:
            self.warn(f"the trials are not recorded, so the next search begins at the first: {lost}")

    def _batches(self, known: Sequence[Point], done: list[Trial]) -> Iterator[list[Point]]:
        """The points that are built together. ``done``: what has ended, which the caller adds to.

        A batch begins at a multiple of its size, and its points are proposed from the trials before it. So a search
        that was stopped within a batch goes on as if it had not been."""
        every = self.space.every(self.trials)
        if every is not None:
            tried = {identity(point) for point in known}
            points = [*known, *(point for point in every if identity(point) not in tried)]
            for start in range(0, len(points), self.at_once):
                yield points[start : start + self.at_once]
            return
        while len(done) < max(self.trials, len(known)):
            batch: list[Point] = []
            for number in range(len(done), len(done) + self.at_once):
                if number < len(known):
                    batch.append(known[number])
                elif number < self.trials:
                    point = propose(self.space, done, self.objectives, self.seed, batch)
                    if point is None:
                        break
                    batch.append(point)
            if batch:
                yield batch
            if len(batch) < self.at_once and len(done) < self.trials:
                self.warn(f"no new point is found after {len(done)} trials")
                return

    def _ended(self, number: int, points: Sequence[Point]) -> list[Trial]:
        """The trials of a batch, in its order. ``number``: of the first."""
        projects: dict[str, Project] = {}
        refused: dict[str, str] = {}
        keys = [f"trial-{number + at + 1}" for at in range(len(points))]
        with ExitStack() as stack:
            for key, point in zip(keys, points, strict=True):
                settings = [*self.overrides, *self.space.settings(point)]
                try:
                    project = Project(self.path, settings, cache=self.cache)
                    stack.callback(project.close)
                    project.select([self.target])
                    projects[key] = project
                except (CompressfileError, Incompatible) as error:  # these values together are refused
                    refused[key] = str(error)
            found = self._built(projects, refused)
        return [
            Trial(number=number + at, point=dict(point), state="failed", reason=refused[key])
            if key in refused
            else self._trial(number + at, point, found[key])
            for at, (key, point) in enumerate(zip(keys, points, strict=True))
        ]

    def _built(self, projects: Mapping[str, Project], refused: dict[str, str]) -> dict[str, Ended]:
        """As one graph, so what trials share is made once and they wait for one another only to measure times. What is
        on other machines, whose facts may change meanwhile, is built one by one. ``refused`` takes what cannot be."""
        apart = len(projects) == 1 or any(project.machines is not None for project in projects.values())
        groups = (
            [{key: project} for key, project in projects.items()] if apart else [dict(projects)] if projects else []
        )
        found: dict[str, Ended] = {}
        for group in groups:
            joint = together(group, self.target) if len(group) > 1 else next(iter(group.values()))
            names = {key: key if len(group) > 1 else self.target for key in group}
            try:
                ended = judged(joint, list(names.values()), observers=self.observers, jobs=self.jobs)
            except (CompressfileError, Incompatible) as error:
                if len(group) > 1:
                    for key, project in group.items():
                        found |= self._built({key: project}, refused)
                else:
                    refused |= dict.fromkeys(group, str(error))
                continue
            found |= {key: _plain(ended[name], key) for key, name in names.items()}
        return found

    def _trial(self, number: int, point: Point, ended: Ended) -> Trial:
        report = ended.report
        relative = {objective.metric for objective in self.objectives if objective.relative}
        measured = {
            name: float(value)
            for name, result in report.metrics.items()
            if isinstance(value := result.get("ratio" if name in relative else "value"), int | float) and value == value
        }
        base: dict[str, Any] = {"number": number, "point": dict(point), "ran": ended.ran, "metrics": measured}
        base["limits"] = bounds(report.verdicts, measured, relative)
        missed = "; ".join(f"{v.metric} {v.limit} {v.verdict}" for v in report.verdicts if not v.ok)
        if ended.early:
            return Trial(state="infeasible", violation=violation(report.verdicts), reason=missed, **base)
        if report.status not in ("checked", "gate failed"):
            return Trial(state="failed", reason=": ".join([report.reason, *ended.errors]), **base)
        values = {o.metric: _measured(report, o) for o in self.objectives}
        if missing := [name for name, value in values.items() if value is None]:
            reason = f"{', '.join(missing)} was not measured"
            return Trial(state="failed", reason=reason, **base)
        numbers = tuple(value for value in values.values() if value is not None)
        return Trial(
            state="infeasible" if missed else "feasible",
            values=numbers, violation=violation(report.verdicts), reason=missed, **base,
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


def _plain(ended: Ended, key: str) -> Ended:
    """With the positions as they are in the Compressfile, without the trial's."""
    reason = ended.report.reason.replace(f"@{key} ", " ").replace(f"@{key},", ",")
    return replace(ended, report=replace(ended.report, reason=reason))


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
