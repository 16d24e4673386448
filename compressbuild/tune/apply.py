"""Writes the chosen values into the text of a Compressfile. Only these values change: comments and layout stay."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from ..compressfile.load import TOP_KEYS, shown
from ..compressfile.nodes import Map, Node, Seq, plain
from ..compressfile.overrides import apply
from ..compressfile.problems import Problems
from ..compressfile.ranges import VALUE
from ..compressfile.reader import read
from ..compressfile.replacing import replace_text
from ..compressfile.text import decode
from ..errors import CbuildError, CompressfileError, UsageError
from .space import Point, Written, setting, written

__all__ = ["edited", "write"]

_LINE = re.compile("\r\n|\n")
_PLAIN = re.compile(r"[A-Za-z][\w./-]*")  # text that needs no quotes, if the reader takes it for text


def write(path: Path, point: Point) -> bool:
    """Give each range of ``point`` its value in the file; whether that changed it."""
    file = shown(path)
    text = decode(path.read_bytes(), file)
    new = edited(text, path, point)
    if new == text:
        return False
    replace_text(path, new, text)
    return True


def edited(text: str, path: Path, point: Point) -> str:
    """The text with the values. CbuildError if it would say anything else than before."""
    file = shown(path)
    ranges = {one.path: one for one in written(path, ())}
    if gone := [at for at in point if at not in ranges]:
        raise UsageError(
            f"{file} has no range at {gone[0]}, so nothing can be written there", hint="was it given by --set?"
        )
    starts = [0, *(found.end() for found in _LINE.finditer(text))]
    edits = sorted(((*_edit(text, starts, ranges[at], value), at) for at, value in point.items()), reverse=True)
    new = text
    for start, end, put, _ in edits:
        new = new[:start] + put + new[end:]
    wanted = _tree(text, file, [setting(at, value) for at, value in point.items()])
    try:
        same = _canonical(_tree(new, file, ())) == _canonical(wanted)
    except CompressfileError:
        same = False
    if not same:
        raise CbuildError(f"{file} cannot be edited where the ranges are written", hint="write the values by hand")
    return new


def _edit(text: str, starts: Sequence[int], one: Written, value: Any) -> tuple[int, int, str]:
    """(start, end, what to put there)."""
    node = one.node
    said = _said(value)
    old = node.get(VALUE)
    if old is not None:
        start = starts[old.mark.line - 1] + old.mark.column - 1
        return start, start + old.mark.length, said
    start = starts[node.mark.line - 1] + node.mark.column - 1
    if text[start : start + 1] != "{":  # a block mapping, which starts at its first key
        end = "\r\n" if "\r\n" in text else "\n"
        return start, start, f"{VALUE}: {said}{end}{' ' * (node.mark.column - 1)}"
    close = start + node.mark.length - 1
    if node.mark.length == 1:  # over several lines
        return start + 1, start + 1, f"{VALUE}: {said}, "
    body = text[start + 1 : close].rstrip()
    at = start + 1 + len(body)
    return at, at, f"{' ' if body.endswith(',') else ', '}{VALUE}: {said}"


def _said(value: Any) -> str:
    """A value as it is written inside a flow mapping."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        problems = Problems()
        node = read(value, "", problems)
        if not len(problems) and node is not None and plain(node) == value:
            return value
    return json.dumps(value, ensure_ascii=False)


def _tree(text: str, file: str, settings: Sequence[str]) -> Node | None:
    problems = Problems({file: text})
    root = read(text, file, problems)
    if root is not None:
        root = apply(root, settings, TOP_KEYS, problems)
    problems.check()
    return root


def _canonical(node: Node | None) -> bytes:
    """What a tree says: types count, the order of the keys does not."""
    return msgspec.json.encode(_sorted(node))


def _sorted(node: Node | None) -> Any:
    if node is None:
        return None
    if isinstance(node, Map):
        entries = [(str(key.value), _sorted(value)) for key, value in node.entries]
        return dict(sorted(entries, key=itemgetter(0)))
    return [_sorted(item) for item in node.items] if isinstance(node, Seq) else node.value
