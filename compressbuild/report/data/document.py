"""Everything that a report shows, as JSON values: from the plan, what is published, logs and history."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from ... import __version__
from ...build.envelope import BadEnvelope, Envelope
from ...digest import read_regular
from ...evaluate.choice import MARGIN, Candidate, Terms, choose, front
from ...evaluate.evidence import Evidence
from ...evaluate.history import History
from ...evaluate.results import FILE, Results
from ...evaluate.roles import Roles, apart
from ...evaluate.target import assess
from ...graph import TargetPlan
from ...plan import Action, Plan
from ...project import Project
from ...words import duration
from ..picture.drawing import Picture
from .about import commit, interface, loading_of, machine
from .baselines import Baselines
from .breakdowns import breakdowns
from .layers import shown_errors, shown_layers
from .origins import known_origins
from .searched import kept

__all__ = ["gather", "timed"]

LOG_BYTES = 3000
HISTORY = 50
_SHOWN = ("unit", "direction", "summary", "role", "priority")  # of a metric's record

Json = dict[str, Any]


def gather(project: Project, names: Sequence[str], *, beside: bool = False, samples: bool = False) -> Json:
    """The report's data. Builds nothing. ``beside``: with each target's samples that flipped and operators, beside its
    baseline's. ``samples``: workers look at these samples; else nothing runs."""
    plan = project.plan(names)
    baselines = Baselines(project, plan)
    targets = [_target(project, plan, project.graph.targets[name], baselines) for name in names]
    metrics = project.graph.metrics
    roles = Roles.of(metrics)
    shown = roles.in_order(name for target in targets for name in target["metrics"])
    layers, looked = _layers(project, plan, names)
    unlisted = known_origins(project, names)
    for target in targets:
        name = target["name"]
        target["layers"] = looked.get(name)
        target["errors"] = shown_errors([*target["metrics"].values(), *unlisted.get(name, {}).values()])
    document: Json = {
        "project": project.root.name,
        "version": __version__,
        "time": time.time(),
        "commit": commit(project.root),
        "machine": machine(project),
        "targets": targets,
        "metrics": {
            name: {key: getattr(metrics[name], key) for key in _SHOWN} | {"apart": apart(metrics[name])}
            for name in shown
            if name in metrics
        },
        "nodes": [_node(project, action) for action in plan.actions.values()],
        "layers": layers,
    }
    _rank(document, roles)
    if beside:
        baselines.add_to(targets, document["quality"], run=samples)
    for target in targets:
        for result in target["metrics"].values():
            result.pop("hits", None)
    return document


def timed(picture: Picture, plan: Plan, document: Json) -> Picture:
    """The picture with the time that each node took on its second line."""
    seconds = {row["node"]: row["seconds"] for row in document["nodes"]}
    took = {f"n{index}": seconds.get(action.node.position) for index, action in plan.actions.items()}
    boxes = [
        replace(box, below=f"{box.below} · {duration(value)}") if (value := took.get(box.name)) is not None else box
        for box in picture.boxes
    ]
    return replace(picture, boxes=tuple(boxes))


def _rank(document: Json, roles: Roles) -> None:
    """Marks the front, and makes a choice for each platform. Where anything is compiled, only that is shipped."""
    targets, metrics = document["targets"], document["metrics"]
    quality, speed = roles.quality_of(metrics), roles.speed_of(metrics)
    document |= {"quality": quality, "speed": speed, "choices": [], "unshipped": ""}
    if quality is None or speed is None:
        document["unshipped"] = _unranked(metrics, quality)
        return
    compiled = [target for target in targets if target["platform"]] or targets
    for platform in dict.fromkeys(target["platform"] for target in compiled):
        own = [target for target in compiled if target["platform"] == platform]
        terms = Terms(
            quality=quality, speed=speed, lower=metrics[quality]["direction"] == "lower", margin=_margin(own, quality)
        )
        others = [name for name in roles.quality if name in metrics and name != quality]
        bases = {t["name"]: t["metrics"] for t in targets}
        candidates = [
            Candidate.of(
                t["name"],
                t["metrics"],
                terms,
                t["size"],
                _objection(t),
                (*_remarks(t), *_fallen(t, bases, {name: metrics[name]["direction"] for name in others})),
            )
            for t in own
        ]
        candidates = _relative(candidates, own, speed)
        ahead = front(candidates)
        for target in own:
            target["front"] = target["name"] in ahead
        chosen = choose(candidates, terms)
        if chosen is not None:
            document["choices"].append(msgspec.to_builtins(msgspec.structs.replace(chosen, platform=platform)))
    if not document["choices"]:
        document["unshipped"] = (
            f"no target is published with {quality} and {speed} measured and every gate met; of several targets each "
            f"needs its ratio of {speed} to one baseline (evaluate: {{baseline: …}})"
        )


def _unranked(metrics: Mapping[str, Json], quality: str | None) -> str:
    """Why nothing can be ranked."""
    aimless = [name for name, m in metrics.items() if m["role"] == "quality" and m["direction"] == "none"]
    if quality is None and aimless:
        return f"'{aimless[0]}' does not say which way is better: give it a 'direction:', higher or lower"
    missing = "quality" if quality is None else "speed"
    return f"no metric of {missing} is measured (evaluate: {{metrics: […]}})"


def _fallen(target: Json, bases: Mapping[str, Json], directions: Mapping[str, str]) -> Iterator[str]:
    """Other metrics of quality that are worse than the baseline's, and that no gate limits."""
    gated = {gate["metric"] for gate in target["gates"]}
    base = bases.get(target["baseline"] or "", {})
    for name, direction in directions.items():
        own, other = (each.get(name, {}).get("value") for each in (target["metrics"], base))
        if own is None or other is None or name in gated:
            continue
        if (other - own) * (-1 if direction == "lower" else 1) > MARGIN * abs(other):
            yield f"{name} is {own:.4g}, {other:.4g} in {target['baseline']}, and no gate limits it"


def _margin(targets: Sequence[Json], quality: str) -> float | None:
    """How far quality may fall by the strictest gate of these targets."""
    drops = [g["bound"] for t in targets for g in t["gates"] if (g["metric"], g["limit"]) == (quality, "max-drop")]
    return min(drops, default=None)


def _remarks(target: Json) -> tuple[str, ...]:
    """What a choice of this target would not rest on."""
    found = [] if target["gates"] else ["no gate limits it"]
    off = [step["node"] for step in target["steps"] if _without_parity(step["params"])]
    return (*found, *(f"its outputs are not compared with its source's: parity is off in {node}" for node in off))


def _without_parity(params: Json) -> bool:
    parity = params.get("parity")
    return isinstance(parity, dict) and parity.get("check") is False


def _relative(candidates: list[Candidate], targets: Sequence[Json], speed: str) -> list[Candidate]:
    """Speeds as ratios to the one baseline of all, with their intervals: times of different moments do not compare, so
    what has no ratio has no speed. A sole candidate needs none."""
    bases = {target["baseline"] or target["name"] for target in targets if speed in target["metrics"]}
    if len(targets) == 1 or not bases:
        return candidates
    found = []
    for candidate, target in zip(candidates, targets, strict=True):
        measured = target["metrics"].get(speed, {})
        exact = {"ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0} if target["name"] in bases else measured
        ratios = [exact.get(key) if measured else None for key in ("ratio", "ratio_low", "ratio_high")]
        if len(bases) != 1:
            ratios = [None, None, None]
        found.append(msgspec.structs.replace(candidate, speed=ratios[0], fastest=ratios[1], slowest=ratios[2]))
    return found


def _objection(target: Json) -> str:
    missed = [f"{g['metric']} {g['limit']}" for g in target["gates"] if not g["ok"]]
    if missed:
        return f"misses its gate: {', '.join(missed)}"
    collapsed = [w["message"] for w in target["warnings"] if w["kind"] == "class-collapsed"]
    return collapsed[0] if collapsed else "" if target["published"] else "is not published"


def _target(project: Project, plan: Plan, target: TargetPlan, baselines: Baselines) -> Json:
    graph = project.graph
    directory = project.publisher.path(target.name)
    results, history = Results.of_plan(project.store, plan), History(project.state / "history")
    actions = [plan.actions[i] for i in graph.order if i in graph.closure([target.artifact]) and i in plan.actions]
    wanted = [plan.actions[i] for i in target.nodes if i in plan.actions]
    said = Evidence.read(directory)
    shown = said or Evidence.of(target.name, target.spec.platform, assess(graph, target, results, history))
    metrics = shown.metrics
    gates = msgspec.to_builtins(shown.gates) if said is not None or metrics else []
    before = _baseline(project, results, target)
    judged = {name: baselines.judge(target, name, before.get(name), result) for name, result in metrics.items()}
    entries, _ = history.read(target.name)
    return {
        "name": target.name,
        "description": target.spec.description,
        "tags": target.spec.tags,
        "source": target.spec.source,
        "platform": target.spec.platform,
        "baseline": target.baseline,
        "published": said is not None,
        "interface": interface(plan, target),
        "loading": loading_of(project, plan.actions[target.artifact], _files(directory)) if said is not None else "",
        "size": _size(project, results, target),
        "state": _state(target, wanted, said is not None, gates),
        "missing": [missing.what for missing in target.missing],
        "metrics": {name: {**result, **judged[name]} for name, result in metrics.items()},
        "unmeasured": dict(shown.unmeasured),
        "gates": gates,
        "warnings": msgspec.to_builtins(shown.warnings),
        "steps": [_node(project, action) for action in actions],
        "breakdowns": list(breakdowns(metrics, before)),
        "layers": None,
        "search": kept(project.state, target.name),
        "errors": None,
        "logs": _logs(project.state / "logs", [a.node.position for a in (*actions, *wanted)]),
        "provenance": _provenance(directory / "provenance.json"),
        "history": [msgspec.to_builtins(entry) for entry in entries[-HISTORY:]],
        "front": False,
    }


def _files(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


def _size(project: Project, results: Results, target: TargetPlan) -> int | None:
    """Bytes of the artifact: as published, or else as built."""
    published = project.publisher.size(target.name, (FILE,))
    return published if published is not None else results.size(target.artifact)


def _state(target: TargetPlan, wanted: Sequence[Action], published: bool, gates: Sequence[Json]) -> str:
    if target.missing:
        return "cannot be built here"
    if any(not gate["ok"] for gate in gates):
        return "gate failed"
    if all(action.status == "cached" for action in wanted):
        return "published" if published else "built"
    return "out of date" if published else "not built"


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


def _baseline(project: Project, results: Results, target: TargetPlan) -> Mapping[str, Any]:
    """What has been measured of the baseline: as published, or else where both have a row for each class."""
    if target.baseline is None:
        return {}
    said = Evidence.read(project.publisher.path(target.baseline))
    if said is not None and said.metrics:
        return said.metrics
    found = {m.name: results.metric(m) for m in target.compared}
    return {name: result for name, result in found.items() if result is not None}


def _layers(project: Project, plan: Plan, names: Sequence[str]) -> tuple[Json, dict[str, str]]:
    """What was found of layers, by the node that looked at them, which equal models share; and target → that node. It
    is known from the result: any metric may have ``layers`` and ``vectors``."""
    found: Json = {}
    nodes: dict[str, str] = {}
    results = Results.of_plan(project.store, plan)
    for target in (project.graph.targets[name] for name in names):
        for metric in (m for m in (*target.details, *target.metrics) if m.role == "detail" and m.node is not None):
            position = project.graph.nodes[metric.node].position  # type: ignore[index]
            result = results.metric(metric) if position not in found else None
            if result is not None and {"layers", "vectors"} <= result.keys():
                steps = [plan.actions[i].result for i in project.graph.closure([target.model]) if i in plan.actions]
                found[position] = shown_layers(result, [step.facts for step in steps if step is not None])
            if position in found:
                nodes[target.name] = position
    return found, nodes


def _logs(directory: Path, positions: Sequence[str]) -> dict[str, str]:
    """The end of each node's log."""
    found = {}
    for position in dict.fromkeys(positions):
        path = directory / f"{position.replace('/', '~')}.log"
        try:
            data = read_regular(path)
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
        said = msgspec.json.decode(Envelope.read(path).payload)
        steps = said["predicate"]["buildDefinition"]["resolvedDependencies"]
        return {
            "subjects": [{"name": s["name"], "sha256": s["digest"].get("sha256", "")} for s in said["subject"]],
            "steps": [{"name": s["name"], "key": s["annotations"].get("key"), "digest": s["digest"]} for s in steps],
        }
    except (
        BadEnvelope,
        msgspec.DecodeError,
        AttributeError,
        KeyError,
        TypeError,
    ):  # none, or damaged: 'cbuild verify' says so
        return None
