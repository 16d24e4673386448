"""Everything that a report shows, as JSON values: from the plan, what is published, logs and history."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from .. import __version__
from ..evaluate.choice import Candidate, choose, front
from ..evaluate.compare import compare_quality, hits
from ..evaluate.concerns import target_concerns
from ..evaluate.gates import judge_gate
from ..evaluate.history import History
from ..evaluate.results import published_metrics, read_metrics
from ..graph import MetricPlan, TargetPlan
from ..plan import Action, Plan
from ..project import Project
from .breakdowns import breakdowns
from .drawing import Picture
from .layers import shown_layers

__all__ = ["gather", "timed"]

LOG_BYTES = 3000
HISTORY = 50
_QUALITY = ("top1", "f1", "recall", "precision", "top5", "pearson", "spearman", "agreement")

Json = dict[str, Any]


def gather(project: Project, names: Sequence[str]) -> Json:
    """The report's data. Builds and runs nothing."""
    plan = project.plan(names)
    targets = [_target(project, plan, project.graph.targets[name]) for name in names]
    metrics = project.registry.metrics
    shown = dict.fromkeys(name for target in targets for name in target["metrics"])
    document: Json = {
        "project": project.root.name,
        "version": __version__,
        "time": time.time(),
        "targets": targets,
        "metrics": {
            name: {"unit": metrics[name].unit, "direction": metrics[name].direction, "summary": metrics[name].summary}
            for name in shown
            if name in metrics
        },
        "nodes": [_node(project, action) for action in plan.actions.values()],
        "layers": _layers(project, plan, names),
    }
    _rank(document, plan)
    for target in targets:
        for result in target["metrics"].values():
            result.pop("hits", None)
    return document


def timed(picture: Picture, plan: Plan, document: Json) -> Picture:
    """The picture with the time that each node took on its second line."""
    seconds = {row["node"]: row["seconds"] for row in document["nodes"]}
    took = {f"n{index}": seconds.get(action.node.position) for index, action in plan.actions.items()}
    boxes = [
        replace(box, below=f"{box.below} · {value:.2g} s" if value < 10 else f"{box.below} · {value:.0f} s")
        if (value := took.get(box.name)) is not None
        else box
        for box in picture.boxes
    ]
    return replace(picture, boxes=tuple(boxes))


def _rank(document: Json, plan: Plan) -> None:
    """Marks the front and the choice. Where anything is compiled, only that is shipped."""
    targets = document["targets"]
    quality = next((m for m in _QUALITY if any(m in target["metrics"] for target in targets)), None)
    document["quality"], document["choice"] = quality, None
    if quality is None:
        return
    compiled = [target for target in targets if target["platform"]] or targets
    candidates = [Candidate.of(t["name"], t["metrics"], quality, _objection(t)) for t in compiled]
    candidates = _relative(candidates, compiled)
    ahead = front(candidates)
    for target in targets:
        target["front"] = target["name"] in ahead
    chosen = choose(candidates, quality)
    document["choice"] = msgspec.to_builtins(chosen) if chosen is not None else None


def _relative(candidates: list[Candidate], targets: Sequence[Json]) -> list[Candidate]:
    """With latencies as ratios to one baseline, which hold where milliseconds do not; else as they are."""
    bases = {target["baseline"] or target["name"] for target in targets if "latency" in target["metrics"]}
    ratios = {}
    for target in targets:
        measured = target["metrics"].get("latency", {})
        ratios[target["name"]] = 1.0 if target["name"] in bases else measured.get("ratio")
    if len(bases) != 1 or any(c.latency is not None and ratios[c.name] is None for c in candidates):
        return candidates
    return [msgspec.structs.replace(c, latency=ratios[c.name]) if c.latency is not None else c for c in candidates]


def _objection(target: Json) -> str:
    missed = [f"{g['metric']} {g['limit']}" for g in target["gates"] if not g["ok"]]
    if missed:
        return f"misses its gate: {', '.join(missed)}"
    collapsed = [w["message"] for w in target["warnings"] if w["kind"] == "class-collapsed"]
    return collapsed[0] if collapsed else "" if target["published"] else "is not published"


def _target(project: Project, plan: Plan, target: TargetPlan) -> Json:
    graph = project.graph
    directory = project.publisher.path(target.name)
    said = published_metrics(directory)
    actions = [plan.actions[i] for i in graph.order if i in graph.closure([target.artifact]) and i in plan.actions]
    wanted = [plan.actions[i] for i in target.nodes if i in plan.actions]
    if said:
        metrics, gates, unmeasured = said.get("metrics", {}), said.get("gates", []), said.get("unmeasured", {})
    else:
        found = {m.name: _result(project, plan, m) for m in target.metrics}
        metrics = {name: result for name, result in found.items() if result is not None}
        unmeasured = {m.name: m.reason for m in target.metrics if m.node is None}
        made = plan.actions[target.artifact].result if target.artifact in plan.actions else None
        recorded = History(project.state / "history").before(
            target.name, target.gates, made.output if made is not None else "", metrics
        )
        verdicts = [
            verdict
            for gate in target.gates
            for verdict in judge_gate(gate, lambda m: _result(project, plan, m), recorded, target.baseline)
        ]
        gates = msgspec.to_builtins(verdicts) if metrics else []
    before = _baseline(project, plan, target)
    entries, _ = History(project.state / "history").read(target.name)
    return {
        "name": target.name,
        "source": target.spec.source,
        "platform": target.spec.platform,
        "baseline": target.baseline,
        "published": bool(said),
        "state": _state(target, wanted, bool(said), gates),
        "missing": [missing.what for missing in target.missing],
        "metrics": {name: {**result, **_paired(name, before.get(name), result)} for name, result in metrics.items()},
        "unmeasured": unmeasured,
        "gates": gates,
        "warnings": said["warnings"] if "warnings" in said else _warnings(project, plan, target, metrics),
        "steps": [_node(project, action) for action in actions],
        "breakdowns": list(breakdowns(metrics, before)),
        "layers": looked[1] if (looked := _looked(project, target)) is not None else None,
        "logs": _logs(project.state / "logs", [a.node.position for a in (*actions, *wanted)]),
        "provenance": _provenance(directory / "provenance.json"),
        "history": [msgspec.to_builtins(entry) for entry in entries[-HISTORY:]],
        "front": False,
    }


def _state(target: TargetPlan, wanted: Sequence[Action], published: bool, gates: Sequence[Json]) -> str:
    if target.missing:
        return "cannot be built here"
    if any(not gate["ok"] for gate in gates):
        return "gate failed"
    if all(action.status == "cached" for action in wanted):
        return "published" if published else "built"
    return "out of date" if published else "not built"


def _result(project: Project, plan: Plan, metric: MetricPlan) -> Mapping[str, Any] | None:
    action = plan.actions.get(metric.node) if metric.node is not None else None
    if action is None or action.result is None or action.evicted:
        return None
    return read_metrics(project.store, action.result.output)


def _node(project: Project, action: Action) -> Json:
    """``seconds`` and ``memory``: of the run that made the result, or else of the last one."""
    node, result = action.node, action.result
    last = result or project.traces.get(node.position)
    return {
        "id": f"n{node.index}",
        "node": node.position,
        "name": node.name,
        "role": node.role,
        "kind": node.kind,
        "status": action.status,
        "params": {key: value for key, value in node.params.items() if value is not None},
        "key": action.key,
        "output": result.output if result else None,
        "seconds": last.seconds if last else None,
        "memory": last.peak_rss if last else None,
        "size": result.size if result else None,
        "facts": dict(result.facts) if result else {},
    }


def _baseline(project: Project, plan: Plan, target: TargetPlan) -> Mapping[str, Any]:
    """What has been measured of the baseline: as published, or else where both have a row for each class."""
    if target.baseline is None:
        return {}
    said: Mapping[str, Any] = published_metrics(project.publisher.path(target.baseline)).get("metrics", {})
    found = {m.name: _result(project, plan, m) for m in target.compared}
    return said or {name: result for name, result in found.items() if result is not None}


def _paired(name: str, base: Mapping[str, Any] | None, own: Mapping[str, Any]) -> Json:
    """Whether the same samples show a difference from the baseline, where it is known which are right."""
    if base is None or "hits" not in own or "hits" not in base or own.get("labels") != base.get("labels"):
        return {}
    found = compare_quality(name, hits(base) or [], hits(own) or [])
    return {"paired": {"verdict": found.verdict, "p": found.p, "low": found.low, "high": found.high}}


def _warnings(project: Project, plan: Plan, target: TargetPlan, metrics: Mapping[str, Any]) -> list[Json]:
    def size(index: int) -> int | None:
        action = plan.actions.get(index)
        return action.result.size if action is not None and action.result is not None else None

    found = target_concerns(project.graph, target, metrics, lambda m: _result(project, plan, m), size)
    return [msgspec.to_builtins(concern) for concern in found]


def _looked(project: Project, target: TargetPlan) -> tuple[MetricPlan, str] | None:
    """Who looked at the layers of its model: the metric, and where its node stands, which equal models share."""
    found = next((m for m in (*target.details, *target.metrics) if m.name == "layers"), None)
    return (found, project.graph.nodes[found.node].position) if found is not None and found.node is not None else None


def _layers(project: Project, plan: Plan, names: Sequence[str]) -> Json:
    """By the node that looked at them."""
    found: Json = {}
    for target in (project.graph.targets[name] for name in names):
        looked = _looked(project, target)
        result = _result(project, plan, looked[0]) if looked is not None and looked[1] not in found else None
        if looked is not None and result is not None:
            steps = [plan.actions[i].result for i in project.graph.closure([target.model]) if i in plan.actions]
            found[looked[1]] = shown_layers(result, [step.facts for step in steps if step is not None])
    return found


def _logs(directory: Path, positions: Sequence[str]) -> dict[str, str]:
    """The end of each node's log."""
    found = {}
    for position in dict.fromkeys(positions):
        path = directory / f"{position.replace('/', '~')}.log"
        try:
            data = path.read_bytes()
        except OSError:  # nothing was logged, or it was swept
            continue
        text = data[-LOG_BYTES:].decode(errors="replace")
        if len(data) > LOG_BYTES:
            text = "…" + text.partition("\n")[2]
        if text.strip():
            found[position] = text.strip()
    return found


def _provenance(path: Path) -> Json | None:
    try:
        said = msgspec.json.decode(path.read_bytes())
        steps = said["predicate"]["buildDefinition"]["resolvedDependencies"]
        return {
            "subjects": [{"name": s["name"], "sha256": s["digest"].get("sha256", "")} for s in said["subject"]],
            "steps": [{"name": s["name"], "key": s["annotations"].get("key"), "digest": s["digest"]} for s in steps],
        }
    except (OSError, msgspec.DecodeError, KeyError, TypeError):  # none, or damaged: 'cbuild verify' says so
        return None
