"""What a metric's result says beyond its value: a row for each class, slice, corruption, batch size …"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...evaluate.concerns import class_value, row_noun

__all__ = ["breakdowns"]

_LATER = frozenset({"axes", "baseline", "per_class", "per_layer"})  # shown in ways of their own


def breakdowns(
    metrics: Mapping[str, Mapping[str, Any]], baseline: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """For each table in the results ``{"metric", "by", "rows": {label: {column: number}}}``.

    ``per_class`` comes with ``value``, ``base`` (the baseline's, None if unknown) and ``n``, and is by what the result
    calls its ``rows``, or else by class. Of anything else that maps names to numbers, or to mappings with numbers,
    those are the columns.
    """
    for name, result in metrics.items():
        others = baseline.get(name, {}).get("per_class", {})
        classes = {label: _class(row, others.get(label)) for label, row in result.get("per_class", {}).items()}
        if classes:
            yield {"metric": name, "by": row_noun(result), "rows": classes}
        for key, found in result.items():
            rows = {} if key in _LATER else _rows(found)
            if rows:
                yield {"metric": name, "by": key.removeprefix("per_").replace("_", " "), "rows": rows}


def _class(row: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    more = {key: value for key, value in _numbers(row).items() if key not in ("value", "correct", "n")}
    base = _finite(class_value(before)) if before is not None else None
    return {"value": _finite(class_value(row)), "base": base, "n": row.get("n"), **more}


def _rows(found: Any) -> dict[str, dict[str, Any]]:
    if isinstance(found, Sequence) and not isinstance(found, str):
        found = {str(index + 1): row for index, row in enumerate(found) if isinstance(row, Mapping)}
    if not isinstance(found, Mapping):
        return {}
    each = {str(label): row if isinstance(row, Mapping) else {"value": row} for label, row in found.items()}
    rows = {label: _numbers(row) for label, row in each.items()}
    return rows if rows and all(rows.values()) else {}


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _finite(value) if isinstance(value, float) else value
        for key, value in row.items()
        if isinstance(value, int | float)
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
