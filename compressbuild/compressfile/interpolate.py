"""``${vars.NAME}`` and ``${axis}``: references replaced by values.

A scalar that is one reference becomes the value, with its type, be it a list or a mapping; a reference inside text
becomes text. ``$${`` is a literal ``${``. Variables may refer to variables. The environment is out of reach: what a
build depends on stands in the file or on the command line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..errors import Mark
from ..words import suggest
from .nodes import Broken, Map, Node, Scalar, Seq, describe
from .order import dependencies_first
from .problems import Problems

__all__ = ["MAX_VALUES", "Scope", "Shared", "axis_name", "references", "text_of"]

MAX_VALUES = 100_000
"""Values that one variable may hold after expansion: variables that double each other would grow without bound."""

_MAX_TEXT = 1 << 20
_MAX_DEPTH = 64
_TOKEN = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_WHOLE = re.compile(r"\$\{([^{}]*)\}")
_PATH = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w.-]+)?")


class Scope:
    """What names mean: the file's ``vars``, all resolved when it is made, and inside a matrix its axes."""

    def __init__(self, variables: Map | None, problems: Problems) -> None:
        self._variables = {str(key.value): value for key, value in variables.entries} if variables else {}
        self._problems = problems
        self._resolved: dict[str, Node] = {}
        self._axes: Mapping[str, Node] = {}
        self._shared: Shared | None = None
        for name in dependencies_first(self._variables, self._needs, self._loop):
            if name not in self._resolved:
                self._resolved[name] = self._resolve(self._variables[name], name)

    def with_axes(self, axes: Mapping[str, Node], shared: Shared | None = None) -> Scope:
        """This scope with matrix axes in it. ``shared``: given to all points of one matrix, so that parts that do not
        depend on an axis are expanded once and are one object in every point."""
        inner = Scope.__new__(Scope)
        inner._variables, inner._problems = self._variables, self._problems
        inner._resolved, inner._axes, inner._shared = self._resolved, axes, shared
        return inner

    def expand(self, node: Node) -> Node:
        """``node`` with every reference replaced; itself where it holds none."""
        if isinstance(node, Scalar):
            value = node.value
            return self._scalar(node, value) if isinstance(value, str) and "${" in value else node
        if self._shared is None:
            return self._collection(node)
        key = self._shared.key(node, self._axes)
        known = self._shared.done.get(key)
        if known is None:
            known = self._shared.done[key] = self._collection(node)
        return known

    def _collection(self, node: Seq | Map) -> Node:
        if isinstance(node, Seq):
            items = [self.expand(item) for item in node.items]
            same = all(new is old for new, old in zip(items, node.items, strict=True))
            return node if same else Seq(tuple(items), node.mark)
        return self._map(node)

    def key(self, key: Scalar) -> Scalar:
        """A mapping's key with its references replaced by text (Broken if one fails)."""
        value = key.value
        if not isinstance(value, str) or "${" not in value:
            return key
        text = self._text(key, value)
        return Broken(None, key.mark) if text is None else Scalar(text, key.mark, key.quoted)

    def _needs(self, variable: str) -> Iterator[str]:
        """The variables that one refers to."""
        for path in references(self._variables[variable]):
            head, _, rest = path.partition(".")
            name = rest.partition(".")[0]
            if head == "vars" and name in self._variables:
                yield name

    def _loop(self, names: list[str]) -> None:
        mark = self._variables[names[-1]].mark
        said = " -> ".join(names)
        self._problems.add(f"variables refer to each other: {said}", mark, "make one of them a value")
        self._resolved.update({name: Broken(None, mark) for name in names})

    def _resolve(self, written: Node, name: str) -> Node:
        value = self.expand(written)
        if value is not written and not _fits(value):
            self._problems.add(f"'vars.{name}' holds more than {MAX_VALUES} values or nests too deep", written.mark)
            return Broken(None, written.mark)
        return value

    def _map(self, node: Map) -> Map:
        changed = False
        entries: list[tuple[Scalar, Node]] = []
        for key, value in node.entries:
            new = (self.key(key), self.expand(value))
            changed = changed or new[0] is not key or new[1] is not value
            if not isinstance(new[0], Broken):
                entries.append(new)
        if not changed:
            return node
        seen: set[object] = set()
        for key, _ in entries:
            if key.value in seen:
                self._problems.add(f"duplicate key '{key.value}' after '${{…}}' is filled in", key.mark)
            seen.add(key.value)
        return Map(tuple(entries), node.mark)

    def _scalar(self, node: Scalar, text: str) -> Node:
        whole = _WHOLE.fullmatch(text)
        if whole is None:
            filled = self._text(node, text)
            return Broken(None, node.mark) if filled is None else Scalar(filled, node.mark, True)
        value = self._lookup(whole[1], node.mark)
        if isinstance(value, Scalar) and not isinstance(value, Broken):
            return Scalar(value.value, node.mark, value.quoted)
        if isinstance(value, Map):
            return Map(value.entries, node.mark)
        return Seq(value.items, node.mark) if isinstance(value, Seq) else Broken(None, node.mark)

    def _text(self, node: Scalar, text: str) -> str | None:
        parts: list[str] = []
        end = 0
        failed = False
        for found in _TOKEN.finditer(text):
            parts.append(text[end : found.start()])
            end = found.end()
            if found[0] == "$${":
                parts.append("${")
                continue
            mark = _within(node, text, found.start(), found.end())
            value = self._lookup(found[1], mark) if found[1] is not None else self._unclosed(mark)
            said = text_of(value)
            if said is None and not isinstance(value, Broken):
                what = describe(value)
                self._problems.add(f"'{found[0]}' is {what}, which cannot stand inside text", mark)
            failed = failed or said is None
            parts.append(said or "")
        result = "".join(parts) + text[end:]
        if len(result) > _MAX_TEXT:
            self._problems.add("the text grows beyond 1 MiB when its references are filled in", node.mark)
            failed = True
        return None if failed else result

    def _unclosed(self, mark: Mark) -> Node:
        self._problems.add("'${' without its '}'", mark, "close it, or write '$${' for a literal '${'")
        return Broken(None, mark)

    def _lookup(self, path: str, mark: Mark) -> Node:
        """The value of the reference ``path``; Broken, and reported, where there is none."""
        head, _, rest = path.partition(".")
        if not _PATH.fullmatch(path) or (head == "vars" and not rest):
            self._problems.add(f"'${{{path}}}' is not a reference", mark, "write ${vars.NAME} or, in a matrix, ${axis}")
            return Broken(None, mark)
        if head == "vars":
            name, _, rest = rest.partition(".")
            value = self._variable(name, mark)
            said = f"vars.{name}"
        elif head in self._axes:
            value, said = self._axes[head], head
            if not rest:
                return axis_name(value)
        else:
            return self._unknown(path, head, mark)
        return self._inside(value, said, rest, mark) if rest else value

    def _inside(self, value: Node, said: str, rest: str, mark: Mark) -> Node:
        """Follow ``rest`` into mappings; a key may hold dots itself, the longest one wins."""
        while rest:
            if isinstance(value, Broken):
                return value
            if not isinstance(value, Map):
                self._problems.add(f"'{said}' is {describe(value)} and has no '{rest}'", mark)
                return Broken(None, mark)
            keys = {str(key.value): inner for key, inner in value.entries}
            parts = rest.split(".")
            fitting = (".".join(parts[:size]) for size in range(len(parts), 0, -1))
            key = next((name for name in fitting if name in keys), None)
            if key is None:
                self._problems.add(f"'{said}' has no '{rest}'", mark, lambda: suggest(rest, keys, "it has"))  # noqa: B023 called at once
                return Broken(None, mark)
            value, said, rest = keys[key], f"{said}.{key}", rest[len(key) + 1 :]
        return value

    def _unknown(self, path: str, head: str, mark: Mark) -> Node:
        if head == "env":
            self._problems.add(
                f"'${{{path}}}': environment variables cannot be read in a Compressfile",
                mark,
                "declare it under vars and pass --set vars.NAME=VALUE",
            )
            return Broken(None, mark)
        names = [*self._axes, *(f"vars.{name}" for name in self._variables)]
        if f"vars.{path}" in names:
            hint: str | None = f"did you mean '${{vars.{path}}}'?"
        else:
            hint = suggest(path, names) or "declare it under vars, or as an axis of the target's matrix"
        self._problems.add(f"unknown name '{head}' in '${{{path}}}'", mark, hint)
        return Broken(None, mark)

    def _variable(self, name: str, mark: Mark) -> Node:
        value = self._resolved.get(name)
        if value is None:
            hint = suggest(name, self._variables) or "declare it under vars"
            self._problems.add(f"unknown variable 'vars.{name}'", mark, hint)
            return Broken(None, mark)
        return value


class Shared:
    """What the points of one matrix have in common."""

    def __init__(self) -> None:
        self.done: dict[tuple[object, ...], Node] = {}
        self._uses: dict[int, tuple[str, ...]] = {}

    def key(self, node: Node, axes: Mapping[str, Node]) -> tuple[object, ...]:
        """Equal for equal nodes at points that agree on every axis that the node names."""
        return (id(node), *(id(axes.get(name)) for name in self._names(node)))

    def _names(self, node: Node) -> tuple[str, ...]:
        known = self._uses.get(id(node))
        if known is None:
            found = dict.fromkeys(path.partition(".")[0] for path in references(node))
            known = self._uses[id(node)] = tuple(found)
        return known


def references(node: Node) -> Iterator[str]:
    """Every reference written in ``node``, without its ``${`` and ``}``."""
    if isinstance(node, Scalar):
        if isinstance(node.value, str) and "${" in node.value:
            yield from (found[1] for found in _TOKEN.finditer(node.value) if found[1] is not None)
    elif isinstance(node, Seq):
        for item in node.items:
            yield from references(item)
    else:
        for key, value in node.entries:
            yield from references(key)
            yield from references(value)


def axis_name(value: Node) -> Node:
    """What ``${axis}`` stands for: the value, or of a mapping its ``name``."""
    named = value.get("name") if isinstance(value, Map) else None
    return value if named is None else named


def text_of(value: Node) -> str | None:
    """A scalar as it stands inside text; None for what has no text (null, lists, mappings)."""
    if not isinstance(value, Scalar) or value.value is None:
        return None
    if isinstance(value.value, bool):
        return "true" if value.value else "false"
    return str(value.value)


def _within(node: Scalar, text: str, start: int, end: int) -> Mark:
    """The place of ``text[start:end]`` inside a scalar, where it is written on one line without escapes."""
    mark = node.mark
    quotes = 2 if node.quoted else 0
    if mark.length != len(text) + quotes:
        return mark
    return Mark(mark.file, mark.line, mark.column + quotes // 2 + start, end - start)


def _fits(value: Node) -> bool:
    """Whether a value stays within MAX_VALUES values and a sane depth (shared parts count each time)."""
    count = 0
    pending = [(value, 1)]
    while pending:
        node, depth = pending.pop()
        count += 1
        if count > MAX_VALUES or depth > _MAX_DEPTH:
            return False
        if isinstance(node, Seq):
            pending.extend((item, depth + 1) for item in node.items)
        elif isinstance(node, Map):
            pending.extend((item, depth + 1) for _, item in node.entries)
    return True
