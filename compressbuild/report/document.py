"""Everything that a report shows, as JSON values: from the plan, what is published, logs and history."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from .. import __version__
from ..evaluate.choice import Candidate, choose, front
from ..evaluate.concerns import class_value
from ..evaluate.gates import judge_gate
from ..evaluate.history import History
from ..evaluate.results import published_metrics, read_metrics
from ..graph import MetricPlan, TargetPlan
from ..plan import Action, Plan
from ..project import Project
from .drawing import Picture

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
        verdicts = [v for gate in target.gates for v in judge_gate(gate, lambda m: _result(project, plan, m))]
        gates = msgspec.to_builtins(verdicts) if metrics else []
    entries, _ = History(project.state / "history").read(target.name)
    return {
        "name": target.name,
        "source": target.spec.source,
        "platform": target.spec.platform,
        "baseline": target.baseline,
        "published": bool(said),
        "state": _state(target, wanted, bool(said), gates),
        "missing": [missing.what for missing in target.missing],
        "metrics": {name: dict(result) for name, result in metrics.items()},
        "unmeasured": unmeasured,
        "gates": gates,
        "warnings": said.get("warnings", []),
        "steps": [_node(project, action) for action in actions],
        "classes": _classes(project, plan, target, metrics),
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


def _classes(project: Project, plan: Plan, target: TargetPlan, metrics: Mapping[str, Any]) -> Json:
    """Metric → class → own value, number of samples, and the baseline's value."""
    baseline = target.baseline
    others = published_metrics(project.publisher.path(baseline)).get("metrics", {}) if baseline else {}
    if not others:
        found = {m.name: _result(project, plan, m) for m in target.compared}
        others = {name: result for name, result in found.items() if result is not None}
    rows: Json = {}
    for name, result in metrics.items():
        for label, row in result.get("per_class", {}).items():
            before = others.get(name, {}).get("per_class", {}).get(label)
            shown = {"value": class_value(row), "n": row.get("n"), "base": class_value(before) if before else None}
            rows.setdefault(name, {})[label] = shown
    return rows


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
