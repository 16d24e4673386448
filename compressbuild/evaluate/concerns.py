"""What is worth a warning though no gate asks: smaller but not faster, and a class that collapsed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec

from ..api.advice import NEGLIGIBLE
from ..graph import Graph, MetricPlan, TargetPlan
from .roles import Roles

__all__ = [
    "NEGLIGIBLE",
    "Concern",
    "class_value",
    "collapsed_classes",
    "row_noun",
    "smaller_not_faster",
    "target_concerns",
]

SMALLER = 0.95  # of the baseline's size: less is not what one compresses for
DROP = 0.15  # of a class' accuracy
QUANTIZED = 0.5  # of the weights: what may stay in float without a word
SIGMAS = 3.0  # of two proportions: about one in a thousand by chance
FEWEST = 10  # samples of a class


class Concern(msgspec.Struct, frozen=True, kw_only=True):
    """``classes``: those that collapsed; ``rows``: what they are, one of them (class, slice, corruption …)."""

    kind: Literal["smaller-not-faster", "class-collapsed", "doubtful-step"]
    message: str
    classes: tuple[str, ...] = ()
    rows: str = "class"


def target_concerns(
    graph: Graph,
    target: TargetPlan,
    measured: Mapping[str, Mapping[str, Any]],
    read: Callable[[MetricPlan], Mapping[str, Any] | None],
    size: Callable[[int], int | None],
    facts: Callable[[int], Mapping[str, Any]] = lambda index: {},
) -> tuple[Concern, ...]:
    """All there is to say of a target. ``measured``: its results; ``read``: the result of a metric's node; ``size``:
    bytes of what a node made; ``facts``: what its function reported, with ``concern``, a sentence for people."""
    found: list[Concern | None] = []
    baseline, own = target.baseline, size(target.artifact)
    speed = _roles(graph).speed_of(measured)
    node = next((metric.node for metric in target.metrics if metric.name == speed), None)
    index = graph.nodes[node].inputs.get("baseline") if node is not None else None
    # What is not compiled is not shipped: it need not be as fast as a compiled baseline.
    fair = index is None or graph.nodes[target.artifact].role == "compile" or graph.nodes[index].role != "compile"
    if fair and speed is not None and index is not None and own is not None and baseline is not None:
        found.append(smaller_not_faster(speed, measured[speed], own, size(index), baseline))
    others = {metric.name: read(metric) for metric in target.compared}
    for name, value in measured.items():
        if "per_class" in value and graph.metrics[name].per_class:
            found.append(collapsed_classes(name, value, others.get(name), baseline))
    found.extend(_said(graph, target, facts))
    return tuple(concern for concern in found if concern is not None)


@lru_cache(maxsize=1)
def _roles(graph: Graph) -> Roles:
    return Roles.of(graph.metrics)


def _said(graph: Graph, target: TargetPlan, facts: Callable[[int], Mapping[str, Any]]) -> Iterator[Concern]:
    """What the steps of a target are concerned about, the first step first. That one leaves most in float is nothing
    to say where those behind it quantize that."""
    steps = [target.artifact]
    while "subject" in (inputs := graph.nodes[steps[-1]].inputs):
        steps.append(inputs["subject"])
    left = 1.0  # of the weights, in float after this step and those behind it
    found = []
    for index in steps:
        made = facts(index)
        share = made.get("quantized_share")
        left *= 1 - share if isinstance(share, int | float) else 1
        said, rest = made.get("concern"), made.get("unquantized")
        if isinstance(said, str) and isinstance(rest, str) and left <= QUANTIZED:
            said = said.replace(rest, "").strip("; ")
        if isinstance(said, str) and said:
            found.append(Concern(kind="doubtful-step", message=f"{graph.nodes[index].name}: {said}"))
    return iter(reversed(found))


def smaller_not_faster(
    metric: str, measured: Mapping[str, Any], size: int, baseline_size: int | None, baseline: str
) -> Concern | None:
    """Whether the files shrank and the time did not. ``measured``: by ``metric``, with its ratio to the baseline."""
    ratio, low, high = (measured.get(name) for name in ("ratio", "ratio_low", "ratio_high"))
    if ratio is None or low is None or high is None or not baseline_size or size > SMALLER * baseline_size:
        return None
    if high < 1 - NEGLIGIBLE:
        return None
    said = "slower" if low > 1 + NEGLIGIBLE else "not faster"
    message = (
        f"smaller but {said} than {baseline}: ×{size / baseline_size:.2f} of the size, ×{ratio:.2f} of the {metric} "
        f"[{low:.2f}–{high:.2f}]"
    )
    return Concern(kind="smaller-not-faster", message=message)


def class_value(row: Mapping[str, Any]) -> float:
    """The value of one class: its own, or the share that is correct; NaN if the row says neither."""
    if row.get("value") is not None:
        return float(row["value"])
    return row["correct"] / row["n"] if _counts(row) and row["n"] else math.nan


def _counts(row: Mapping[str, Any]) -> bool:
    """Whether it says how many samples it has, and how many of them are right."""
    return row.get("n") is not None and row.get("correct") is not None


def row_noun(measured: Mapping[str, Any]) -> str:
    """What the rows of ``per_class`` are, if not classes: ``rows`` of the result says so."""
    noun = measured.get("rows")
    return noun if isinstance(noun, str) else "class"


def collapsed_classes(
    metric: str, own: Mapping[str, Any], base: Mapping[str, Any] | None, baseline: str | None
) -> Concern | None:
    """Classes that lost far more than chance explains: against the baseline's, or else against its other
    classes. Rows without ``n`` and ``correct`` are left out. The test is that of two proportions, pooled.
    """
    fallen = []
    counted = {name: row for name, row in own.get("per_class", {}).items() if _counts(row)}
    n, correct = (sum(row[key] for row in counted.values()) for key in ("n", "correct"))
    for name, row in counted.items():
        if row["n"] < FEWEST:
            continue
        if base is not None:
            other = base.get("per_class", {}).get(name)
            if other is None or not _counts(other) or not other["n"]:
                continue
        else:
            other = {"n": n - row["n"], "correct": correct - row["correct"]}
            if not other["n"] or class_value(row) > 0.5 * class_value(other):
                continue
        before, after = class_value(other), class_value(row)
        if before - after >= DROP and _sigmas(other, row) >= SIGMAS:
            fallen.append((name, before, after))
    if not fallen:
        return None
    fallen.sort(key=lambda item: item[2] - item[1])
    which = ", ".join(f"{name} ({before:.2f} → {after:.2f})" for name, before, after in fallen[:5])
    more = f" and {len(fallen) - 5} more" if len(fallen) > 5 else ""
    one = row_noun(own)
    many = f"{one}es" if one.endswith("s") else f"{one}s"
    noun = one if len(fallen) == 1 else many
    than = f"against {baseline}" if base is not None else f"against the other {many}"
    message = f"{metric} collapsed in {noun} {which}{more} {than}, while the mean is {own['value']:.4g}"
    return Concern(kind="class-collapsed", message=message, classes=tuple(name for name, _, _ in fallen), rows=one)


def _sigmas(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """How many standard errors the share of the first lies above that of the second."""
    n, m = first["n"], second["n"]
    pooled = (first["correct"] + second["correct"]) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return (first["correct"] / n - second["correct"] / m) / error if error else 0.0
