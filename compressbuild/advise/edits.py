"""One change of a Compressfile's text: comments, order and spelling of all else stay."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ..api.advice import Edit
from ..compressfile.nodes import Map, Node, Scalar, Seq
from ..compressfile.problems import Problems
from ..compressfile.reader import read
from ..errors import Mark

__all__ = ["edited"]


class _Place(msgspec.Struct, frozen=True):
    """Where a step, or an entry, is written. ``item``: the whole item of the list that it is in."""

    key: Scalar
    value: Node | None
    item: Node | None = None
    items: Seq | None = None


def edited(text: str, edit: Edit) -> str | None:
    """The text with one change made, or None where it is written in a way that no change is safe for."""
    root = read(text, edit.mark.file, Problems({edit.mark.file: text}))
    place = next(_find(root, edit.mark), None) if root is not None else None
    if place is None:
        return None
    lines = text.splitlines(keepends=True)
    if edit.kind == "set":
        return _set(lines, place, edit.key, edit.text)
    return _step(lines, place, edit)


def _find(node: Node, mark: Mark, item: Node | None = None, items: Seq | None = None) -> Iterator[_Place]:
    if isinstance(node, Seq):
        for each in node.items:
            if isinstance(each, Scalar) and _at(each.mark, mark):
                yield _Place(each, None, each, node)
            yield from _find(each, mark, each, node)
    elif isinstance(node, Map):
        for key, value in node.entries:
            if _at(key.mark, mark):
                yield _Place(key, value, item, items)
            yield from _find(value, mark)


def _at(one: Mark, two: Mark) -> bool:
    return (one.line, one.column) == (two.line, two.column)


def _set(lines: list[str], place: _Place, key: str, text: str) -> str | None:
    value = place.value
    if value is None or (isinstance(value, Scalar) and value.value is None):  # a step without parameters
        row, end = place.key.mark.line - 1, place.key.mark.column - 1 + place.key.mark.length
        rest = lines[row][end:]
        colon = len(rest) - len(rest.removeprefix(":"))
        lines[row] = f"{lines[row][:end]}: {{{key}: {text}}}{rest[colon:]}"
        return "".join(lines)
    if not isinstance(value, Map):
        return None
    known = value.get(key)
    if known is not None:
        if known.mark.length < 1 or not _on_one_line(known, lines):
            return None
        return _put(lines, known.mark.line - 1, known.mark.column - 1, known.mark.length, text)
    row, column = value.mark.line - 1, value.mark.column - 1
    if lines[row][column] == "{":
        end = column + value.mark.length - 1
        if lines[row][end : end + 1] != "}":
            return None  # it goes on in the next line
        body = lines[row][column + 1 : end].rstrip()
        lines[row] = f"{lines[row][: column + 1]}{body}{', ' if body else ''}{key}: {text}{lines[row][end:]}"
        return "".join(lines)
    first = value.entries[0][0].mark
    lines.insert(first.line - 1, f"{' ' * (first.column - 1)}{key}: {text}{_break(lines)}")
    return "".join(lines) if not lines[first.line][: first.column - 1].strip() else None


def _break(lines: list[str]) -> str:
    """How the file ends its lines."""
    return "\r\n" if lines[0].endswith("\r\n") else "\n"


def _on_one_line(node: Node, lines: list[str]) -> bool:
    """Whether the mark of a node covers all of it."""
    start = node.mark.column - 1
    written = lines[node.mark.line - 1][start : start + node.mark.length]
    if isinstance(node, Scalar):
        return "\n" not in written
    return written[:1] in "[{" and written[-1:] == {"[": "]", "{": "}"}.get(written[:1])


def _put(lines: list[str], row: int, column: int, length: int, text: str) -> str:
    lines[row] = lines[row][:column] + text + lines[row][column + length :]
    return "".join(lines)


def _step(lines: list[str], place: _Place, edit: Edit) -> str | None:
    """Replace a step, write one behind it, or remove it."""
    if place.item is None or place.items is None:
        return None
    span = _span(lines, place)
    if span is None:
        return None
    row, start, end = span
    line = lines[row]
    if edit.kind == "replace":
        lines[row] = line[:start] + edit.text + line[end:]
        if not edit.then:
            return "".join(lines)
        line, end = lines[row], start + len(edit.text)
        edit = Edit("after", edit.mark, text=edit.then)
    before = line[:start]
    if before.strip() == "-":  # an item of its own line
        if edit.kind == "after":
            lines.insert(row + 1, f"{before}{edit.text}{_break(lines)}")
            if not line.endswith("\n"):
                lines[row] += _break(lines)
        elif len(place.items.items) == 1:
            return None  # 'steps:' would be left empty
        else:
            del lines[row]
        return "".join(lines)
    if line[end : end + 1] not in (",", "]"):
        return None
    if edit.kind == "after":
        lines[row] = f"{line[:end]}, {edit.text}{line[end:]}"
    elif line[end] == ",":
        lines[row] = before + line[end + 1 :].lstrip(" ")
    else:
        lines[row] = before.rstrip(" ").removesuffix(",") + line[end:]
    return "".join(lines)


def _span(lines: list[str], place: _Place) -> tuple[int, int, int] | None:
    """(line, start, end) of a step that stands in one line; else None."""
    item, key, value = place.item, place.key, place.value
    assert item is not None
    row = key.mark.line - 1
    if isinstance(item, Map) and len(item.entries) != 1:
        return None  # options of the step stand beside it
    if isinstance(item, Map) and item.mark.line == key.mark.line and _on_one_line(item, lines):
        return row, item.mark.column - 1, item.mark.column - 1 + item.mark.length
    start, last = key.mark.column - 1, key if value is None else value
    if last.mark.line != key.mark.line or (value is not None and not _on_one_line(value, lines)):
        return None
    return row, start, last.mark.column - 1 + last.mark.length
