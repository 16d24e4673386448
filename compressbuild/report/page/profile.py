"""A profile as one HTML file with a plot."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from ...api import Profile
from ..data.operators import REST, by_type, run_words, slowest, total_us
from .shell import shell

__all__ = ["profile_page"]

_BAR, _ROW, _LABEL, _NUMBERS = 420, 20, 330, 150  # pixels of a full bar, a row, the names, what stands behind a bar
_LONGEST = 46  # characters of a name in the plot
_MOST = 40  # rows in the plot
_COLOURS = ("#1f6f8b", "#c8553d", "#588157", "#7b5ea7", "#b08968", "#3d5a80", "#9a8c22", "#8d99ae")


def profile_page(target: str, profile: Profile) -> str:
    """Two bar charts and the whole table, without scripts."""
    total, types = total_us(profile), by_type(profile)
    colours = {op: _COLOURS[i % len(_COLOURS)] for i, (op, _, _) in enumerate(types) if op != REST}
    rows = slowest(profile)
    shown = [(row.name, row.time_us, colours[row.op], row.op) for row in rows[:_MOST]]
    per_type = [(op, us, colours.get(op, "#999"), "") for op, us, _ in types]
    title = f"{target}: where the time goes"
    facts = ", ".join(f"{key} {value}" for key, value in profile.describe.items())
    body = "".join(
        f"<tr><td>{escape(r.name)}</td><td>{escape(r.op)}</td><td>{r.time_us:.1f}</td>"
        f"<td>{r.time_us / total:.1%}</td><td>{r.calls:g}</td></tr>\n"
        for r in rows
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("operator", "type", "µs a run", "share", "calls"))
    text = f"""<header><h1>{escape(title)}</h1></header>
<main>
<section><p>{run_words(profile)}. {escape(facts)}</p>
<h2>By type of operator</h2>
{_chart(per_type, total, "Time by type of operator")}</section>
<section><h2>Slowest operators</h2>
{_chart(shown, total, "Time of the slowest operators")}</section>
<section><h2>All operators</h2>
<table><thead><tr>{head}</tr></thead><tbody>
{body}</tbody></table></section>
</main>
"""
    return shell(title, text)


def _chart(rows: Iterable[tuple[str, float, str, str]], total: float, title: str) -> str:
    """Bars for (name, µs, colour, tooltip)."""
    rows = list(rows)
    width, height = _LABEL + _BAR + _NUMBERS, _ROW * len(rows) + 4
    longest = max((us for _, us, _, _ in rows), default=1.0) or 1.0
    parts = [
        f'<svg role="img" aria-label="{escape(title)}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">'
    ]
    for at, (name, us, colour, more) in enumerate(rows):
        y = at * _ROW
        short = name if len(name) <= _LONGEST else "…" + name[1 - _LONGEST :]
        wide = max(1.0, _BAR * us / longest)
        parts.append(
            f"<g><title>{escape(name)}{': ' + escape(more) if more else ''}</title>"
            f'<text x="{_LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(short)}</text>'
            f'<rect x="{_LABEL}" y="{y + 3}" width="{wide:.1f}" height="{_ROW - 6}" rx="2" fill="{colour}"/>'
            f'<text x="{_LABEL + wide + 6:.1f}" y="{y + 14}">{us:,.1f} µs · {us / total:.1%}</text></g>'
        )
    return "\n".join([*parts, "</svg>"])
