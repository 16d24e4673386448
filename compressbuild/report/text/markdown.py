"""The report as a comment for a pull request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...words import number

__all__ = ["escaped", "markdown"]


def markdown(document: dict[str, Any]) -> str:
    """What to ship, a row for each target, then missed gates and warnings."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: dict[str, Any]) -> Iterator[str]:
    targets, metrics, choices = document["targets"], document["metrics"], document["choices"]
    shipped = {chosen["name"] for chosen in choices}
    yield f"### compressbuild: {escaped(document['project'])}"
    yield ""
    for chosen in choices:
        state = next(target["state"] for target in targets if target["name"] == chosen["name"])
        aside = "" if state == "published" else f" ({escaped(state)})"
        where = f" on {escaped(chosen['platform'])}" if len(choices) > 1 and chosen["platform"] else ""
        but = f" But: {escaped('; '.join(chosen['remarks']))}." if chosen["remarks"] else ""
        yield f"Ship **{escaped(chosen['name'])}**{where}{aside}: {escaped('; '.join(chosen['reasons']))}.{but}"
        yield ""
    if not choices and document.get("unshipped"):
        yield f"No artifact to ship: {escaped(document['unshipped'])}."
        yield ""
    names = [n for n, m in metrics.items() if m["role"] == "quality" or (m["role"] == "cost" and m["priority"] > 0)]
    yield f"| target | platform | {' | '.join(names)} | gates | state |"
    yield f"|---|---|{'---:|' * len(names)}---|---|"
    for target in targets:
        cells = [_cell(target["metrics"].get(name), metrics[name]["unit"]) for name in names]
        missed = sum(not gate["ok"] for gate in target["gates"])
        gates = "–" if not target["gates"] else f"❌ {missed} missed" if missed else f"✅ {len(target['gates'])}"
        mark = " ★" if target["name"] in shipped else ""
        row = (f"{escaped(target['name'])}{mark}", escaped(target["platform"] or "–"), *cells, gates, target["state"])
        yield f"| {' | '.join(row)} |"
    said = [f"- ❌ **{escaped(t['name'])}**: {_gate(g)}" for t in targets for g in t["gates"] if not g["ok"]]
    said += [f"- ⚠️ **{escaped(t['name'])}**: {escaped(w['message'])}" for t in targets for w in t["warnings"]]
    if said:
        yield ""
        yield from said


def _cell(result: dict[str, Any] | None, unit: str) -> str:
    if result is None or result.get("value") is None:
        return "–"
    text = number(float(result["value"]), unit)
    return f"{text} (×{result['ratio']:.2f})" if result.get("ratio") is not None else text


def _gate(gate: dict[str, Any]) -> str:
    against = f" of {escaped(gate['against'])}" if gate.get("against") else ""
    value = "" if gate.get("value") is None else f", got {gate['value']:.4g}"
    reason = f" ({escaped(gate['reason'])})" if gate.get("reason") else ""
    return f"{escaped(gate['metric'])} {gate['limit']} {gate['bound']:g}{against}{value}: {gate['verdict']}{reason}"


def escaped(value: str) -> str:
    """Text that Markdown takes as text."""
    return "".join("\\" + c if c in "\\`*_[]|<>#" else " " if c == "\n" else c for c in value)
