"""From the parameters a Compressfile writes to typed values, with every reference found on the way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import msgspec
from msgspec.structs import replace

from ..api import Label, Needs, Params
from ..compressfile.nodes import Map, Node, Seq, plain
from ..errors import Diagnostic, Mark
from ..words import suggest
from .typed import Reference, Types

__all__ = ["NO_PLATFORM", "Resolved", "Settling", "handed", "resolve"]

_PATH = re.compile(r"^(?P<text>.*?)(?: - at `(?P<path>\$[^`]*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


class Settling(msgspec.Struct, frozen=True):
    """What the platform that a target is for says to the question that a parameter left at ``auto`` asks; None: it does
    not know. ``backend``: its name."""

    answer: Callable[[str], Any]
    backend: str | None = None


NO_PLATFORM = Settling(lambda question: None)


class Resolved(msgspec.Struct, frozen=True):
    """``values``: every parameter after defaults. ``refs``: what they refer to. ``needs``: of the host. ``label``: what
    a metric's result is called."""

    values: Mapping[str, Any]
    refs: tuple[Reference, ...] = ()
    needs: Needs = Needs()
    label: Label | None = None

    def of(self, ref: str) -> tuple[Reference, ...]:
        return tuple(found for found in self.refs if found.ref == ref)

    def named(self, ref: str) -> tuple[str, ...]:
        """What is named, each once."""
        return tuple(dict.fromkeys(found.value for found in self.of(ref)))

    def key(self) -> dict[str, Any]:
        """``values`` as the key sees them: what data or a model is called does not matter, only what it stands for."""
        paths = {found.path for found in self.refs if found.ref in ("dataset", "model")}
        kept: dict[str, Any] = deepcopy(dict(self.values)) if paths else dict(self.values)
        for path in paths:
            holder: Any = kept
            for key in path[:-1]:
                holder = holder[key]
            del holder[path[-1]]
        return kept


def _locate(node: Node | None, path: Iterable[str | int], fallback: Mark) -> Mark:
    """The mark of what this path leads to below a node, as far as it exists there."""
    mark = fallback
    for step in path:
        if isinstance(node, Map):
            child = node.get(str(step))
        elif isinstance(node, Seq) and isinstance(step, int) and step < len(node.items):
            child = node.items[step]
        else:
            break
        if child is None:
            break
        node, mark = child, child.mark
    return mark


def _mend(text: str) -> str:
    """msgspec's sentence in the words of the Compressfile."""
    missing = re.match(r"Object missing required field `(.+)`", text)
    if missing:
        return f"parameter '{missing[1]}' is required"
    return (text[0].lower() + text[1:]).replace("`", "'")


def resolve(
    kind: type[Params],
    written: Map | None,
    *,
    owner: str,
    mark: Mark,
    settle: Settling,
    problems: list[Diagnostic],
    types: Types,
) -> Resolved | None:
    """Type-check what is written against ``kind``; on trouble add located diagnostics and return None.

    ``owner``: what the parameters belong to, for messages (``technique 'distill'``). ``settle``: of parameters left at
    ``auto``.
    """
    fields = types.fields(kind)
    bad = False
    for key, _ in written.entries if written is not None else ():
        if key.value not in fields:
            bad = True
            hint = suggest(str(key.value), fields, otherwise=f"its parameters: {', '.join(fields) or 'none'}")
            problems.append(Diagnostic(f"{owner} has no parameter '{key.value}'", key.mark, hint))
    if bad:
        return None
    raw = plain(written) if written is not None else {}
    for name, item in fields.items():
        if item is None:
            continue
        automatic = raw.get(name, "auto") == "auto"
        if automatic:
            raw[name] = item.value(settle.answer(item.question))
        if item.known and isinstance(raw[name], str) and raw[name] not in item.known:
            asking = settle.backend if automatic else None
            problems.append(_unknown(owner, name, raw[name], item.known, asking, _locate(written, [name], mark)))
            return None
    try:
        typed = types.typed(kind, raw)
    except msgspec.ValidationError as error:
        found = _PATH.match(str(error))
        text = str(found["text"]) if found else str(error)
        path = str(found["path"] or "$") if found else "$"
        message = _mend(text)
        where = path.removeprefix("$.")
        located = f"{owner}: {message}" if path == "$" else f"{owner}, parameter '{where}': {message}"
        steps = [int(index) if index else key for key, index in _STEP.findall(path)]
        problems.append(Diagnostic(located, _locate(written, steps, mark)))
        return None
    refs = tuple(replace(ref, mark=_locate(written, ref.path, mark)) for ref in typed.refs)
    return Resolved(typed.values, refs, typed.needs, typed.label)


def _unknown(owner: str, name: str, value: str, known: Sequence[str], asking: str | None, mark: Mark) -> Diagnostic:
    """A parameter's value, written or asked for by a backend, that is none of the names it knows."""
    listed = f"it knows {', '.join(known)}"
    if asking is not None:
        message = f"{owner} does not know the {name} '{value}', which backend '{asking}' asks for"
        return Diagnostic(message, mark, f"{listed}; use a technique that is made for '{asking}'")
    message = f"{owner}, parameter '{name}': unknown {name} '{value}'"
    return Diagnostic(message, mark, suggest(value, known, otherwise=listed))


def handed(kind: type[Params], values: Mapping[str, Any], types: Types | None = None) -> Resolved:
    """Those of ``values`` that are parameters of ``kind`` too, completed."""
    types = types or Types()
    fields = types.fields(kind)
    found = types.typed(kind, {name: value for name, value in values.items() if name in fields})
    return Resolved(found.values, found.refs)
