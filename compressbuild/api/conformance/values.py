"""Parameters: what the key sees of them, other valid values, and numbers without a range."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect as types

from ...digest import digest_value
from ...graph.params import handed
from ..params import Params

__all__ = ["fields", "key", "other_values", "unbounded", "written"]

_NUMBERS = (types.IntType, types.FloatType)


def fields(kind: type[Params]) -> tuple[types.Field, ...]:
    found = types.type_info(kind)
    assert isinstance(found, types.StructType)
    return found.fields


def written(values: Mapping[str, Any] | Params) -> dict[str, Any]:
    """As a Compressfile writes them."""
    if isinstance(values, Params):
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(values))
        return found
    return dict(values)


def key(kind: type[Params], values: Mapping[str, Any]) -> str:
    """The digest of the values' part of the action key, with what references name."""
    found = handed(kind, values)
    return digest_value({"parameters": found.key(), "named": [[ref.name, ref.value] for ref in found.refs]})


def unbounded(kind: type[Params]) -> list[str]:
    """Numbers that any value is good for."""
    return [
        field.encode_name
        for field in fields(kind)
        if any(
            isinstance(each, _NUMBERS) and each.ge is each.gt is each.le is each.lt is None
            for each in _options(field.type)
        )
    ]


def other_values(field: types.Field, now: Any) -> Iterator[Any]:
    """Values of a field's type that may be valid and are not ``now``; none for what cannot be guessed."""
    for option in _options(field.type):
        match option:
            case types.NoneType():
                guesses: list[Any] = [None]
            case types.BoolType():
                guesses = [True, False]
            case types.IntType():
                guesses = _between(option, 1)
            case types.FloatType():
                guesses = [float(each) for each in _between(option, 0.0625)]
            case types.LiteralType():
                guesses = list(option.values)
            case types.EnumType():
                guesses = [each.value for each in option.cls]
            case types.StrType():
                guesses = [*_alternatives(option.pattern or ""), "other", "other:thing"]
            case types.ListType() | types.VarTupleType() | types.SetType():
                guesses = [[each] for each in _of(option.item_type)]
            case types.StructType():
                guesses = [{each.encode_name: one} for each in option.fields for one in other_values(each, None)]
            case types.DictType():
                guesses = [{"other": each} for each in _of(option.value_type)]
            case _:
                guesses = []
        yield from (guess for guess in guesses if guess != now)


def _alternatives(pattern: str) -> list[str]:
    """The words of ``^(one|two)$``."""
    found = re.fullmatch(r"\^\((?:\?:)?([\w|-]+)\)\$", pattern)
    return found[1].split("|") if found else []


def _of(info: types.Type) -> list[Any]:
    return list(other_values(types.Field("each", "each", info), None))


def _between(option: types.IntType | types.FloatType, step: float) -> list[Any]:
    low = option.ge if option.ge is not None else option.gt
    high = option.le if option.le is not None else option.lt
    if low is not None and high is not None:
        middle = [(low + high) / 2, low, high, low + step, high - step]
    else:
        start = low if low is not None else (high or 0) - 8 * step
        middle = [start + step * factor for factor in (1, 2, 4, 0)]
    return [round(each) for each in middle] if isinstance(option, types.IntType) else middle


def _options(info: types.Type) -> Iterator[types.Type]:
    if isinstance(info, types.Metadata):
        yield from _options(info.type)
    elif isinstance(info, types.UnionType):
        for each in info.types:
            yield from _options(each)
    else:
        yield info
