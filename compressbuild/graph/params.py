"""From the parameters a Compressfile writes to typed values, with every reference found on the way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import replace

from ..api import Label, Needs, Params
from ..compressfile.nodes import Map, Node, Seq, plain
from ..errors import Diagnostic, Mark
from ..words import suggest

__all__ = ["NO_PLATFORM", "Resolved", "Settling", "complete", "handed", "resolve", "type_name"]

_PATH = re.compile(r"^(?P<text>.*?)(?: - at `(?P<path>\$[^`]*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


class Settling(msgspec.Struct, frozen=True):
    """What the platform that a target is for says to the question that a parameter left at ``auto`` asks; None: it does
    not know. ``backend``: its name."""

    answer: Callable[[str], Any]
    backend: str | None = None


NO_PLATFORM = Settling(lambda question: None)


class Auto(msgspec.Struct, frozen=True):
    """Of a parameter that may be ``auto``: what settles it (:func:`.platforms.automatic`). ``when``: for each answer
    the value, if that is not the answer itself. ``known``: the names that it may be (empty: any)."""

    question: str
    fallback: Any = None
    when: Mapping[Any, Any] | None = None
    known: tuple[str, ...] = ()

    def value(self, answer: Any) -> Any:
        found = self.fallback if answer is None else answer
        return found if self.when is None else self.when[found]


class Reference(msgspec.Struct, frozen=True):
    """``ref``: what ``value`` names (``dataset``, ``model`` …). ``path``: of the parameter that holds it; ``mark``:
    where that is written, if it is."""

    ref: str
    path: tuple[str | int, ...]
    value: str
    mark: Mark | None = None

    @property
    def name(self) -> str:
        return ".".join(map(str, self.path))


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
    """The ``extra`` of every annotation of a field itself, through unions."""
    if isinstance(info, msgspec.inspect.Metadata):
        if info.extra:
            yield info.extra
        yield from _extras(info.type)
    elif isinstance(info, msgspec.inspect.UnionType):
        for option in info.types:
            yield from _extras(option)


@cache
def _fields(kind: type[Params]) -> dict[str, Auto | None]:
    """Parameter → how ``auto`` is settled, if it may be that."""
    found: dict[str, Auto | None] = {}
    for item in _type(kind).fields:
        extra = {key: value for part in _extras(item.type) for key, value in part.items()}
        found[item.encode_name] = None
        if "auto" in extra:
            auto = Auto(extra["auto"], extra.get("fallback"), extra.get("when"), extra.get("known", ()))
            found[item.encode_name] = auto
    return found


@cache
def _type(kind: type[Params]) -> msgspec.inspect.StructType:
    found = msgspec.inspect.type_info(kind)
    assert isinstance(found, msgspec.inspect.StructType)
    return found


def _references(
    info: Any, value: Any, path: tuple[str | int, ...] = (), at: tuple[str | int, ...] = (), ref: str | None = None
) -> Iterator[Reference]:
    """What a value of this type names. ``at``: where it is; ``path``: the field of a record that it belongs to."""
    match info:
        case msgspec.inspect.Metadata():
            yield from _references(info.type, value, path, at, (info.extra or {}).get("ref", ref))
        case msgspec.inspect.UnionType():
            for option in info.types:
                yield from _references(option, value, path, at, ref)
        case msgspec.inspect.StructType() if isinstance(value, dict):
            for item in info.fields:
                below = (*at, item.encode_name)
                yield from _references(item.type, value.get(item.encode_name), below, below)
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType() | msgspec.inspect.SetType() if isinstance(
            value, list
        ):
            for number, each in enumerate(value):
                yield from _references(info.item_type, each, path, (*at, number), ref)
        case msgspec.inspect.DictType() if isinstance(value, dict):
            for key, each in value.items():
                yield from _references(info.value_type, each, path, (*at, key), ref)
        case _ if ref is not None and isinstance(value, str):
            yield Reference(ref, path, value)


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
) -> Resolved | None:
    """Type-check what is written against ``kind``; on trouble add located diagnostics and return None.

    ``owner``: what the parameters belong to, for messages (``technique 'distill'``). ``settle``: of parameters left at
    ``auto``.
    """
    fields = _fields(kind)
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
        typed = msgspec.convert(raw, kind)
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
    values = _builtins(typed)
    refs = (replace(ref, mark=_locate(written, ref.path, mark)) for ref in _references(_type(kind), values))
    return Resolved(values, tuple(refs), typed.needs(), typed.measured_as())


def _unknown(owner: str, name: str, value: str, known: Sequence[str], asking: str | None, mark: Mark) -> Diagnostic:
    """A parameter's value, written or asked for by a backend, that is none of the names it knows."""
    listed = f"it knows {', '.join(known)}"
    if asking is not None:
        message = f"{owner} does not know the {name} '{value}', which backend '{asking}' asks for"
        return Diagnostic(message, mark, f"{listed}; use a technique that is made for '{asking}'")
    message = f"{owner}, parameter '{name}': unknown {name} '{value}'"
    return Diagnostic(message, mark, suggest(value, known, otherwise=listed))


def handed(kind: type[Params], values: Mapping[str, Any]) -> Resolved:
    """Those of ``values`` that are parameters of ``kind`` too, completed."""
    fields = _fields(kind)
    whole = complete(kind, {name: value for name, value in values.items() if name in fields})
    return Resolved(whole, tuple(_references(_type(kind), whole)))
