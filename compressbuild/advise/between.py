"""The quality after each step of a target that lost too much, so that the step which lost it can be named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy

from msgspec.structs import replace

from ..api.advice import Measured, Seen
from ..compressfile.spec import EvaluateSpec, MetricUse, StepSpec, TargetSpec
from ..evaluate.results import Results
from ..execute.events import Observer
from ..project import Project

__all__ = ["between_steps"]

Part = tuple[int, TargetSpec]  # how many of the steps, and the target that ends with them


def between_steps(
    project: Project, seen: Iterable[Seen], *, build: bool, observers: Sequence[Observer] = ()
) -> tuple[tuple[Seen, ...], dict[str, str]]:
    """The targets, each that lost too much with what is known of its first steps as ``siblings``. ``build``: build and
    measure what is not known yet; nothing is published. ``observers``: of that build. Also target → why that failed."""
    given = tuple(seen)
    wanted = {each.target: parts for each in given if each.too_much and (parts := _parts(project, each))}
    if not wanted:
        return given, {}
    targets = {target.name: target for parts in wanted.values() for _, target in parts}
    _ = (project.keyer, project.traces, project.publisher)  # made once, for both
    part = copy(project)
    part.spec = replace(project.spec, targets={**project.spec.targets, **targets})
    part.__dict__.pop("graph", None)
    names = [name for name in targets if not part.graph.targets[name].missing]
    failed = _built(part, names, observers) if build else {}
    results = Results.of_plan(part.store, part.plan(names))
    found: list[Seen] = []
    for each in given:
        points: list[Measured] = []
        for count, target in wanted.get(each.target, ()):
            metrics = part.graph.targets[target.name].metrics if target.name in names else ()
            value = next((r.get("value") for m in metrics if m.name == each.quality and (r := results.metric(m))), None)
            if isinstance(value, int | float):
                nodes = tuple(step.node for step in each.steps[:count])
                points.append(Measured(f"'{target.description}'", nodes, value))
        found.append(replace(each, siblings=(*each.siblings, *(_trained(each, points) if points else ()))))
    whose = {target.name: name for name, parts in wanted.items() for _, target in parts}
    return tuple(found), {whose[name]: why for name, why in failed.items()}


def _built(part: Project, names: Sequence[str], observers: Sequence[Observer]) -> dict[str, str]:
    """Target → why it failed."""
    from ..build.run import build_targets  # what executes, which reading does without

    report = build_targets(part, names, observers=observers, keep_going=True, publish=False)
    return {each.name: each.reason for each in report.targets if each.status == "failed"}


def _parts(project: Project, seen: Seen) -> list[Part]:
    """A target for each step but the last, and for the model as it came. An export changes no quality."""
    source, steps = _chain(project, seen.target)
    if seen.quality is None or len(steps) < 2 or len(steps) != len(seen.steps):
        return []
    own = project.spec.targets[seen.target]
    base = own.evaluate or project.spec.evaluate
    if base is None or base.data is None:
        return []
    uses = tuple(use for use in base.metrics if use.label == seen.quality)
    evaluate = replace(base, metrics=uses or (MetricUse(seen.quality, base.mark),))
    counts = [n for n in range(len(steps)) if not n or not seen.steps[n - 1].has("exports")]
    parts = [(count, _part(own, source, steps, count, evaluate)) for count in counts]
    return [(count, target) for count, target in parts if target.name not in project.spec.targets]


def _part(own: TargetSpec, source: str, steps: Sequence[StepSpec], count: int, evaluate: EvaluateSpec) -> TargetSpec:
    after = f"{own.name} after {steps[count - 1].technique}" if count else f"{own.name} before its steps"
    return TargetSpec(
        name=f"{own.name}-after-{count}",
        mark=own.mark,
        source=source,
        steps=tuple(steps[:count]),
        evaluate=evaluate,
        description=after,
    )


def _chain(project: Project, name: str) -> tuple[str, list[StepSpec]]:
    """The model that a target is made from, and every step from it on."""
    steps: list[StepSpec] = []
    while name in project.spec.targets:
        spec = project.spec.targets[name]
        steps[:0] = spec.steps
        name = spec.source
    return name, steps


def _trained(seen: Seen, points: list[Measured]) -> list[Measured]:
    """From the first one on that is as good as it should be: a model that is not trained yet has lost nothing."""
    assert seen.best is not None
    worse = 1 if seen.lower_is_better else -1
    good = [(each.value - seen.best[1]) * worse <= (seen.allowed or 0.0) for each in points]
    return points[good.index(True) :] if any(good) else points
