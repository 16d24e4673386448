"""Several graphs of one Compressfile with other values as one graph, so that what they share is made once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import overload

from msgspec.structs import replace

from .dag import Graph
from .node import MetricPlan, Node, TargetPlan

__all__ = ["merged"]


def merged(graphs: Mapping[str, Graph], name: str) -> Graph:
    """The target ``name`` of each graph, called by the key of its graph. Nodes that do the same work are one node.

    A node that is not in all of them has its graph's key after its position: positions tell nodes apart in events and
    in names of logs. Its trace is kept by the position that it has in its own graph.
    """
    needed = {key: sorted(graph.closure(graph.targets[name].nodes)) for key, graph in graphs.items()}
    shared = set.intersection(*({graphs[key].identities[i] for i in indices} for key, indices in needed.items()))
    nodes: list[Node] = []
    identities: list[bytes] = []
    positions: dict[int, list[str]] = {}
    known: dict[bytes, int] = {}
    targets = {}
    for key, graph in graphs.items():
        at: dict[int, int] = {}
        for index in needed[key]:
            identity, node = graph.identities[index], graph.nodes[index]
            if identity not in known:
                known[identity] = len(nodes)
                positions[len(nodes)] = graph.positions[index]
                position = node.position if identity in shared else f"{node.position}@{key}"
                inputs = {role: at[source] for role, source in node.inputs.items()}
                nodes.append(replace(node, index=len(nodes), position=position, inputs=inputs))
                identities.append(identity)
            at[index] = known[identity]
        targets[key] = _moved(graph.targets[name], at)
    first = next(iter(graphs.values()))
    return Graph(first.spec, first.registry, tuple(nodes), targets, positions, identities)


def _moved(plan: TargetPlan, at: Mapping[int, int]) -> TargetPlan:
    """The plan of a target whose nodes have other indices."""

    @overload
    def moved(metric: MetricPlan) -> MetricPlan: ...
    @overload
    def moved(metric: None) -> None: ...
    def moved(metric: MetricPlan | None) -> MetricPlan | None:
        return metric if metric is None or metric.node is None else replace(metric, node=at[metric.node])

    return replace(
        plan,
        artifact=at[plan.artifact],
        model=at[plan.model],
        companions=None if plan.companions is None else at[plan.companions],
        gates=tuple(replace(g, metric=moved(g.metric), against=moved(g.against)) for g in plan.gates),
        **{part: tuple(map(moved, getattr(plan, part))) for part in ("metrics", "compared", "details", "asked")},
    )
