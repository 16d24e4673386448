"""Pieces of HTML for a notebook: tables, and plots as SVG. No scripts: a notebook that was not trusted runs none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["scatter", "table"]

_WIDTH, _HEIGHT, _EDGE = 460, 280, 48
_COLOURS = ("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#475569")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    said = f"<caption style='text-align:left'>{escape(caption)}</caption>" if caption else ""
    return f"<table>{said}<thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def scatter(points: Sequence[tuple[str, float, float]], across: str, up: str) -> str:
    """``points``: name, across, up; "" if there are fewer than two."""
    if len(points) < 2:
        return ""
    xs, ys = [x for _, x, _ in points], [y for _, _, y in points]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" '
        f'aria-label="{escape(up)} against {escape(across)}" font-family="sans-serif" font-size="11">',
        f'<path d="M{_EDGE} {_EDGE / 2} V{_HEIGHT - _EDGE} H{_WIDTH - _EDGE / 2}" fill="none" stroke="#888"/>',
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle" fill="currentColor">{escape(across)}</text>',
        f'<text x="{_EDGE}" y="{_EDGE / 2 - 8}" fill="currentColor">{escape(up)}</text>',
    ]
    for x in sorted({min(xs), max(xs)}):
        left = _place(x, xs, _EDGE, _WIDTH - 2 * _EDGE)
        parts.append(_label(left, _HEIGHT - _EDGE + 14, "middle", f"{x:.4g}"))
    for y in sorted({min(ys), max(ys)}):
        top = _place(y, ys, _HEIGHT - _EDGE, _EDGE / 2)
        parts.append(_label(_EDGE - 4, top + 4, "end", f"{y:.4g}"))
    for number, (name, x, y) in enumerate(points):
        left = _place(x, xs, _EDGE, _WIDTH - 2 * _EDGE)
        top = _place(y, ys, _HEIGHT - _EDGE, _EDGE / 2)
        colour = _COLOURS[number % len(_COLOURS)]
        title = f"{name}: {across} {x:.4g}, {up} {y:.4g}"
        parts.append(
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="5" fill="{colour}"><title>{escape(title)}</title></circle>'
        )
        parts.append(_label(left + 8, top - 6, "start", name))
    return "".join([*parts, "</svg>"])


def _place(value: float, among: Sequence[float], low: float, high: float) -> float:
    """Where a value stands between two edges, with a margin on both sides."""
    least, most = min(among), max(among)
    share = (value - least) / (most - least) if most > least else 0.5
    return low + (0.08 + 0.84 * share) * (high - low)


def _label(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor">{escape(text)}</text>'
