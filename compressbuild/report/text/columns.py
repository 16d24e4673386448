"""Rows as aligned columns of plain text: bare, in a frame, or ruled for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

__all__ = ["columns", "framed", "ruled"]

_BOLD, _RED, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[0m"


def columns(rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """A line for each row, two spaces between columns; no line ends in a space. ``right``: columns of numbers."""
    return ["  ".join(row).rstrip() for row in _aligned(list(rows), frozenset(right))]


def framed(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """The same in a frame of ASCII; the first row is the head."""
    table = _aligned(rows, frozenset(right))
    rule = "+".join(["", *("-" * (len(cell) + 2) for cell in table[0]), ""])
    lines = [f"| {' | '.join(row)} |" for row in table]
    return [rule, lines[0], rule, *lines[1:], rule]


def ruled(rows: Sequence[Sequence[str]], right: Iterable[int] = (), red: Collection[int] = ()) -> list[str]:
    """The same for a terminal: a bold head, a rule, and the rows ``red`` (by index, the head is 0) in red."""
    table = _aligned(rows, frozenset(right))
    lines = [" " + "   ".join(row).rstrip() for row in table]
    rule = " " + "─" * (sum(map(len, table[0])) + 3 * (len(table[0]) - 1))
    shown = [f"{_RED}{line}{_PLAIN}" if at in red else line for at, line in enumerate(lines)]
    return [f"{_BOLD}{lines[0]}{_PLAIN}", rule, *shown[1:]]


def _aligned(rows: Sequence[Sequence[str]], right: frozenset[int]) -> list[list[str]]:
    """Every cell as wide as its column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        [cell.rjust(widths[at]) if at in right else cell.ljust(widths[at]) for at, cell in enumerate(row)]
        for row in rows
    ]
