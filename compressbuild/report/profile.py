"""A profile as text, and as one HTML file with a plot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from ..api import Operator, Profile
from ..words import number
from .columns import columns

__all__ = ["html", "lines"]

_REST = "outside operators"
_BAR, _ROW, _LABEL, _NUMBERS = 420, 20, 330, 150  # pixels of a full bar, a row, the names, what stands behind a bar
_LONGEST = 46  # characters of a name in the plot
_MOST = 40  # rows in the plot
_COLOURS = ("#1f6f8b", "#c8553d", "#588157", "#7b5ea7", "#b08968", "#3d5a80", "#9a8c22", "#8d99ae")


def _sorted(profile: Profile) -> list[Operator]:
    """The slowest first."""
    return sorted(profile.operators, key=lambda row: (-row.time_us, row.name))


def _by_type(profile: Profile) -> list[tuple[str, float, float]]:
    """(type, µs, calls) of one run, the slowest first, with what no operator accounts for."""
    found: dict[str, tuple[float, float]] = {}
    for row in profile.operators:
        time, calls = found.get(row.op, (0.0, 0.0))
        found[row.op] = (time + row.time_us, calls + row.calls)
    if (rest := _rest(profile)) > 0:
        found[_REST] = (rest, 0.0)
    return sorted(((op, time, calls) for op, (time, calls) in found.items()), key=lambda row: (-row[1], row[0]))


def _rest(profile: Profile) -> float:
    return max(0.0, profile.run_us - sum(row.time_us for row in profile.operators))


def _total(profile: Profile) -> float:
    return max(profile.run_us, sum(row.time_us for row in profile.operators)) or 1.0


def _run(profile: Profile) -> str:
    return f"{number(profile.run_us / 1000, 'ms')} a run under the profiler, batch {profile.batch}"


def lines(target: str, profile: Profile, most: int) -> Iterator[str]:
    """What it is of, time by type of operator, then the slowest operators; ``most`` lines of each."""
    total = _total(profile)
    yield f"{target}: {_run(profile)}"
    if profile.describe:
        yield ", ".join(f"{key} {value}" for key, value in profile.describe.items())
    types, rows = _by_type(profile), _sorted(profile)
    yield ""
    yield from _table(("type", "µs", "share", "calls"), [(op, us, calls, "") for op, us, calls in types], total, most)
    if any(row.name != row.op for row in rows):
        yield ""
        operators = [(row.name, row.time_us, row.calls, row.op) for row in rows]
        yield from _table(("operator", "µs", "share", "calls", "type"), operators, total, most)


def _table(
    head: tuple[str, ...], rows: Sequence[tuple[str, float, float, str]], total: float, most: int
) -> Iterator[str]:
    """Rows of (name, µs, calls, type)."""
    shown = [head]
    for name, us, calls, op in rows[:most]:
        shown.append((name, f"{us:,.1f}", f"{us / total:.1%}", f"{calls:g}" if calls else "", op)[: len(head)])
    yield from columns(shown, right=(1, 2, 3))
    if len(rows) > most:
        left = sum(row[1] for row in rows[most:])
        yield f"and {len(rows) - most} more, {left / total:.1%} ('-n {len(rows)}' shows all)"


def html(target: str, profile: Profile) -> str:
    """One file without scripts or anything of the network: two bar charts and the whole table."""
    total, types = _total(profile), _by_type(profile)
    colours = {op: _COLOURS[i % len(_COLOURS)] for i, (op, _, _) in enumerate(types) if op != _REST}
    rows = _sorted(profile)
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
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
svg {{ max-width: 100%; height: auto }} text {{ font: 12px system-ui, sans-serif; fill: currentColor }}
table {{ border-collapse: collapse; width: 100% }} td, th {{ padding: .15rem .6rem; text-align: right }}
td:nth-child(-n+2), th:nth-child(-n+2) {{ text-align: left; overflow-wrap: anywhere }}
tr:nth-child(even) {{ background: #8881 }}
</style></head><body>
<h1>{escape(title)}</h1>
<p>{_run(profile)}. {escape(facts)}</p>
<h2>By type of operator</h2>
{_chart(per_type, total, "Time by type of operator")}
<h2>Slowest operators</h2>
{_chart(shown, total, "Time of the slowest operators")}
<h2>All operators</h2>
<table><thead><tr>{head}</tr></thead><tbody>
{body}</tbody></table>
</body></html>
"""


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
