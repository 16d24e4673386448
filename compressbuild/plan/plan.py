"""Graph + keys + cache → what will happen to each node. Pure: it looks up, it runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import msgspec

from ..digest import Digest
from ..errors import CompressfileError
from ..graph import Graph, Node
from ..store import ActionResult, Damaged, Evicted, Hit
from .explain import Explanation, compare
from .keys import Keyer, Parts
from .traces import Trace

__all__ = ["Action", "Lookup", "Plan", "Status", "judge", "make_plan"]

Status = Literal["cached", "run", "may run"]
Lookup = Callable[[Digest], Hit | Evicted | Damaged | None]


class Action(msgspec.Struct, frozen=True):
    """One node with what is known of it. ``key`` and ``parts`` are None while an input is still to be built.

    ``evicted``: its result is known, but gc has removed the bytes. ``damaged``: what was known before they broke.
    """

    node: Node
    status: Status
    why: Explanation
    key: Digest | None = None
    parts: Parts | None = None
    result: ActionResult | None = None
    evicted: bool = False
    damaged: ActionResult | None = None


class Plan(msgspec.Struct, frozen=True):
    """``actions`` in topological order, for the nodes that ``targets`` need."""

    graph: Graph
    targets: tuple[str, ...]
    actions: Mapping[int, Action]

    def count(self, status: Status) -> int:
        return sum(action.status == status for action in self.actions.values())


def judge(node: Node, key: Digest, parts: Parts, lookup: Lookup, last: Trace | None) -> Action:
    """Decide one node whose inputs are all known."""
    found = lookup(key)
    if isinstance(found, Hit | Evicted):
        return Action(node, "cached", Explanation("cached"), key, parts, found.result, isinstance(found, Evicted))
    if isinstance(found, Damaged):
        return Action(node, "run", Explanation("lost", detail=found.reason), key, parts, damaged=found.result)
    if last is None:
        why = Explanation("first build")
    elif changes := compare(last.parts, parts):
        why = Explanation("changed", changes)
    else:
        why = Explanation("lost", detail="nothing changed, but its result is no longer in the cache")
    return Action(node, "run", why, key, parts)


def make_plan(
    graph: Graph,
    targets: Iterable[str],
    keyer: Keyer,
    lookup: Lookup,
    last: Callable[[str], Trace | None],
    *,
    remeasure: bool = False,
) -> Plan:
    """Plan ``targets``. Raises CompressfileError if a file or a piece of code that they need is not there."""
    targets = tuple(targets)
    needed = graph.needed(targets)
    actions: dict[int, Action] = {}
    for index in graph.order:
        if index not in needed:
            continue
        node = graph.nodes[index]
        open_inputs = [i for i in node.inputs.values() if actions[i].status != "cached"]
        if open_inputs:
            keyer.check(node)  # so that a missing file is reported now, not after an hour of training
            depends = tuple(dict.fromkeys(graph.nodes[i].position for i in open_inputs))
            actions[index] = Action(node, "may run", Explanation("depends", depends=depends))
            continue
        inputs = {role: actions[i].result.output for role, i in node.inputs.items()}  # type: ignore[union-attr]
        parts = keyer.parts(node, inputs)
        action = judge(node, keyer.key(parts), parts, lookup, last(node.position))
        if remeasure and node.exclusive and action.status == "cached":
            action = Action(node, "run", Explanation("requested", detail="--remeasure"), action.key, parts)
        actions[index] = action
    if keyer.problems:
        raise CompressfileError(dict.fromkeys(keyer.problems), dict(graph.spec.texts))
    return Plan(graph, targets, actions)
