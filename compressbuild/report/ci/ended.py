"""What the nodes of a build came to, kept from its events for whoever reports the build to a CI system."""

from __future__ import annotations

from collections.abc import Mapping

from ...build.outcome import BuildReport
from ...execute.events import Event, NodeFinished
from ...graph import Graph, Node

__all__ = ["Ended"]


class Ended:
    """An observer. ``nodes``: position → how the node ended."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeFinished] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, NodeFinished):
            self.nodes[event.node] = event

    def seconds(self, graph: Graph, report: BuildReport) -> Mapping[str, float]:
        """Target → seconds of work in this build. A node that several targets need counts for the first."""
        counted: set[int] = set()
        found = {}
        for target in report.targets:
            needed = graph.needed([target.name]) - counted if target.name in graph.targets else frozenset()
            counted |= needed
            ended = (self.nodes.get(graph.nodes[index].position) for index in needed)
            found[target.name] = sum(event.seconds for event in ended if event is not None and event.status != "cached")
        return found

    def failed(self, graph: Graph, target: str) -> list[tuple[Node, NodeFinished]]:
        """The nodes of a target that failed themselves."""
        nodes = (graph.nodes[index] for index in graph.ordered(graph.targets[target].nodes))
        ended = ((node, self.nodes.get(node.position)) for node in nodes)
        return [(node, event) for node, event in ended if event is not None and event.status == "failed"]
