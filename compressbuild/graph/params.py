"""From the parameters a Compressfile writes to typed values, with every reference found on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec

from ..api import Backend, Params
from ..compressfile.nodes import Map, Node, Seq, plain
from ..errors import Diagnostic, Mark
from ..suggest import did_you_mean

__all__ = ["Resolved", "complete", "handed", "resolve", "type_name"]

_PATH = re.compile(r"^(?P<text>.*?)(?: - at `(?P<path>\$[^`]*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter: ``ref`` is what its value names; ``auto`` the backend attribute that replaces ``auto``."""

    name: str
    ref: str | None
    auto: str | None
    fallback: Any


@dataclass(frozen=True, slots=True)
class Resolved:
    """``values``: every parameter after defaults. The rest: what they refer to, as (parameter, value) pairs."""

    values: Mapping[str, Any]
    refs: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    def of(self, ref: str) -> tuple[tuple[str, str], ...]:
        return self.refs.get(ref, ())


def type_name(kind: type[Params]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def complete(kind: type[Params], values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with the defaults of ``kind`` filled in."""
    return _builtins(msgspec.convert(dict(values), kind))


def _builtins(params: Params) -> dict[str, Any]:
    """JSON values only, so that what is written to disk compares equal with what is read back."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(params))
    return found


def _extras(info: Any) -> Iterator[Mapping[str, Any]]:
    """The ``extra`` of every annotation in a field's type, through unions and collections."""
    if isinstance(info, msgspec.inspect.Metadata):
        if info.extra:
            yield info.extra
        yield from _extras(info.type)
    elif isinstance(info, msgspec.inspect.UnionType):
        for option in info.types:
            yield from _extras(option)
    elif isinstance(info, msgspec.inspect.ListType | msgspec.inspect.VarTupleType | msgspec.inspect.SetType):
        yield from _extras(info.item_type)
    elif isinstance(info, msgspec.inspect.DictType):
        yield from _extras(info.value_type)


@cache
def _fields(kind: type[Params]) -> dict[str, Field]:
    found = {}
    for item in msgspec.inspect.type_info(kind).fields:  # type: ignore[attr-defined]
        extra: dict[str, Any] = {}
        for part in _extras(item.type):
            extra.update(part)
        found[item.encode_name] = Field(item.encode_name, extra.get("ref"), extra.get("auto"), extra.get("fallback"))
    return found


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)


def _locate(node: Node | None, path: str, fallback: Mark) -> Mark:
    """The mark of ``$.a.b[0]`` below a node, as far as it exists there."""
    mark = fallback
    for key, index in _STEP.findall(path):
        if isinstance(node, Map):
            child = node.get(key)
        elif isinstance(node, Seq) and index and int(index) < len(node.items):
            child = node.items[int(index)]
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
    backend: Backend | None,
    problems: list[Diagnostic],
) -> Resolved | None:
    """Type-check what is written against ``kind``; on trouble add located diagnostics and return None.

    ``owner``: what the parameters belong to, for messages (``technique 'distill'``). ``backend``: of the platform the
    target is for, which settles parameters left at ``auto``.
    """
    fields = _fields(kind)
    bad = False
    for key, _ in written.entries if written is not None else ():
        if key.value not in fields:
            bad = True
            guess = did_you_mean(str(key.value), fields)
            known = ", ".join(fields) or "none"
            hint = f"did you mean '{guess}'?" if guess else f"its parameters: {known}"
            problems.append(Diagnostic(f"{owner} has no parameter '{key.value}'", key.mark, hint))
    if bad:
        return None
    raw = plain(written) if written is not None else {}
    for name, item in fields.items():
        if item.auto is not None and raw.get(name, "auto") == "auto":
            raw[name] = getattr(backend, item.auto) if backend is not None else item.fallback
    try:
        typed = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        found = _PATH.match(str(error))
        text = str(found["text"]) if found else str(error)
        path = str(found["path"] or "$") if found else "$"
        message = _mend(text)
        where = path.removeprefix("$.")
        located = f"{owner}: {message}" if path == "$" else f"{owner}, parameter '{where}': {message}"
        problems.append(Diagnostic(located, _locate(written, path, mark)))
        return None
    return _referring(kind, _builtins(typed))


def handed(kind: type[Params], values: Mapping[str, Any]) -> Resolved:
    """Those of ``values`` that are parameters of ``kind`` too, completed."""
    fields = _fields(kind)
    return _referring(kind, complete(kind, {name: value for name, value in values.items() if name in fields}))


def _referring(kind: type[Params], values: Mapping[str, Any]) -> Resolved:
    refs: dict[str, list[tuple[str, str]]] = {}
    for name, item in _fields(kind).items():
        if item.ref is not None:
            for value in _strings(values[name]):
                refs.setdefault(item.ref, []).append((name, value))
    return Resolved(values, {ref: tuple(pairs) for ref, pairs in refs.items()})
