"""Compares two targets by what is known of them: in the cache, or published. Either may be of another revision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from ...errors import UsageError
from ...evaluate.answers import Flip
from ...evaluate.compare import (
    Comparison,
    Quality,
    Speed,
    compare_quality,
    compare_speed,
    direct_speed,
    hits,
    judged_row,
    row,
    timed_row,
)
from ...evaluate.evidence import Evidence
from ...evaluate.results import FILE, Results
from ...evaluate.roles import Roles, apart
from ...graph import Ask, TargetPlan
from ...plan import Plan
from ...project import Project
from ...words import suggest
from .beside import Beside
from .flipped import Shown, answered, answers_of, ask_samples, known_samples, look
from .profiling import known_profiles, profiles_beside

__all__ = ["Compared", "Side", "compare_targets", "operators_of", "samples_of", "side"]

_EXACTLY = {"ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0}

Result = Mapping[str, Any]


class Side:
    """A target of a project. ``ref``: the revision that the project is of, None for the work tree. ``notes``: what of
    the revision is not here."""

    def __init__(self, project: Project, name: str, ref: str | None = None, notes: Sequence[str] = ()) -> None:
        self.project = project
        self.name = name
        self.ref = ref
        self.notes = notes
        self.label = name if ref is None else f"{name}@{ref}"
        if name not in project.spec.targets:
            hint = suggest(name, project.spec.targets, otherwise="see 'cbuild list'")
            where = "" if ref is None else f" in '{ref}'"
            raise UsageError(f"unknown target '{name}'{where}", hint=hint)

    @property
    def target(self) -> TargetPlan:
        return self.project.graph.targets[self.name]

    @cached_property
    def plan(self) -> Plan:
        return self.project.plan((self.name,))

    @cached_property
    def made(self) -> Results:
        return Results.of_plan(self.project.store, self.plan)

    def measured(self) -> dict[str, Result]:
        """What has been measured of the target as it is declared."""
        found = {metric.name: self.made.metric(metric) for metric in self.target.metrics}
        return {name: result for name, result in found.items() if result is not None}

    def results(self, missing: dict[str, str]) -> dict[str, Result]:
        """What was measured of it as it is declared, or else as it was published."""
        if found := self.measured():
            return found
        if self.ref is not None:
            raise UsageError(
                f"'{self.label}' is not in the cache: it was not built and measured with this cache",
                hint="'--measure' builds it from a temporary checkout",
            )
        said = Evidence.read(self.project.publisher.path(self.name))
        if said is None or not said.metrics:
            raise UsageError(f"'{self.name}' has not been built and measured", hint=f"cbuild {self.name}")
        missing[f"{self.name} as it is now"] = f"the values are those it was published with ('cbuild why {self.name}')"
        return dict(said.metrics)

    def size(self) -> int | None:
        """Bytes of its artifact: as it is now declared, or else as published."""
        size = self.made.size(self.target.artifact)
        return size if size is not None or self.ref is not None else self.project.publisher.size(self.name, (FILE,))

    def named(self) -> set[str]:
        """The metrics that its file asks of it."""
        spec = self.project.spec
        evaluate, gates = spec.targets[self.name].evaluate or spec.evaluate, spec.targets[self.name].gates
        used = {use.name for use in evaluate.metrics} if evaluate is not None else set()
        return used | {gate.metric for gate in gates}

    def artifact(self, name: str) -> str | None:
        """The digest of what a target or model is now, if it is known."""
        targets = self.project.graph.targets
        if name not in targets:
            return None
        plan = self.plan if name == self.name else self.project.plan((name,))
        result = plan.actions[targets[name].artifact].result
        return result.output if result is not None else None


@contextmanager
def side(project: Project, word: str, overrides: Sequence[str] = ()) -> Iterator[Side]:
    """``TARGET``, or ``TARGET@REF``: as it was at a git revision."""
    name, at, ref = word.partition("@")
    if not at:
        yield Side(project, name)
        return
    from ...revision import revised

    with revised(project, ref, overrides) as (then, notes):
        yield Side(then, name, ref, notes)


class Compared:
    """``found``: the comparison. ``results``: of each side, by metric."""

    def __init__(self, found: Comparison, results: tuple[dict[str, Result], dict[str, Result]]) -> None:
        self.found = found
        self.results = results


def compare_targets(first: Side, second: Side, *, measure: bool = False) -> Compared:
    """What is known of both. ``measure``: build both, and measure the second alternately with the first if both are of
    one revision; nothing is published."""
    if first.label == second.label:
        raise UsageError(f"'{first.label}' cannot be compared with itself")
    roles = Roles.of(second.project.registry.metrics)
    speed = roles.speed_of(first.named() | second.named()) or roles.speed_of(roles.speed)
    together = first.project is second.project
    if speed is not None and together:
        second.project.ask(Ask(second.project.registry.metrics[speed], second.name, beside=first.name))
    if measure:
        _measure(first, second, speed)
    missing: dict[str, str] = {}
    a, b = first.results(missing), second.results(missing)
    quality = _quality(a, b, missing)
    timed = _timed(first, second, a, b, speed, missing) if speed is not None else None
    metrics = second.project.graph.metrics
    rows = []
    for name in (n for n in Roles.of(metrics).in_order((*a, *b)) if n in metrics):
        plain = row(name, metrics[name].unit, metrics[name].direction, a.get(name), b.get(name))
        rows.append(timed_row(plain, timed) if apart(metrics[name]) else judged_row(plain, quality))
    sizes = (first.size(), second.size())
    found = Comparison(
        first=first.label, second=second.label, quality=quality, speed=timed, rows=tuple(rows),
        flipped=_flipped(first, second, quality) if quality is not None else (), missing=missing,
        sizes=(sizes[0], sizes[1]) if sizes[0] is not None and sizes[1] is not None else None,
    )  # fmt: skip
    return Compared(found, (a, b))


def operators_of(first: Side, second: Side) -> Beside | str:
    """The operators of both side by side, or why they are not. Runs nothing."""
    known = [known_profiles(side.project, (side.name,))[side.name] for side in (first, second)]
    for at, side in enumerate((first, second)):
        if isinstance(known[at], str) and side.ref is not None:
            known[at] = f"'{side.label}' was not profiled with this cache"
    return profiles_beside(known[0], known[1])


def samples_of(second: Side, found: Comparison, *, run: bool) -> Shown | str | None:
    """What the samples are that flipped, by number, or why that cannot be shown; None: nobody has looked. ``run``: a
    worker looks."""
    quality = found.quality
    ask = ask_samples(second.project, second.name, quality.metric, found.flipped, quality) if quality else None
    if ask is None:
        return "no sample flipped whose number in the dataset is known"
    if run and (failed := look(second.project, [ask])):
        return "; ".join(failed.values())
    return known_samples(second.project, [ask])[second.name]


def _measure(first: Side, second: Side, speed: str | None) -> None:
    """Run what the comparison needs. Nothing is published."""
    from ...build.run import measure_targets  # what executes, which looking does without

    if first.project is second.project and speed is None:
        raise UsageError("no installed plugin offers a metric that is measured alternately with another target's")
    wanted = {side.project: [s.name for s in (first, second) if s.project is side.project] for side in (first, second)}
    for project, names in wanted.items():
        failed = [report for report in measure_targets(project, names).targets if report.status == "failed"]
        if failed:
            side = first if failed[0].name == first.name and project is first.project else second
            raise UsageError(f"{side.label} cannot be measured: {failed[0].reason}", hint=f"cbuild {failed[0].name}")


def _timed(
    first: Side, second: Side, a: Mapping[str, Result], b: Mapping[str, Result], speed: str, missing: dict[str, str]
) -> Speed | None:
    timed = _direct(second, speed) or _through_baseline(first, second, a, b, speed)
    if timed is None:
        missing[speed] = (
            "never measured side by side; '--measure' does"
            if first.project is second.project
            else "two revisions are compared through a baseline that is the same in both, and these have none"
        )
    return timed


def _flipped(first: Side, second: Side, quality: Quality) -> tuple[Flip, ...]:
    """What both answered, if the predictions are still in the cache."""
    made = [answers_of(side.project, side.plan, side.target, quality.metric) for side in (first, second)]
    return answered(second.project.store, made[0], made[1], quality)


def _quality(a: Mapping[str, Result], b: Mapping[str, Result], missing: dict[str, str]) -> Quality | None:
    for name in a:
        if name in b and "hits" in a[name] and "hits" in b[name]:
            if a[name].get("labels") != b[name].get("labels"):
                missing["quality"] = f"the two were not measured on the same samples ({name})"
                return None
            try:
                return compare_quality(name, hits(a[name]) or [], hits(b[name]) or [])
            except ValueError as error:
                missing["quality"] = f"{name}: {error}"
                return None
    missing["quality"] = "no metric of both says which samples it gets right"
    return None


def _direct(second: Side, speed: str) -> Speed | None:
    found = [second.made.metric(asked) for asked in second.target.asked]
    return next((direct_speed(speed, result) for result in found if result is not None), None)


def _through_baseline(
    first: Side, second: Side, a: Mapping[str, Result], b: Mapping[str, Result], speed: str
) -> Speed | None:
    """Where both were measured beside one baseline, which may be the first itself."""
    own = (a.get(speed), b.get(speed))
    bases = [side.target.baseline or side.name for side in (first, second)]
    if None in own or bases[0] != bases[1]:
        return None
    if first.project is not second.project:
        artifacts = [side.artifact(bases[0]) for side in (first, second)]
        if artifacts[0] is None or artifacts[0] != artifacts[1]:
            return None
    found = [
        {**(result or {}), **(_EXACTLY if side.name == bases[0] else {})}
        for side, result in zip((first, second), own, strict=True)
    ]
    return compare_speed(speed, found[0], found[1], bases[0])
