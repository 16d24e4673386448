"""Errors as a compiler prints them: place, message, the line with the part that is wrong underlined, hint.

Compressfile:12:5: error: unknown key 'form' in target 'slim'
   12 |     form: digits
      |     ^~~~
  hint: did you mean 'from'?
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from unicodedata import combining, east_asian_width

from ..errors import CbuildError, CompressfileError, Diagnostic, Mark

__all__ = ["MAX_SHOWN", "render"]

MAX_SHOWN = 50
"""Diagnostics printed in full; the rest are counted."""

_WIDTH = 120  # columns of a line shown around the mark
_TAB = 4
_BREAK = re.compile("\r\n|\n")


def render(error: CbuildError, texts: Mapping[str, str] | None = None) -> str:
    """The text of an error, without a final newline. ``texts``: file name → content, beside those the error carries."""
    known = dict(texts or {})
    if isinstance(error, CompressfileError):
        known.update(error.texts)
    lines: dict[str, list[str]] = {}
    found = error.diagnostics
    parts = [_one(diagnostic, known, lines) for diagnostic in found[:MAX_SHOWN]]
    if len(found) > MAX_SHOWN:
        parts.append(f"… and {len(found) - MAX_SHOWN} more")
    if len(found) > 1:
        parts.append(f"{len(found)} errors")
    return "\n\n".join(parts)


def _one(diagnostic: Diagnostic, texts: Mapping[str, str], lines: dict[str, list[str]]) -> str:
    mark = diagnostic.mark
    message = printable(diagnostic.message)
    parts = [f"error: {message}" if mark is None else f"{printable(str(mark))}: error: {message}"]
    if mark is not None and mark.file in texts:
        if mark.file not in lines:
            lines[mark.file] = _BREAK.split(texts[mark.file])
        parts += _excerpt(mark, lines[mark.file])
    if diagnostic.hint:
        parts.append(f"  hint: {printable(diagnostic.hint)}")
    return "\n".join(parts)


def _excerpt(mark: Mark, lines: list[str]) -> list[str]:
    """The line that ``mark`` is on and its underline; nothing where the line is empty or gone."""
    if not 1 <= mark.line <= len(lines) or not lines[mark.line - 1].strip():
        return []
    line = lines[mark.line - 1]
    start = min(mark.column - 1, len(line))
    end = min(start + max(mark.length, 1), max(len(line.rstrip()), start + 1))
    before, marked, after = (_columns(part) for part in (line[:start], line[start:end], line[end:]))
    marked = marked or " "
    if _width(before) + _width(marked) > _WIDTH:
        kept = before[-_WIDTH // 2 :]
        before, marked = ("…" + kept if kept != before else before), marked[:_WIDTH]
    after = after.rstrip()
    room = max(_WIDTH - _width(before) - _width(marked), 0)
    after = after if _width(after) <= room else after[:room] + "…"
    gutter = f"{mark.line:>5} | "
    underline = "^" + "~" * (max(_width(marked), 1) - 1)
    return [f"{gutter}{before}{marked}{after}".rstrip(), f"{'':>5} | {' ' * _width(before)}{underline}"]


def _columns(text: str) -> str:
    return printable(text.replace("\t", " " * _TAB))


def _width(text: str) -> int:
    """Terminal columns: wide characters count two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def printable(text: str) -> str:
    """``text`` with what could steer a terminal or cannot be encoded replaced by ``�``; line feeds stay."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else "�" for char in text)
