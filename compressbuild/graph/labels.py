"""A metric as its record, or else its parameters, call it."""

from __future__ import annotations

import msgspec

from ..api import Metric
from ..compressfile.spec import MetricUse
from ..errors import Diagnostic
from .draft import Draft
from .node import MetricPlan
from .params import Resolved

__all__ = ["labelled"]


def labelled(draft: Draft, record: Metric, found: Resolved, use: MetricUse) -> MetricPlan | None:
    """The metric as its record, or else its parameters, call it. A problem if another metric has that name."""
    if found.label is not None:
        own = found.label
        if own.name != record.name and own.name in draft.registry.metrics:
            message = f"metric '{record.name}' cannot have the name '{own.name}': another metric has that name"
            draft.problems.append(Diagnostic(message, use.mark, "choose another name"))
            return None
        changed = msgspec.structs.replace(record, name=own.name, unit=own.unit, direction=own.direction)
    else:
        changed = record
    return MetricPlan(
        changed.name,
        changed.unit,
        changed.direction,
        None,
        role=record.role,
        priority=record.priority,
        record=changed,
    )
