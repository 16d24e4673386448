"""Looking up many nodes at once in a cache that machines share, where each question costs a journey.

A node's key is known when its inputs' digests are. So the graph is walked in waves: all nodes whose inputs are known
are asked for together, and what is found makes the next wave.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..digest import Digest
from ..graph import Graph
from ..store import Evicted, Hit, Store
from .keys import Keyer

__all__ = ["look_ahead"]


def look_ahead(graph: Graph, targets: Iterable[str], keyer: Keyer, store: Store) -> None:
    """Take over what the shared cache knows of the nodes that ``targets`` need. What is wrong with a node's files is
    left for whoever plans it."""
    if store.shared.upstream is None:
        return
    needed = graph.needed(targets)
    left = [index for index in graph.order if index in needed]
    outputs: dict[int, Digest] = {}
    while True:
        wave = [index for index in left if all(source in outputs for source in graph.nodes[index].inputs.values())]
        if not wave:
            return
        asked = set(wave)
        left = [index for index in left if index not in asked]
        keys = {index: key for index in wave if (key := _key(graph, index, keyer, outputs)) is not None}
        store.shared.look(keys.values())
        for index, key in keys.items():
            found = store.lookup(key)
            if isinstance(found, Hit | Evicted):
                outputs[index] = found.result.output


def _key(graph: Graph, index: int, keyer: Keyer, outputs: dict[int, Digest]) -> Digest | None:
    node = graph.nodes[index]
    parts = keyer.parts(node, {role: outputs[source] for role, source in node.inputs.items()})
    if keyer.problems:
        keyer.problems.clear()
        keyer.renew()
        return None
    return keyer.key(parts)
