"""The report, or a comparison, as one HTML file that asks nothing of the network."""

from __future__ import annotations

import time
from collections.abc import Iterable
from html import escape
from typing import Any

import msgspec

from ... import __version__
from ...evaluate.compare import Comparison
from ..data.beside import Beside
from ..data.flipped import MOST, Shown
from .shell import asset, filled, shell

__all__ = ["comparison_page", "page"]

MOST_ROWS = 100
MOST_PICTURES = 4_000_000
"""Characters of all pictures of samples in a report."""
_SHOWN = ("value", "ratio", "ratio_low", "ratio_high", "noisy", "paired")
_NODE = ("node", "kind", "status", "seconds", "memory", "size")


def page(document: dict[str, Any], graph: str) -> str:
    """``document``: as :func:`compressbuild.report.data.document.gather` makes it. ``graph``: an svg element."""
    scripts = ("page", "parts", "samples", "operators", "search", "target", "report")
    return _page("report", str(document["project"]), scripts, _slim(document), {"GRAPH": graph})


def comparison_page(
    found: Comparison,
    tables: Iterable[dict[str, Any]],
    operators: Beside | str | None = None,
    samples: Shown | str | None = None,
) -> str:
    """``tables``: as :func:`compressbuild.report.data.breakdowns.breakdowns` makes them, with A as the baseline.
    ``operators`` and ``samples``: what :mod:`compressbuild.report.data.comparing` says of them; None: nothing."""
    document = {
        **msgspec.to_builtins(found),
        "verdict": found.verdict,
        "version": __version__,
        "time": time.time(),
        "breakdowns": [_cut(table) for table in tables],
        "metrics": {row.metric: {"unit": row.unit} for row in found.rows},
        "operators": msgspec.to_builtins(operators),
        "samples": samples,
        "most": MOST,
    }
    scripts = ("page", "parts", "samples", "operators", "compare")
    return _page("compare", f"{found.first} and {found.second}", scripts, document, {})


def _page(body: str, title: str, scripts: Iterable[str], document: dict[str, Any], more: dict[str, str]) -> str:
    script = "\n".join(asset(f"{name}.js") for name in scripts)
    elements = (
        f'<script type="application/json" id="data">{_embedded(document)}</script>\n'
        f"<script>{asset('vendor/chart.umd.min.js')}</script>\n<script>{script}</script>\n"
    )
    return shell(title, filled(asset(f"{body}.html"), {"TITLE": escape(title), **more}), elements)


def _slim(document: dict[str, Any]) -> dict[str, Any]:
    """Only what the page shows: of long tables the rows that fell most, of results what is not in a table."""
    room = MOST_PICTURES
    targets = []
    for target in document["targets"]:
        flipped, room = _bounded(target, room)
        slim = {
            **target,
            "flipped": flipped,
            "metrics": {name: {k: m[k] for k in _SHOWN if k in m} for name, m in target["metrics"].items()},
            "breakdowns": [_cut(table) for table in target["breakdowns"]],
        }
        targets.append(slim)
    nodes = [{key: node[key] for key in _NODE} for node in document["nodes"]]
    return {**document, "targets": targets, "nodes": nodes}


def _bounded(target: dict[str, Any], room: int) -> tuple[dict[str, Any] | None, int]:
    """The samples of a target, or why they are left out, and the room that is left for pictures."""
    flipped: dict[str, Any] | None = target.get("flipped")
    size = sum(len(row.get("image", "")) for row in flipped["rows"]) if flipped is not None else 0
    if flipped is None or size <= room:
        return flipped, room - size
    rows = [{key: value for key, value in row.items() if key != "image"} for row in flipped["rows"]]
    command = f"cbuild compare {target['baseline']} {target['name']} --format html"
    return {**flipped, "rows": rows, "said": f"this page has many pictures already; '{command}' shows these"}, room


def _cut(table: dict[str, Any]) -> dict[str, Any]:
    rows = table["rows"]
    if len(rows) <= MOST_ROWS:
        return table
    kept = set(sorted(rows, key=lambda label: _change(rows[label]))[:MOST_ROWS])
    shown = {label: row for label, row in rows.items() if label in kept}
    return {**table, "rows": shown, "left_out": len(rows) - len(shown)}


def _change(row: dict[str, Any]) -> float:
    value, base = row.get("value"), row.get("base")
    return value - base if value is not None and base is not None else 0.0


def _embedded(document: dict[str, Any]) -> str:
    """JSON that cannot end the script element it is in."""
    return msgspec.json.encode(document).decode().replace("<", "\\u003c")
