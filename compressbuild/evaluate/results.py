"""Metric results in the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from ..digest import Digest, bytes_digest, read_regular
from ..errors import StoreError
from ..graph import MetricPlan
from ..plan import Plan
from ..store import ActionResult, Store

__all__ = ["FILE", "Results", "read_metrics"]

FILE = "metrics.json"
"""The file of a metric's artifact, and of a published target."""


class Results:
    """What the nodes of a graph made, where that is known. ``made``: the result of a node, None if there is none.
    ``gone``: nodes whose bytes are no longer in the store."""

    def __init__(self, store: Store, made: Callable[[int], ActionResult | None], gone: Collection[int] = ()) -> None:
        self._store = store
        self._gone = gone
        self.made = made

    @classmethod
    def of_plan(cls, store: Store, plan: Plan) -> Results:
        """What a plan found in the cache."""
        known = {index: action.result for index, action in plan.actions.items()}
        return cls(store, known.get, {index for index, action in plan.actions.items() if action.evicted})

    def metric(self, metric: MetricPlan) -> dict[str, Any] | None:
        """What a metric function returned."""
        result = self.made(metric.node) if metric.node is not None and metric.node not in self._gone else None
        return read_metrics(self._store, result.output) if result is not None else None

    def size(self, index: int) -> int | None:
        """Bytes of what a node made."""
        result = self.made(index)
        return result.size if result is not None else None

    def facts(self, index: int) -> Mapping[str, Any]:
        """What a node's function reported."""
        result = self.made(index)
        return result.facts if result is not None else {}


def read_metrics(store: Store, output: Digest) -> dict[str, Any]:
    """What a metric function returned. StoreError if its artifact is not what the digest says."""
    file = next((f for f in store.cas.read_tree(output).files if f.path == FILE), None)
    if file is None:
        raise StoreError(f"artifact {output[:12]} has no file {FILE}")
    data = read_regular(store.dir.object(file.digest))
    if bytes_digest(data) != file.digest:
        raise StoreError(f"object {file.digest[:12]} is corrupt", hint="build again: a build replaces it")
    found: dict[str, Any] = msgspec.json.decode(data)
    return found
