"""Typed reading of nodes. Each check gives the value, or None after adding one located complaint."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import Mark
from ..words import DURATION, SIZE, Quantity, did_you_mean, suggest
from .names import MAX_NAME, NAME
from .nodes import Broken, Map, Node, Scalar, Seq, describe
from .problems import Hint, Problems
from .spec import RETRIED, RetrySpec, RunOptions

__all__ = ["OPTIONS", "Checks", "Reference"]

OPTIONS = ("timeout", "memory", "threads", "seed", "gpus", "retries")
"""Keys that say how a node is run; allowed in ``defaults``, in ``evaluate``, beside a technique and in a target."""

_MOST_GPUS, _MOST_RETRIES = 64, 10
_ENTRY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


class Reference:
    """A name to be looked up once everything is declared. ``kinds``: in which sections."""

    __slots__ = ("kinds", "mark", "name")

    def __init__(self, name: str, mark: Mark, kinds: tuple[str, ...]) -> None:
        self.name, self.mark, self.kinds = name, mark, kinds


class Checks:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self.references: list[Reference] = []

    def add(self, message: str, mark: Mark | None = None, hint: Hint = None) -> None:
        self._problems.add(message, mark, hint)

    def wrong(self, node: Node, what: str, expected: str, hint: Hint = None) -> None:
        """``what`` must be ``expected``; silent where the value was refused before."""
        if not isinstance(node, Broken):
            self._problems.add(f"{what} must be {expected}, not {describe(node)}", node.mark, hint)

    def mapping(self, node: Node, what: str, keys: Sequence[str] | None = None, hint: Hint = None) -> Map | None:
        """A mapping (nothing counts as an empty one), with no keys beside ``keys`` if those are given."""
        if isinstance(node, Scalar) and node.value is None:
            return None if isinstance(node, Broken) else Map((), node.mark)
        if not isinstance(node, Map):
            self.wrong(node, what, "a mapping", hint)
            return None
        if keys is not None:
            for key, _ in node.entries:
                if key.value not in keys:
                    self.unknown_key(key, keys, what)
        return node

    def unknown_key(self, key: Scalar, keys: Sequence[str], where: str) -> None:
        word = str(key.value)
        self._problems.add(f"unknown key '{word}' in {where}", key.mark, lambda: suggest(word, keys, "keys here"))

    def missing(self, found: Map, key: str, keys: Sequence[str], message: str, mark: Mark, hint: Hint = None) -> None:
        """``found`` lacks ``key``: no word of it where a misspelt one was already reported."""
        written = (str(name.value) for name, _ in found.entries)
        if not any(word not in keys and did_you_mean(word, keys) == key for word in written):
            self._problems.add(message, mark, hint)

    def text(self, node: Node, what: str, expected: str = "text", hint: Hint = None) -> str | None:
        if isinstance(node, Scalar) and isinstance(node.value, str):
            if node.value:
                return node.value
            self._problems.add(f"{what} is empty", node.mark, hint)
            return None
        if isinstance(node, Scalar) and hint is None and expected == "text" and isinstance(node.value, int | float):
            hint = f'quote it: "{node.value}"'
        self.wrong(node, what, expected, hint)
        return None

    def name(self, key: Scalar, what: str) -> str | None:
        """A name that something is declared under."""
        word = str(key.value)
        if isinstance(key, Broken):
            return None
        if not NAME.fullmatch(word):
            self._problems.add(
                f"'{word}' cannot name a {what}",
                key.mark,
                "use letters, digits, '-', '_' and '.', a letter or digit first",
            )
            return None
        if len(word) > MAX_NAME:
            self._problems.add(f"the name of a {what} has {len(word)} characters; at most {MAX_NAME} fit", key.mark)
            return None
        return word

    def entry(self, node: Node, what: str) -> str | None:
        """``module:function``, neither imported nor looked up here."""
        hint = "write module:function, e.g. package.module:build"
        value = self.text(node, what, "module:function", hint)
        if value is None or _ENTRY.fullmatch(value):
            return value
        self._problems.add(f"{what} must be module:function, not '{value}'", node.mark, hint)
        return None

    def number(self, node: Node, what: str, least: float | None = None, above: float | None = None) -> float | None:
        if not isinstance(node, Scalar) or isinstance(node.value, bool) or not isinstance(node.value, int | float):
            quoted = isinstance(node, Scalar) and node.quoted and _looks_numeric(node.value)
            self.wrong(node, what, "a number", "remove the quotes" if quoted else None)
            return None
        if (least is not None and node.value < least) or (above is not None and node.value <= above):
            bound = f"at least {least:g}" if least is not None else f"greater than {above:g}"
            self._problems.add(f"{what} must be {bound}, not {node.value}", node.mark)
            return None
        return float(node.value)

    def integer(self, node: Node, what: str, least: int, most: int = 2**31 - 1) -> int | None:
        if not isinstance(node, Scalar) or isinstance(node.value, bool) or not isinstance(node.value, int):
            self.wrong(node, what, "a whole number")
            return None
        if not least <= node.value <= most:
            bound = f"at least {least}" if node.value < least else f"at most {most}"
            self._problems.add(f"{what} must be {bound}, not {node.value}", node.mark)
            return None
        return node.value

    def choice(self, node: Node, what: str, words: Sequence[str]) -> str | None:
        value = self.text(node, what, " or ".join(words))
        if value is None or value in words:
            return value
        hint = suggest(value, words, otherwise="") or None
        self._problems.add(f"{what} must be {' or '.join(words)}, not '{value}'", node.mark, hint)
        return None

    def items(self, node: Node, what: str) -> tuple[Node, ...]:
        """A list's items (nothing counts as an empty list)."""
        if isinstance(node, Seq):
            return node.items
        if not isinstance(node, Scalar) or node.value is not None:
            hint = f"write [{node.value}]" if isinstance(node, Scalar) and isinstance(node.value, str) else None
            self.wrong(node, what, "a list", hint)
        return ()

    def texts(self, node: Node, what: str) -> list[tuple[str, Mark]]:
        """A list of text."""
        found = ((self.text(item, f"an item of {what}"), item.mark) for item in self.items(node, what))
        return [(text, mark) for text, mark in found if text is not None]

    def quantity(self, node: Node, what: str, kind: Quantity) -> float | None:
        value = node.value if isinstance(node, Scalar) else None
        found = kind.parse(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
        if found is None:
            self.wrong(node, what, kind.expected)
        return found

    def options(self, found: Map) -> RunOptions:
        """The run options among a mapping's entries."""
        timeout = memory = None
        threads = seed = gpus = retries = None
        for key, value in found.entries:
            if key.value == "timeout":
                timeout = self.quantity(value, "'timeout'", DURATION)
            elif key.value == "memory":
                memory = self.quantity(value, "'memory'", SIZE)
            elif key.value == "threads":
                threads = self.integer(value, "'threads'", 1)
            elif key.value == "seed":
                seed = self.integer(value, "'seed'", 0, 2**32 - 1)
            elif key.value == "gpus":
                gpus = self.integer(value, "'gpus'", 1, _MOST_GPUS)
            elif key.value == "retries":
                retries = self._retries(value)
        return RunOptions(timeout, None if memory is None else int(memory), threads, seed, gpus, retries)

    def _retries(self, node: Node) -> RetrySpec | None:
        hint = "write {unavailable: 2, memory: 1}"
        found = self.mapping(node, "'retries'", RETRIED, hint)
        counts: dict[str, int] = {}
        for key, value in found.entries if found is not None else ():
            count = self.integer(value, f"'{key.value}' of 'retries'", 0, _MOST_RETRIES)
            counts |= {str(key.value): count} if count is not None and key.value in RETRIED else {}
        return RetrySpec(**counts)

    def reference(self, node: Node, what: str, *kinds: str) -> str | None:
        """A name declared elsewhere in the file; looked up when the whole file is read."""
        name = self.text(node, what, f"the name of a {' or '.join(kinds)}")
        if name is not None:
            self.references.append(Reference(name, node.mark, kinds))
        return name


def _looks_numeric(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True
