"""A project as the checks see it: the plan, what the cache and ``build/`` hold, and the facts of the machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ..api import AnswerMetric, Metric
from ..api.advice import Failure, Measured, Origin, Seen, Step
from ..compressfile.nodes import plain
from ..compressfile.spec import DatasetSpec, StepSpec
from ..digest import digest_value
from ..errors import StoreError
from ..evaluate.evidence import Evidence
from ..evaluate.results import Results
from ..evaluate.roles import Roles
from ..graph import Graph, TargetPlan
from ..plan import Failures, Plan
from ..platforms import quota, saturates
from ..project import Project
from ..store import ActionResult

__all__ = ["gather"]

_POINT = 0.01  # of a share: what may be lost where no gate says it


def gather(
    project: Project, names: Iterable[str], *, root: Path = Path("/"), thorough: bool = False
) -> tuple[Seen, ...]:
    """Targets as they are. Builds nothing. ``root``: where the control groups of this machine are read."""
    asked = tuple(names)
    graph = project.graph
    known = [name for name in project.spec.targets if name in graph.targets]
    plan = project.plan(known)
    results = Results.of_plan(project.store, plan)
    metrics = {name: _metrics(project, graph.targets[name], results) for name in known}
    quality = Roles.of(graph.metrics)
    limit = quota(root)
    shared = [
        Measured(name, _chain(graph, graph.targets[name]), metrics[name][which]["value"])
        for name in known
        if (which := quality.quality_of(metrics[name])) is not None and _number(metrics[name][which].get("value"))
    ]
    shared += _perfect_baselines(graph, known)
    found = (_seen(project, graph.targets[name], results, metrics, shared, limit) for name in asked)
    return tuple(replace(each, thorough=thorough, failed=_failed(project, plan, each)) for each in found)


def _failed(project: Project, plan: Plan, seen: Seen) -> Failure | None:
    """The first node of a target that failed with the key that it has now."""
    graph, failures = project.graph, Failures(project.state)
    for index in graph.ordered(graph.targets[seen.target].nodes):
        action = plan.actions[index]
        if action.status == "cached" or action.key is None or (why := failures.get(action.key)) is None:
            continue
        node = graph.nodes[index]
        step = next((step for step in seen.steps if step.node == index), None)
        compiled = seen.platform_mark if node.role == "compile" else None
        mark = step.mark if step is not None else compiled or node.mark
        return Failure(
            node=index,
            role=node.role,
            name=node.name,
            mark=mark,
            error=why.error,
            hint=why.hint,
            about=why.about,
            change=why.change,
            params=node.params,
        )
    return None


def _perfect(metric: Metric) -> float | None:
    """What a metric that compares with the baseline would be of the baseline itself; None where that has no bound."""
    if not isinstance(metric, AnswerMetric) or not metric.paired or metric.unit:
        return None
    return 0.0 if metric.direction == "lower" else 1.0


def _perfect_baselines(graph: Graph, names: Iterable[str]) -> Iterator[Measured]:
    """Baselines that a metric of quality compares others with, so that it is not measured of them."""
    bases = {graph.targets[name].baseline: graph.targets[name] for name in names}
    for base, target in bases.items():
        best = Roles.of(graph.metrics).quality_of([metric.name for metric in target.metrics])
        if base in graph.targets and best is not None and (value := _perfect(graph.metrics[best])) is not None:
            yield Measured(str(base), _chain(graph, graph.targets[str(base)]), value)


def _metrics(project: Project, target: TargetPlan, results: Results) -> Mapping[str, Mapping[str, Any]]:
    """As it is now, or else as it was published."""
    found = {metric.name: results.metric(metric) for metric in target.metrics}
    now = {name: result for name, result in found.items() if result is not None}
    if now:
        return now
    said = Evidence.read(project.publisher.path(target.name))
    return said.metrics if said is not None else {}


def _number(value: object) -> bool:
    return isinstance(value, int | float)


def _chain(graph: Graph, target: TargetPlan) -> tuple[int, ...]:
    """The technique nodes of a target, the first one first."""
    found, at = [], target.artifact
    while True:
        node = graph.nodes[at]
        if node.role == "technique":
            found.append(at)
        if "subject" not in node.inputs:
            return tuple(reversed(found))
        at = node.inputs["subject"]


def _written(project: Project, name: str) -> list[StepSpec]:
    """Every step that leads to a target, as it stands in the file."""
    found: list[StepSpec] = []
    while name in project.spec.targets:
        spec = project.spec.targets[name]
        found[:0] = spec.steps
        name = spec.source
    return found


def _steps(project: Project, target: TargetPlan, results: Results) -> tuple[Step, ...]:
    graph, chain = project.graph, _chain(project.graph, target)
    written: list[StepSpec | None] = [*_written(project, target.name)]
    if [step.technique for step in written if step is not None] != [graph.nodes[index].name for index in chain]:
        written = [None] * len(chain)
    found = []
    for index, step in zip(chain, written, strict=True):
        node = graph.nodes[index]
        made, given = results.made(index), results.made(node.inputs["subject"])
        found.append(
            Step(
                node=index,
                technique=node.name,
                traits=_traits(project, node.name),
                mark=step.mark if step is not None else node.mark,
                params=node.params,
                facts=made.facts if made is not None else {},
                output=_content(project, made),
                before=_content(project, given),
            )
        )
    return tuple(found)


def _seen(
    project: Project,
    target: TargetPlan,
    results: Results,
    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]],
    shared: Iterable[Measured],
    limit: float | None,
) -> Seen:
    graph, own = project.graph, metrics[target.name]
    roles = Roles.of(graph.metrics)
    quality, speed = roles.quality_of(own), roles.speed_of(own)
    base = graph.targets.get(target.baseline) if target.baseline is not None else None
    # What is not compiled is not shipped: it need not be as fast as a compiled baseline.
    fair = base is None or _compiled(graph, target) or not _compiled(graph, base)
    evaluation = target.spec.evaluate or project.spec.evaluate
    isa = project.facts.get("cpu.isa")
    arch = project.facts.get("cpu.arch")
    made = results.made(target.artifact)
    missed = _missed(project, target, results)
    return Seen(
        target=target.name,
        mark=target.spec.mark,
        metrics=own,
        details={m.name: found for m in target.details if (found := results.metric(m)) is not None},
        baseline_metrics=metrics.get(target.baseline, {}) if target.baseline is not None else {},
        steps=_steps(project, target, results),
        quality=quality,
        classes=not own or any(graph.metrics[name].judges == "classes" for name in own if name in graph.metrics),
        lower_is_better=quality is not None and graph.metrics[quality].direction == "lower",
        value=own[quality]["value"] if quality is not None and _number(own[quality].get("value")) else None,
        best=_best(target, results, metrics, quality, graph) if quality is not None else None,
        allowed=_allowed(graph, target, own, quality, missed),
        speed=speed,
        ratios=_ratios(own.get(speed, {})) if speed is not None and fair else None,
        baseline=target.baseline,
        baseline_traits=_all_traits(project, base) if base is not None else frozenset(),
        baseline_nodes=frozenset(_chain(graph, base)) if base is not None else frozenset(),
        same_model=base is not None and _same_model(project, target, base),
        sizes=_sizes(target, base, results),
        gated=frozenset(gate.spec.metric for gate in target.gates),
        missed=missed,
        evaluation=evaluation.data if evaluation is not None else None,
        datasets={name: _origin(spec) for name, spec in project.spec.datasets.items()},
        **_training(project),
        siblings=tuple(each for each in shared if each.target != target.name),
        asked=frozenset(metric.name for plan in graph.targets.values() for metric in plan.metrics),
        last_metric=evaluation.metrics[-1].mark if evaluation is not None and evaluation.metrics else None,
        built=made is not None,
        arch=arch if isinstance(arch, str) else None,
        isa=tuple(isa) if isinstance(isa, list) else (),
        quota=limit,
        **_platform(project, target),
    )


def _content(project: Project, result: ActionResult | None) -> str | None:
    """A digest of the bytes of a result's files, whatever their names: one that only renames a file changes nothing."""
    if result is None:
        return None
    try:
        files = project.store.cas.read_tree(result.output).files
    except StoreError:  # evicted: its name is all that is known
        return result.output
    return digest_value(sorted(file.digest for file in files))


def _traits(project: Project, technique: str) -> tuple[str, ...]:
    return project.registry.techniques[technique].traits


def _all_traits(project: Project, target: TargetPlan) -> frozenset[str]:
    names = (project.graph.nodes[index].name for index in _chain(project.graph, target))
    return frozenset(trait for name in names for trait in _traits(project, name))


def _origin(spec: DatasetSpec) -> Origin:
    """Rows are those of the same source if all but the parts that it is split into are equal."""
    settings = {k: v for k, v in plain(spec.settings).items() if k != "split"} if spec.settings is not None else None
    source = [spec.loader, plain(spec.args) if spec.args is not None else None, list(spec.files), spec.source, settings]
    return Origin(spec.name, digest_value(source), spec.rows)


def _same_model(project: Project, target: TargetPlan, base: TargetPlan) -> bool:
    """Whether every step of the baseline is one of the target's. Exporting makes no other model."""
    graph = project.graph
    own, other = set(_chain(graph, target)), _chain(graph, base)
    return all(i in own or "exports" in _traits(project, graph.nodes[i].name) for i in other) and (
        _source(graph, target) == _source(graph, base)
    )


def _source(graph: Graph, target: TargetPlan) -> int:
    at = target.artifact
    while "subject" in graph.nodes[at].inputs:
        at = graph.nodes[at].inputs["subject"]
    return at


def _compiled(graph: Graph, target: TargetPlan) -> bool:
    return graph.nodes[target.artifact].role == "compile"


def _platform(project: Project, target: TargetPlan) -> dict[str, Any]:
    """What the checks know of the target's platform, by field."""
    graph = project.graph
    node, name = graph.nodes[target.artifact], target.spec.platform
    declared = project.spec.platforms.get(name) if name is not None else None
    if declared is None or node.role != "compile":
        return {}
    backend = project.registry.backends[node.name]
    requires = plain(declared.requires) if declared.requires is not None else None
    threads = node.params.get("threads")
    return {
        "platform": declared.name,
        "platform_mark": declared.mark,
        "backend": node.name,
        "scheme": backend.qdq_scheme,
        "on_cpu": backend.saturates,
        "sparse": backend.sparse,
        "saturates": backend.saturates and saturates(project.facts, requires),
        "threads": threads if isinstance(threads, int) else None,
    }


def _ratios(result: Mapping[str, Any]) -> tuple[float, float, float] | None:
    found = [result.get(name) for name in ("ratio", "ratio_low", "ratio_high")]
    ratio, low, high = found
    if ratio is None or low is None or high is None:
        return None
    return float(ratio), float(low), float(high)


def _sizes(target: TargetPlan, base: TargetPlan | None, results: Results) -> tuple[int, int] | None:
    own, other = results.size(target.artifact), results.size(base.artifact) if base is not None else None
    return (own, other) if own is not None and other is not None else None


def _best(
    target: TargetPlan,
    results: Results,
    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]],
    quality: str,
    graph: Graph,
) -> tuple[str, float] | None:
    """The better of the baseline and of what gates on quality compare with."""
    found: dict[str, float] = {}
    compared = {m.name: results.metric(m) for m in target.compared}
    if target.baseline is not None:
        result = metrics.get(target.baseline, {}).get(quality) or compared.get(quality)
        if result is not None and _number(result.get("value")):
            found[target.baseline] = result["value"]
        elif (value := _perfect(graph.metrics[quality])) is not None:
            found[target.baseline] = value
    for gate in target.gates:
        against = gate.spec.against
        if gate.spec.metric == quality and gate.against is not None and against is not None:
            measured = results.metric(gate.against)
            if measured is not None and _number(measured.get("value")):
                found[against] = measured["value"]
    if not found:
        return None
    pick = min if graph.metrics[quality].direction == "lower" else max
    name = pick(found, key=found.__getitem__)
    return name, found[name]


def _missed(project: Project, target: TargetPlan, results: Results) -> frozenset[str]:
    """The metrics that fail a gate."""
    from ..evaluate.history import History
    from ..evaluate.target import assess

    if not target.gates:
        return frozenset()
    judged = assess(project.graph, target, results, History(project.state / "history"))
    return frozenset(verdict.metric for verdict in judged.verdicts if verdict.verdict == "fail")


def _allowed(
    graph: Graph,
    target: TargetPlan,
    own: Mapping[str, Mapping[str, Any]],
    quality: str | None,
    missed: frozenset[str],
) -> float | None:
    """How much quality may be lost: as a gate says, or a point of a share where none does. None: a gate is met."""
    if quality is None:
        return None
    gates = [gate.spec for gate in target.gates if gate.spec.metric == quality]
    if not gates:
        metric = graph.metrics[quality]
        return _POINT if metric.unit == "" and 0 <= own[quality].get("value", -1) <= 1 else None
    if quality not in missed:
        return None
    return min((gate.max_drop for gate in gates if gate.max_drop is not None), default=0.0)


def _training(project: Project) -> dict[str, Any]:
    """What the file trains on, and how long and how fast: of its first step that trains."""
    for node in project.graph.nodes:
        trains = node.role == "technique" and "trains" in _traits(project, node.name)
        if trains and isinstance(node.params.get("data"), str):
            known = {key: node.params.get(key) for key in ("data", "epochs", "lr")}
            recipe = ", ".join(
                f"{key}: {value}" for key, value in known.items() if isinstance(value, str | int | float)
            )
            return {"training": str(node.params["data"]), "recipe": recipe}
    return {}
