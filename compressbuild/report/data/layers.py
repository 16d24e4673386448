"""The layers of a target's model, as the metric ``layers`` found them, and the error of each, for the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["shown_errors", "shown_layers"]

_KEPT = ("name", "op", "shape", "dtype", "n", "bytes", "nonzero", "low", "high", "sqnr8", "nonfinite")
_TALLEST = 100
_ERROR = ("node", "op", "sqnr", "own", "lost", "rounding", "share")


def shown_layers(found: Mapping[str, Any], facts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """``{"rows", "vectors"}``: histograms scaled to 100 at their tallest, and with ``drop_alone`` and ``sqnr_alone``
    where one of the steps, whose ``facts`` these are, measured how sensitive the layer is to 8 bits."""
    measured = {row["layer"]: row for fact in facts for row in fact.get("sensitivity", ())}
    rows = []
    for row in found["layers"]:
        counts = row.get("histogram", [])
        tallest = max(counts, default=0) or 1
        own = {key: row[key] for key in _KEPT if key in row}
        own["histogram"] = [round(_TALLEST * count / tallest) for count in counts]
        if row["node"] in measured:
            own |= {key: measured[row["node"]][key] for key in ("drop_alone", "sqnr_alone")}
        rows.append(own)
    return {"rows": rows, "vectors": found["vectors"]}


def shown_errors(metrics: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    """The rows of the first result that has a row for each layer (``per_layer``); None if no metric has."""
    found = next((rows for result in metrics if (rows := result.get("per_layer"))), None)
    if not isinstance(found, Mapping):
        return None
    return [{"name": name, **{key: row.get(key) for key in _ERROR}} for name, row in found.items()]
