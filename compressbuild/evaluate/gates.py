"""Limits on metrics: does a target keep what its Compressfile demands?"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from ..compressfile.spec import HISTORY, GateSpec
from ..graph import GatePlan, MetricPlan
from .concerns import class_value, row_noun
from .history import Entry
from .recorded import beside_history

__all__ = ["Measured", "Verdict", "judge_gate"]

Measured = Mapping[str, Any]
"""What a metric function returned: at least ``value``, perhaps with its 95 % interval ``low``, ``high``; if paired also
``ratio``, ``ratio_low``, ``ratio_high``; ``noisy``: it could not be measured well."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How one limit of a gate came out.

    ``value``: what is compared with ``limit``: the metric itself, its drop below ``against``, or its ratio to that.
    ``low``/``high``: the 95 % interval of ``value`` where it was measured as one. ``margin``: how far inside the limit
    (negative: outside). ``ok``: whether the build may publish.
    """

    metric: str
    limit: str
    bound: float
    verdict: Literal["pass", "fail", "inconclusive", "unmeasured"]
    ok: bool
    value: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    against: str | None = None
    reason: str = ""


def judge_gate(
    gate: GatePlan,
    measured: Callable[[MetricPlan], Measured | None],
    recorded: Iterable[Entry] = (),
    baseline: str | None = None,
) -> list[Verdict]:
    """One verdict for each limit that the gate sets. ``measured``: a metric's result, None where it has none.
    ``recorded``: what the target was published with before; ``baseline``: its baseline."""
    spec = gate.spec
    own = measured(gate.metric)
    other = measured(gate.against) if gate.against is not None else None
    if spec.against == HISTORY and own is not None:
        best = gate.metric.direction if spec.record == "best" else None
        found = beside_history(spec.metric, own, recorded, baseline, best=best)
        if found is not None:
            own, other = found[0], {**found[1], "time": found[2]}
    limits = {
        "min": (spec.min, 1, False), "max": (spec.max, -1, False), "max-drop": (spec.max_drop, -1, True),
        "max-ratio": (spec.max_ratio, -1, True), "min-ratio": (spec.min_ratio, 1, True),
        "min-class": (spec.min_class, 1, False), "max-class-drop": (spec.max_class_drop, -1, True),
    }  # fmt: skip
    return [
        _judge(spec, name, bound, sign, gate, own, other, relative)
        for name, (bound, sign, relative) in limits.items()
        if bound is not None
    ]


def _judge(
    spec: GateSpec,
    limit: str,
    bound: float,
    sign: int,
    gate: GatePlan,
    own: Measured | None,
    other: Measured | None,
    relative: bool,
) -> Verdict:
    against = spec.against if relative else None

    def verdict(kind: Any, ok: bool, **rest: Any) -> Verdict:
        return Verdict(metric=spec.metric, limit=limit, bound=bound, against=against, verdict=kind, ok=ok, **rest)

    if own is not None and other is None and against == HISTORY:
        return verdict("pass", True, reason="no history yet")
    if own is None or (relative and other is None):
        plan = gate.metric if own is None or gate.against is None else gate.against
        return verdict("unmeasured", spec.unmeasured == "allow", reason=plan.reason or "it could not be measured")
    value, low, high = _compared(limit, own, other)
    name = ""
    if limit in ("min-class", "max-class-drop"):
        found = _class_compared(limit, own, other)
        if found is None:
            return verdict("fail", False, reason="its result has no value for each class")
        name, value = found
    if math.isnan(value):
        return verdict("fail", False, reason="the value is not a number")
    margin, reason = sign * (value - bound), f"{row_noun(own)} {name}" if name else ""
    shown = {"value": value, "low": low, "high": high, "margin": margin, "reason": reason}
    if against == HISTORY and other is not None:
        shown["reason"] = f"the {spec.record} was published {time.strftime('%Y-%m-%d', time.gmtime(other['time']))}"
    worst, best = (value, value) if low is None or high is None else (low, high) if sign > 0 else (high, low)
    if sign * (worst - bound) >= 0:
        return verdict("pass", True, **shown)
    if sign * (best - bound) < 0:
        return verdict("fail", False, **shown)
    busy = "; the machine was busy: measure again ('cbuild --remeasure')" if own.get("noisy") else ""
    shown["reason"] = f"the 95 % interval {low:.3g} to {high:.3g} straddles the limit{busy}"
    return verdict("inconclusive", spec.inconclusive == "allow", **shown)


def _compared(limit: str, own: Measured, other: Measured | None) -> tuple[float, float | None, float | None]:
    """What the limit is about, with its interval where there is one."""
    value = float(own["value"])
    if limit in ("min", "max"):
        return value, own.get("low"), own.get("high")
    if limit in ("min-class", "max-class-drop"):
        return value, None, None
    assert other is not None
    reference = float(other["value"])
    if limit == "max-drop":
        return reference - value, None, None
    if "ratio" in own:
        return float(own["ratio"]), own.get("ratio_low"), own.get("ratio_high")
    return (value / reference if reference else math.nan), None, None


def _class_compared(limit: str, own: Measured, other: Measured | None) -> tuple[str, float] | None:
    """(class, value) of the worst class, or of the one that fell most; None where classes have no values."""
    rows = {name: class_value(row) for name, row in own.get("per_class", {}).items()}
    if limit == "max-class-drop":
        assert other is not None
        before = {name: class_value(row) for name, row in other.get("per_class", {}).items()}
        rows = {name: before[name] - value for name, value in rows.items() if name in before}
    if not rows:
        return None
    broken = [name for name, value in rows.items() if math.isnan(value)]
    name = broken[0] if broken else (min if limit == "min-class" else max)(rows, key=rows.__getitem__)
    return name, rows[name]
