"""Text → located nodes: a strict subset of YAML, read from the parser's events so that every value keeps its place.

Refused, each with its place and a hint: anchors, aliases, tags, directives, duplicate keys, several documents, keys
that are not text, tabs in the indentation, nesting deeper than ``MAX_DEPTH``, and the plain scalars that
``scalars.resolve`` refuses.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from ..errors import Mark
from .nodes import Broken, Map, Node, Scalar, Seq
from .problems import Problems
from .scalars import Refusal, resolve

__all__ = ["MAX_DEPTH", "read"]

MAX_DEPTH = 32
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where PyYAML was built with it: ten times faster

_TAB = re.compile(r"^ *\t", re.MULTILINE)
# libyaml counts these as line breaks, editors do not: line numbers would be wrong.
_ODD_BREAK = re.compile("[\x85\u2028\u2029]|\r(?!\n)")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def read(text: str, file: str, problems: Problems) -> Node | None:
    """The document in ``text``, or None if it holds none. Raises CompressfileError where reading cannot go on;
    what can be stepped over is added to ``problems`` and leaves a Broken node."""
    _refuse_characters(text, file, problems)
    try:
        return _Reader(text, file, problems).read()
    except yaml.YAMLError as error:
        from .syntax import explain

        explain(error, text, file, problems)
        raise problems.error() from error


def _refuse_characters(text: str, file: str, problems: Problems) -> None:
    def refuse(position: int, message: str, hint: str) -> None:
        line = text.count("\n", 0, position) + 1
        problems.add(message, Mark(file, line, position - text.rfind("\n", 0, position)), hint)
        raise problems.error()

    if "\t" in text and (found := _TAB.search(text)):
        refuse(found.end() - 1, "a tab in the indentation", "indent with spaces")
    if found := _CONTROL.search(text):
        refuse(found.start(), f"a control character (U+{ord(found[0]):04X})", "remove it")
    if found := _ODD_BREAK.search(text):
        refuse(found.start(), f"an unusual line break (U+{ord(found[0]):04X})", "end lines with a line feed")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        refuse(error.start, "a character that is not valid Unicode", "write UTF-8")


class _Frame:
    """A collection being read. ``key``: a mapping's key that waits for its value."""

    __slots__ = ("block", "flow_mark", "is_map", "items", "key", "seen")

    def __init__(self, is_map: bool, block: bool, flow_mark: Any) -> None:
        self.is_map = is_map
        self.block = block
        self.flow_mark = flow_mark
        self.items: list[Any] = []
        self.key: Scalar | None = None
        self.seen: dict[str, Scalar] = {}


class _Reader:
    def __init__(self, text: str, file: str, problems: Problems) -> None:
        self._text = text
        self._file = file
        self._problems = problems
        self._stack: list[_Frame] = []
        self._root: Node | None = None

    def read(self) -> Node | None:
        parser = _Loader(self._text)
        try:
            self._events(parser.get_event)
        finally:
            parser.dispose()
        return self._root

    def _events(self, get_event: Any) -> None:
        handlers = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._start_map,
            yaml.SequenceStartEvent: self._start_seq,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
            yaml.DocumentEndEvent: None,
            yaml.StreamStartEvent: None,
        }
        while True:
            event = get_event()
            kind = event.__class__
            if kind is yaml.StreamEndEvent:
                return
            handler = handlers[kind]
            if handler is not None:
                handler(event)

    def _mark(self, event: Any) -> Mark:
        start, end = event.start_mark, event.end_mark
        column = start.column
        length = end.column - column if end.line == start.line else 1
        return Mark(self._file, start.line + 1, column + 1, length if length > 0 else 1)

    def _add(self, node: Node) -> None:
        """Put a finished node where it belongs: as the root, an item, a key or the value of the waiting key."""
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        if not frame.is_map:
            frame.items.append(node)
        elif frame.key is None:
            frame.key = self._as_key(frame, node)
        else:
            if frame.key.__class__ is Scalar:
                frame.items.append((frame.key, node))
            frame.key = None

    def _as_key(self, frame: _Frame, node: Node) -> Scalar:
        if isinstance(node, Broken):
            return node
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            kind = "a list or mapping" if not isinstance(node, Scalar) else "an empty key"
            if isinstance(node, Scalar) and node.value is not None:
                kind = str(node.value).lower()
            hint = f'quote it: "{kind}"' if isinstance(node, Scalar) and node.value is not None else None
            self._problems.add(f"a key must be text, not {kind}", node.mark, hint)
            return Broken(None, node.mark)
        first = frame.seen.setdefault(node.value, node)
        if first is not node:
            self._problems.add(
                f"duplicate key '{node.value}'", node.mark, f"first written on line {first.mark.line}; keep one"
            )
            return Broken(None, node.mark)
        return node

    def _scalar(self, event: Any) -> None:
        mark = self._mark(event)
        if event.anchor is not None or event.tag is not None:
            self._refuse_properties(event, mark)
        style = event.style
        value = event.value
        if not style:
            plain = resolve(value)
            if isinstance(plain, Refusal):
                self._problems.add(plain.message, mark, plain.hint)
                self._add(Broken(None, mark))
            else:
                self._add(Scalar(plain, mark))
            return
        if style == '"' and "\0" in value:
            self._problems.add("text may not hold a NUL character", mark)
        self._add(Scalar(value, mark, True))

    def _start_map(self, event: Any) -> None:
        self._start(event, True)

    def _start_seq(self, event: Any) -> None:
        self._start(event, False)

    def _start(self, event: Any, is_map: bool) -> None:
        if event.anchor is not None or event.tag is not None:
            self._refuse_properties(event, self._mark(event))
        if len(self._stack) >= MAX_DEPTH:
            self._problems.add(f"nested more than {MAX_DEPTH} levels deep", self._mark(event), "flatten it")
            raise self._problems.error()
        self._stack.append(_Frame(is_map, not event.flow_style, event.start_mark))

    def _end(self, event: Any) -> None:
        frame = self._stack.pop()
        start, end = frame.flow_mark, event.end_mark
        length = end.column - start.column if not frame.block and end.line == start.line else 1
        if frame.block and frame.is_map and frame.items:
            length = frame.items[0][0].mark.length  # a block mapping starts at its first key
        mark = Mark(self._file, start.line + 1, start.column + 1, max(length, 1))
        self._add(Map(tuple(frame.items), mark) if frame.is_map else Seq(tuple(frame.items), mark))

    def _alias(self, event: Any) -> None:
        mark = self._mark(event)
        name = event.anchor
        self._problems.add(
            f"alias '*{name}' is not supported",
            mark,
            f'use vars and "${{vars.NAME}}"; if it is text, quote it: "*{name}"',
        )
        self._add(Broken(None, mark))

    def _refuse_properties(self, event: Any, mark: Mark) -> None:
        if event.anchor is not None:
            self._problems.add(f"anchor '&{event.anchor}' is not supported", mark, 'use vars and "${vars.NAME}"')
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._problems.add(f"tag '{tag}' is not supported", mark, "leave the tag out, or quote the text")

    def _document(self, event: Any) -> None:
        mark = Mark(self._file, event.start_mark.line + 1, event.start_mark.column + 1, 3)
        if event.version is not None or event.tags:
            self._problems.add("YAML directives (%YAML, %TAG) are not supported", mark, "remove the line")
        if self._root is not None:
            self._problems.add("a second document", mark, "one Compressfile is one document; remove this '---'")
            raise self._problems.error()
