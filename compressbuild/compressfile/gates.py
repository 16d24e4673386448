"""Gates: limits on metrics that a target must meet."""

from __future__ import annotations

from msgspec.structs import replace

from ..words import DURATION, SIZE
from .checks import Checks
from .nodes import Map, Node, Scalar
from .spec import HISTORY, GateSpec

__all__ = [
    "AMOUNT",
    "GATE_KEYS",
    "LIMITS",
    "RECORDS",
    "RELATIVE_LIMITS",
    "VERDICTS",
    "check_against",
    "gates",
    "in_unit",
]

RELATIVE_LIMITS = ("max-drop", "max-ratio", "min-ratio", "max-class-drop")
LIMITS = ("min", "max", "min-class", *RELATIVE_LIMITS)
GATE_KEYS = (*LIMITS, "against", "record", "inconclusive", "unmeasured")
RECORDS = ("last", "best")
VERDICTS = ("fail", "allow")
AMOUNT = r"^\s*[0-9]+(\.[0-9]+)?\s*(([kKmMgGtT][iI]?)?[bB]|ms|s|m|min|h|d)\s*$"
"""What a limit that is written as a size or time looks like, for the JSON Schema."""
_SECONDS = {"s": 1.0, "ms": 1e3, "us": 1e6, "µs": 1e6}  # of a second


def gates(node: Node, checks: Checks) -> tuple[GateSpec, ...]:
    """``{metric: {limit: number, …}}``."""
    found = checks.mapping(node, "'gates'")
    read = (_gate(key, value, checks) for key, value in found.entries) if found is not None else ()
    return tuple(gate for gate in read if gate is not None)


def _gate(key: Scalar, node: Node, checks: Checks) -> GateSpec | None:
    metric = str(key.value)
    what = f"gate '{metric}'"
    if not isinstance(node, Map):
        checks.wrong(node, what, "a mapping of limits", f"write {metric}: {{min: 0.9}} or {{max: 10}}")
        return None
    checks.mapping(node, what, GATE_KEYS)
    values: dict[str, float | None] = {}
    verdicts: dict[str, str] = {}
    units: dict[str, str] = {}
    against: str | None = None
    record = "last"
    for name, value in node.entries:
        word = str(name.value)
        if word in LIMITS:
            least, above = (0 if word.endswith("drop") else None), (0 if word.endswith("ratio") else None)
            values[word], unit = _amount(value, f"'{word}' of {what}", least, above, checks)
            units |= {word: unit} if unit else {}
        elif word == "against" and isinstance(value, Scalar) and value.value == HISTORY:
            against = HISTORY
        elif word == "against":
            against = checks.reference(value, f"'against' of {what}", "target", "model")
        elif word == "record":
            record = checks.choice(value, f"'record' of {what}", RECORDS) or "last"
        elif word in ("inconclusive", "unmeasured"):
            verdicts[word] = checks.choice(value, f"'{word}' of {what}", VERDICTS) or "fail"
    _check_limits(what, key, node, values, checks)
    return GateSpec(
        metric=metric,
        mark=key.mark,
        min=values.get("min"),
        max=values.get("max"),
        max_drop=values.get("max-drop"),
        max_ratio=values.get("max-ratio"),
        min_ratio=values.get("min-ratio"),
        min_class=values.get("min-class"),
        max_class_drop=values.get("max-class-drop"),
        against=against,
        record=record,
        units=units,
        **verdicts,
    )


def _amount(
    node: Node, what: str, least: float | None, above: float | None, checks: Checks
) -> tuple[float | None, str]:
    """A limit, and what it counts if it is written as a size (``B``: 1MB) or a time (``s``: 10ms)."""
    text = node.value if isinstance(node, Scalar) and isinstance(node.value, str) and above is None else ""
    if text.rstrip()[-1:].isalpha():
        kind, unit = (SIZE, "B") if text.rstrip()[-1] in "bB" else (DURATION, "s")
        amount = kind.parse(text)
        if amount is not None:
            return amount, unit
    return checks.number(node, what, least, above), ""


def in_unit(gate: GateSpec, unit: str) -> GateSpec | str:
    """The gate with its limits as numbers of the metric's ``unit``; or the limit that counts something else."""
    changed: dict[str, float] = {}
    for limit, written in gate.units.items():
        factor = 1.0 if written == unit else _SECONDS.get(unit) if written == "s" else None
        if factor is None:
            return limit
        field = limit.replace("-", "_")
        changed[field] = getattr(gate, field) * factor
    return replace(gate, units={}, **changed) if changed else gate


def _check_limits(what: str, key: Scalar, node: Map, values: dict[str, float | None], checks: Checks) -> None:
    relative = [word for word in RELATIVE_LIMITS if word in values]
    if not values:
        if all(name.value in GATE_KEYS for name, _ in node.entries):  # else the misspelt one is reported
            checks.add(f"{what} has no limit", key.mark, f"set at least one of {', '.join(LIMITS)}")
    elif relative and node.get("against") is None:
        checks.add(
            f"'{relative[0]}' of {what} needs 'against'",
            node.key_mark(relative[0]),
            f"name the target or model to compare with, or {HISTORY}",
        )
    elif not relative and node.get("against") is not None:
        checks.add(
            f"'against' of {what} does nothing: no limit compares",
            node.key_mark("against"),
            f"add one of {', '.join(RELATIVE_LIMITS)}, or remove it",
        )
    place = node.get("against")
    recorded = isinstance(place, Scalar) and place.value == HISTORY
    if recorded and "max-class-drop" in values:
        message = f"'max-class-drop' of {what} cannot be compared with history: values of classes are not recorded"
        checks.add(message, node.key_mark("max-class-drop"), "name a target or model")
    if node.get("record") is not None and not recorded:
        checks.add(f"'record' of {what} does nothing here", node.key_mark("record"), f"it needs against: {HISTORY}")
    for low, high in (("min", "max"), ("min-ratio", "max-ratio")):
        least, most = values.get(low), values.get(high)
        if least is not None and most is not None and least > most:
            checks.add(f"nothing can pass {what}: '{low}' {least:g} is above '{high}' {most:g}", node.key_mark(low))


def check_against(target: str, read: tuple[GateSpec, ...], node: Node, checks: Checks) -> None:
    """A target compared with itself proves nothing."""
    for gate in read:
        if gate.against == target:
            inner = node.get(gate.metric) if isinstance(node, Map) else None
            place = inner.get("against") if isinstance(inner, Map) else None
            checks.add(
                f"gate '{gate.metric}' compares '{target}' with itself",
                place.mark if place else gate.mark,
                "name another target, or the model",
            )
