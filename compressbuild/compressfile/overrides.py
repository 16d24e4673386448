"""``--set PATH=VALUE``: values of the file changed from the command line, before variables and matrices are expanded.

PATH is dotted; keys that hold dots themselves (technique names) are matched longest first, list items are numbers from
0. The last part may be new where its parent is a mapping of settings; names of variables, models, datasets, platforms,
targets and groups must exist. VALUE is one YAML scalar, or a list or mapping in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from ..errors import CompressfileError, Mark
from ..words import suggest
from .nodes import Broken, Map, Node, Scalar, Seq, describe
from .problems import Problems

__all__ = ["apply"]

_DECLARING = {
    "vars": "variable",
    "models": "model",
    "datasets": "dataset",
    "platforms": "platform",
    "targets": "target",
    "groups": "group",
}
_OPTIONAL = ("defaults", "evaluate")  # sections that a setting may bring into being


def apply(root: Node, overrides: Sequence[str], top_keys: Sequence[str], problems: Problems) -> Node:
    """``root`` with the overrides, in order, written into it. What is wrong with one is added to ``problems``."""
    for argument in overrides:
        override = _parse(argument, problems)
        if override is not None and isinstance(root, Map):
            changed = override.top(root, top_keys)
            root = root if changed is None else changed
    return root


def _parse(argument: str, problems: Problems) -> _Override | None:
    path, equals, text = argument.partition("=")
    file = f"--set {path}"
    again = 1
    while file in problems.texts:  # the same path once more
        again += 1
        file = f"--set {path} ({again})"
    problems.texts[file] = argument
    whole = Mark(file, 1, 1, max(len(path), 1))
    if not equals or not path or not all(path.split(".")):
        problems.add(f"'{argument}' is not PATH=VALUE", whole, "e.g. --set vars.ratio=0.3")
        return None
    value = _value(path, text, file, problems)
    return None if value is None else _Override(path, value, file, problems)


def _value(path: str, text: str, file: str, problems: Problems) -> Node | None:
    """VALUE as a node, with marks that point into the argument."""
    from .reader import read  # with YAML, which a remembered file does without

    mark = Mark(file, 1, len(path) + 2, max(len(text), 1))
    found = Problems({file: f"{path}={text}"})
    try:
        # Indented to where it stands in the argument, so that columns come out right.
        node = read(" " * (len(path) + 1) + text, file, found)
        found.check()
    except CompressfileError as error:
        for diagnostic in error.diagnostics:
            problems.add(diagnostic.message, diagnostic.mark, diagnostic.hint)
        return None
    if node is None or (isinstance(node, Scalar) and node.value is None and not text.strip()):
        problems.add("there is no value after '='", mark, "write null, or \"''\" for empty text")
        return None
    opens = text.lstrip()[:1]
    if not isinstance(node, Scalar) and opens not in ("[", "{"):
        problems.add("a value is one scalar, or a list or mapping in brackets", mark, "e.g. [a, b] or {key: value}")
        return None
    if node.mark.length != len(text.strip()):
        problems.add("part of the value would be lost (a comment?)", mark, f"quote it: '\"{text.strip()}\"'")
        return None
    return node


class _Override(msgspec.Struct, frozen=True):
    path: str
    value: Node
    file: str
    problems: Problems

    def top(self, root: Map, top_keys: Sequence[str]) -> Map | None:
        """The whole tree with the value in its place, or None after a complaint."""
        head, _, rest = self.path.partition(".")
        if head not in top_keys:
            self._complain(f"unknown key '{head}' in a Compressfile", 0, head, suggest(head, top_keys, "keys"))
            return None
        section = root.get(head)
        if not rest:
            return self._with(root, head, self.value, 0)
        if section is None and head in _OPTIONAL:
            section = Map((), self._mark(0, head))
        if head in _DECLARING:
            known = section if isinstance(section, Map) else Map((), self._mark(0, head))
            if _longest(known, rest) is None:
                self._undeclared(_DECLARING[head], known, rest, len(head) + 1)
                return None
        if section is None:
            self._complain(f"the file has no '{head}'", 0, head, f"set all of it: --set '{head}=…'")
            return None
        changed = self._into(section, rest, len(head) + 1)
        return None if changed is None else self._with(root, head, changed, 0)

    def _into(self, node: Node, rest: str, at: int) -> Node | None:
        """``node`` with the value written at ``rest``, which starts at offset ``at`` of the path."""
        if isinstance(node, Seq):
            return self._item(node, rest, at)
        node = _opened(node)
        if not isinstance(node, Map):
            if not isinstance(node, Broken):
                self._complain(f"'{self.path[: at - 1]}' is {describe(node)} and has no parts", at, rest, None)
            return None
        key = _longest(node, rest)
        if key is None:
            if "." in rest and _could_be_new(rest) is None:
                keys = [str(name.value) for name, _ in node.entries]
                word = rest.split(".")[0]
                self._complain(f"'{self.path[: at - 1]}' has no '{word}'", at, word, suggest(rest, keys, "it has"))
                return None
            return self._with(node, rest, self.value, at)
        inner = rest[len(key) + 1 :]
        if not inner:
            return self._with(node, key, self.value, at)
        old = node.get(key)
        changed = None if old is None else self._into(old, inner, at + len(key) + 1)
        return None if changed is None else self._with(node, key, changed, at)

    def _item(self, node: Seq, rest: str, at: int) -> Node | None:
        word, _, inner = rest.partition(".")
        count = len(node.items)
        if not re.fullmatch("[0-9]+", word) or int(word) >= count:
            numbers = f"its items are 0 to {count - 1}" if count else "it is empty"
            self._complain(f"'{self.path[: at - 1]}' is a list and has no item '{word}'", at, word, numbers)
            return None
        index = int(word)
        changed = self._into(node.items[index], inner, at + len(word) + 1) if inner else self.value
        if changed is None:
            return None
        return Seq((*node.items[:index], changed, *node.items[index + 1 :]), node.mark)

    def _with(self, node: Map, key: str, value: Node, at: int) -> Map:
        """``node`` with ``key`` set, in its old place or last."""
        if node.get(key) is None:
            return Map((*node.entries, (Scalar(key, self._mark(at, key)), value)), node.mark)
        return Map(tuple((name, value if name.value == key else old) for name, old in node.entries), node.mark)

    def _undeclared(self, what: str, known: Map, rest: str, at: int) -> None:
        names = [str(name.value) for name, _ in known.entries]
        word = rest.split(".")[0]
        template = next((name for name in names if _made_from(name, rest)), None)
        if template is not None:
            hint: str | None = f"it comes from the matrix of '{template}': set that, in single quotes for the shell"
        else:
            hint = suggest(word, names, f"{what}s") or f"the file declares no {what}"
        said = f"unknown variable 'vars.{word}'" if what == "variable" else f"unknown {what} '{word}'"
        self._complain(said, at, word, hint)

    def _mark(self, at: int, word: str) -> Mark:
        return Mark(self.file, 1, at + 1, max(len(word), 1))

    def _complain(self, message: str, at: int, word: str, hint: str | None) -> None:
        self.problems.add(message, self._mark(at, word), hint)


def _longest(node: Map, rest: str) -> str | None:
    """The longest key of ``node`` that ``rest`` starts with."""
    fitting = [key for key in (str(name.value) for name, _ in node.entries) if f"{rest}.".startswith(f"{key}.")]
    return max(fitting, key=len, default=None)


def _opened(node: Node) -> Node:
    """A bare technique or metric name, or an empty value, as the mapping it abbreviates."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return Map(((node, Map((), node.mark)),), node.mark)
    if isinstance(node, Scalar) and node.value is None and not isinstance(node, Broken):
        return Map((), node.mark)
    return node


def _could_be_new(rest: str) -> str | None:
    return None if "." in rest else rest


def _made_from(template: str, rest: str) -> bool:
    """Whether a name like ``sweep-${precision}`` can expand to the beginning of ``rest``."""
    if "${" not in template:
        return False
    pattern = "".join(
        "[^.]+" if part.startswith("${") else re.escape(part) for part in re.split(r"(\$\{[^}]*\})", template)
    )
    return re.match(f"{pattern}(?:\\.|$)", rest) is not None
