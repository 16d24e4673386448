"""What the types of parameters make of plain values, remembered for as long as every plugin stays as it is.

Resolving a type's annotations, walking them and converting values is a third of the time of a graph, and gives the same
each time. What may depend on more than the values is not remembered: types that check or choose by code of their own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from ..api import Label, Needs, Params
from ..digest import CLOCK_GRANULARITY_NS, load_sealed, save_sealed
from ..errors import Mark
from ..noop import ABSENT, signature

__all__ = ["Auto", "Reference", "Typed", "Types", "complete", "run_needs", "type_name"]

_MAGIC = b"compressbuild-typed-1"
_STARTED = time.time_ns()
_ROOM = 4096  # entries, beyond which those that this command did not use go


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


class Typed(msgspec.Struct, frozen=True):
    """``values``: JSON values only, so that what is written to disk compares equal with what is read back."""

    values: dict[str, Any]
    refs: tuple[Reference, ...] = ()
    needs: Needs = Needs()
    label: Label | None = None


Fields = dict[str, Auto | None]
"""Parameter → how ``auto`` is settled, if it may be that."""


class _Kept(msgspec.Struct):
    """``maker``: of the plugins, and of the code that made this. ``typed``: for a type and values, packed: the
    converted values as JSON, and their references."""

    maker: list[Any]
    fields: dict[str, Fields] = {}
    typed: dict[bytes, tuple[bytes, tuple[Reference, ...]]] = {}


class Types:
    """``memo``: a file in which to remember. ``stamp``: of the registry that the types come from (``Registry.stamp``);
    empty: nothing is remembered."""

    def __init__(self, memo: Path | None = None, stamp: str = "") -> None:
        maker = [stamp, sys.version, msgspec.__version__, *signature(__file__)]
        self._memo = memo if stamp else None
        known = load_sealed(self._memo, _MAGIC, _Kept) if self._memo is not None else None
        self._kept = known if known is not None and known.maker == maker else _Kept(maker)
        self._used: set[bytes] = set()
        self._dirty = False

    def fields(self, kind: type[Params]) -> Fields:
        name = type_name(kind)
        found = self._kept.fields.get(name) if self._memo is not None else None
        if found is None:
            found = _fields(kind)
            if self._memo is not None and _survives(found, Fields):
                self._kept.fields[name] = found
                self._dirty = True
        return found

    def typed(self, kind: type[Params], raw: Mapping[str, Any]) -> Typed:
        """``raw`` as a value of ``kind``, with the defaults. Raises msgspec.ValidationError."""
        if self._memo is None or not _by_values_alone(kind):
            return _typed(kind, raw)[1]
        packed = msgspec.msgpack.encode([type_name(kind), raw])  # 1, 1.0 and true differ in it
        self._used.add(packed)
        kept = self._kept.typed.get(packed)
        if kept is not None:
            return Typed(msgspec.json.decode(kept[0]), kept[1])
        params, found = _typed(kind, raw)
        if _checked_by_type_alone(params):
            self._kept.typed[packed] = (msgspec.json.encode(found.values), found.refs)
            self._dirty = True
        return found

    def save(self) -> OSError | None:
        """Write what is new; what prevented it."""
        own = self._kept.maker[-4:]
        if self._memo is None or not self._dirty or own[0] == ABSENT or max(own[0], own[3]) > _YOUNG:
            return None
        if len(self._kept.typed) > _ROOM:
            self._kept.typed = {key: value for key, value in self._kept.typed.items() if key in self._used}
        error = save_sealed(self._memo, _MAGIC, self._kept)
        self._dirty = error is not None
        return error


_YOUNG = _STARTED - CLOCK_GRANULARITY_NS  # this file, if it was written later, may not be the code that runs


def type_name(kind: type[Params]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def complete(kind: type[Params], values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with the defaults of ``kind`` filled in."""
    return _builtins(msgspec.convert(dict(values), kind))


def run_needs(kind: type[Params], values: Mapping[str, Any]) -> Needs:
    """What settings that were checked before take of a host to run."""
    return Needs() if kind.run_needs is Params.run_needs else msgspec.convert(dict(values), kind).run_needs()


def _typed(kind: type[Params], raw: Mapping[str, Any]) -> tuple[Params, Typed]:
    params = msgspec.convert(dict(raw), kind)
    values = _builtins(params)
    return params, Typed(values, tuple(_references(_type(kind), values)), params.needs(), params.measured_as())


def _builtins(params: Params) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(params))
    return found


# -- what can be remembered ------------------------------------------------------------------------------------------


def _by_values_alone(kind: type[Params]) -> bool:
    return kind.needs is Params.needs and kind.measured_as is Params.measured_as and not hasattr(kind, "__post_init__")


def _checked_by_type_alone(value: Any) -> bool:
    """Whether no code but that of types and defaults had a say, in a value and all that it holds."""
    match value:
        case msgspec.Struct():
            defaults = (getattr(default, "factory", list) for default in value.__struct_defaults__)
            return (
                not hasattr(value, "__post_init__")
                and all(isinstance(factory, type) for factory in defaults)
                and all(_checked_by_type_alone(getattr(value, name)) for name in value.__struct_fields__)
            )
        case dict():
            return all(_checked_by_type_alone(each) for pair in value.items() for each in pair)
        case list() | tuple() | set() | frozenset():
            return all(map(_checked_by_type_alone, value))
    return isinstance(value, str | int | float | bytes | None)


def _survives(value: Any, kind: Any) -> bool:
    try:
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=kind)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
        return False
    return repr(again) == repr(value)


# -- walking a type --------------------------------------------------------------------------------------------------


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
def _fields(kind: type[Params]) -> Fields:
    found: Fields = {}
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
