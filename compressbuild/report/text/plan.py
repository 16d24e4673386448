"""A plan as lines: what a build would do."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ...plan import Action, Plan, say
from ...project import Selection
from .columns import columns

__all__ = ["plan_lines"]


def plan_lines(plan: Plan, selection: Selection, *, as_json: bool, verbose: bool) -> Iterator[str]:
    """Text for people, or one JSON object a node and a last one with the counts."""
    skipped = selection.skipped
    counts = {status: plan.count(status) for status in ("run", "may run", "cached")}
    if as_json:
        for action in plan.actions.values():
            yield msgspec.json.encode(_row(plan, action)).decode()
        yield msgspec.json.encode({"targets": plan.targets, "skipped": skipped, "counts": counts}).decode()
        return
    for action in plan.actions.values():
        if action.status == "cached" and not verbose:
            continue
        yield f"{action.status:8} {action.node.position}{_why(action)}"
    if plan.actions and not counts["cached"]:
        yield from _first(plan)
    for name, reason in skipped.items():
        yield f"skipped  {name}: {reason}"
    if selection.install:
        yield f"to build what is skipped: {selection.install}"
    unsure = ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "nothing to do"
    targets = "1 target" if len(plan.targets) == 1 else f"{len(plan.targets)} targets"
    yield f"{unsure} (of {len(plan.actions)} nodes, {targets})"


def _first(plan: Plan) -> Iterator[str]:
    """Of a plan that has nothing in the cache: what each target takes beside those before it."""
    graph, before, rows = plan.graph, set[int](), []
    for name in plan.targets:
        target = graph.targets[name]
        own = graph.needed([name]) - before
        before |= own
        steps = [target.spec.source, *(step.technique for step in target.spec.steps)]
        chain = " → ".join([*steps, *([f"[{target.spec.platform}]"] if target.spec.platform else [])])
        measured = ", ".join(metric.name for metric in target.metrics)
        gated = ", ".join(dict.fromkeys(gate.metric for gate in target.spec.gates))
        said = [chain, *([f"measures {measured}"] if measured else []), *([f"gates {gated}"] if gated else [])]
        rows.append((f"  {name}", f"{len(own)}", "; ".join(said)))
    yield "targets, with the nodes that each adds:"
    yield from columns(rows, right=[1])


def _why(action: Action) -> str:
    why = action.why
    if why.depends:
        return f"  (depends on {', '.join(why.depends)})"
    if why.changes:
        more = f" and {len(why.changes) - 1} more" if len(why.changes) > 1 else ""
        return f"  ({say(why.changes[0])}{more})"
    return f"  ({why.detail or why.reason})" if why.reason != "cached" else ""


def _row(plan: Plan, action: Action) -> dict[str, object]:
    node = action.node
    return {
        "node": node.position,
        "positions": plan.graph.positions[node.index],
        "status": action.status,
        "technique": node.name,
        "kind": node.kind,
        "inputs": {role: plan.graph.nodes[i].position for role, i in node.inputs.items()},
        "key": action.key,
        "output": action.result.output if action.result else None,
        "why": msgspec.to_builtins(action.why),
    }
