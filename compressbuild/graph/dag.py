"""The resolved DAG, and the order in which to walk it (the only user of networkx).

Reading a project takes the order alone, which the draft has already made: networkx, whose import costs more than a
plan of the example, loads when nodes are scheduled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from ..api import Metric
from ..compressfile.spec import Spec
from ..errors import CompressfileError
from ..platforms import Facts
from ..registry import Registry
from .compiling import settings_of
from .draft import Draft
from .hosts import check_hosts
from .measuring import Measuring
from .node import Ask, Node, TargetPlan
from .opening import open_datasets
from .publishing import check_publish
from .steps import Steps
from .typed import Types

if TYPE_CHECKING:
    import networkx

    from ..machines.machines import Machines

__all__ = ["Graph", "build_graph"]

_FRAMES = 8  # from one target to the next that its parameters name


class Graph:
    """Nodes by index, edges from input to consumer, and the targets that were asked for. ``identities``: of each node,
    a digest of its work that is the same in every graph."""

    def __init__(
        self,
        spec: Spec,
        registry: Registry,
        nodes: tuple[Node, ...],
        targets: Mapping[str, TargetPlan],
        positions: Mapping[int, list[str]],
        identities: Sequence[bytes] = (),
    ) -> None:
        self.spec = spec
        self.registry = registry
        self.nodes = nodes
        self.targets = targets
        self.positions = positions
        self.identities = identities
        for node in nodes:
            if any(source >= node.index for source in node.inputs.values()):
                raise ValueError(f"{node.position} comes before one of its inputs")

    def narrowed(self, plans: Mapping[str, TargetPlan]) -> Graph:
        """The same nodes with these targets, and no more of them than their plans say."""
        return Graph(self.spec, self.registry, self.nodes, plans, self.positions, self.identities)

    @cached_property
    def digraph(self) -> networkx.DiGraph[int]:
        import networkx

        graph: networkx.DiGraph[int] = networkx.DiGraph()
        graph.add_nodes_from(range(len(self.nodes)))
        graph.add_edges_from((source, node.index) for node in self.nodes for source in node.inputs.values())
        return graph

    @property
    def order(self) -> range:
        """Every node after its inputs, and otherwise in the order of the file. The draft interns inputs first, so
        the indices are that order: the lexicographic topological sort of the graph."""
        return range(len(self.nodes))

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        """Every installed metric, and those that targets call something else, as they are called there."""
        plans = [m for target in self.targets.values() for m in (*target.metrics, *(g.metric for g in target.gates))]
        return {**self.registry.metrics, **{m.name: m.record for m in plans if m.record is not None}}

    def consumers(self, index: int) -> tuple[int, ...]:
        return tuple(self.digraph.successors(index))

    def closure(self, wanted: Iterable[int]) -> frozenset[int]:
        """The nodes wanted and everything below them."""
        found: set[int] = set()
        left = list(wanted)
        while left:
            index = left.pop()
            if index not in found:
                found.add(index)
                left.extend(self.nodes[index].inputs.values())
        return frozenset(found)

    def ordered(self, wanted: Iterable[int]) -> list[int]:
        """The closure of ``wanted``, each node after its inputs, and those in the order of their roles. What else the
        file holds makes no difference."""
        found: dict[int, None] = {}
        left = [*wanted][::-1]
        while left:
            index = left[-1]
            inputs = [source for source in self.nodes[index].inputs.values() if source not in found]
            if inputs and index not in found:
                left += reversed(inputs)
            else:
                found[left.pop()] = None
        return list(found)

    def needed(self, targets: Iterable[str]) -> frozenset[int]:
        """Every node that building and evaluating these targets takes."""
        return self.closure(index for name in targets for index in self.targets[name].nodes)

    def criticality(self, cost: Callable[[Node], float]) -> list[float]:
        """For each node the length, in ``cost``, of the longest path from it to a leaf: its scheduling priority."""
        length = [0.0] * len(self.nodes)
        for index in reversed(self.order):  # all that read it have come before, and said how long their paths are
            node = self.nodes[index]
            length[index] += cost(node)
            for source in node.inputs.values():
                length[source] = max(length[source], length[index])
        return length


def build_graph(
    spec: Spec,
    registry: Registry,
    facts: Facts,
    asks: Iterable[Ask] = (),
    types: Types | None = None,
    machines: Machines | None = None,
) -> Graph:
    """Resolve every target of a Spec, and what is asked besides. ``types``: with what it remembers of them;
    ``machines``: those that the file may name. Raises CompressfileError with all problems found."""
    draft = Draft(spec, registry, facts, types or Types(), machines)
    check_hosts(draft, machines)
    open_datasets(draft)
    measuring = Measuring(Steps(draft), tuple(asks))
    with _deep(len(spec.targets)):
        plans = {name: measuring.target(target) for name, target in spec.targets.items()}
    for platform in spec.platforms:
        settings_of(draft, platform)
    check_publish(draft)
    if spec.environments:
        from ..environment import undeclared  # here: few files name any

        draft.problems += undeclared(spec, registry)
    if draft.problems:
        unique = dict.fromkeys(draft.problems)
        raise CompressfileError(unique, dict(spec.texts))
    targets = {name: plan for name, plan in plans.items() if plan is not None}
    return Graph(spec, registry, tuple(draft.nodes), targets, draft.positions, draft.identities)


@contextmanager
def _deep(targets: int) -> Iterator[None]:
    """Let each target name another in its parameters: the frames of such a chain are Python's, not the C stack's."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + _FRAMES * targets)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
