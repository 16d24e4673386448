"""One target in plain text: its nodes, what was measured of it, how its gates came out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from ...evaluate.evidence import Evidence
from ...plan import Action
from ...words import duration, number
from .columns import columns
from .table import with_ratio
from .verdicts import gate_words, said

__all__ = ["evidence_lines", "node_lines"]

_LONG = 100  # characters of a value that are shown
_INDENT = " " * 11


def node_lines(actions: Iterable[Action]) -> Iterator[str]:
    """State, time and size of each node; below them its parameters after defaults, and the facts that it reported."""
    for action in actions:
        result = action.result
        took = f"  {duration(result.seconds)}, {number(result.size, 'B')}" if result is not None else ""
        yield f"  {action.status:8} {action.node.position}{took}"
        if words := _words(action.node.params):
            yield f"{_INDENT}with {words}"
        if result is not None and action.node.role != "metric" and (words := _words(result.facts)):
            yield f"{_INDENT}made {words}"


def evidence_lines(evidence: Evidence, units: Mapping[str, str]) -> Iterator[str]:
    """What was measured, what could not be, the gates and warnings."""
    rows = [(name, with_ratio(found, units.get(name, ""))) for name, found in evidence.metrics.items()]
    rows += [(name, f"not measured: {reason}") for name, reason in evidence.unmeasured.items()]
    yield from (f"  {line}" for line in columns(rows))
    gates = [
        (f"gate {gate_words(v.metric, v.limit, v.bound, v.against)}", v.verdict, *_got(*said(v)))
        for v in evidence.gates
    ]
    yield from (f"  {line}" for line in columns(gates))
    yield from (f"  warning: {warning.message}" for warning in evidence.warnings)


def _got(value: str, margin: str, reason: str) -> tuple[str, str]:
    return f"got {value}" + (f", {margin} from the limit" if margin != "–" else ""), reason


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {_short(value)}" for name, value in values.items() if value not in (None, [], {}))


def _short(value: object) -> str:
    """As a Compressfile would have it, without what is not set."""
    if isinstance(value, Mapping):
        return f"{{{_words(value)}}}"
    text = f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else _json(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
