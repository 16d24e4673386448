"""The parameters of a struct in words: name, type, default, description. For ``cbuild help`` and the pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import inspect

from ..api import Params

__all__ = ["Parameter", "parameters"]

_NAMES: dict[type, str] = {
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.StrType: "text",
    inspect.BoolType: "true or false",
    inspect.AnyType: "anything",
    inspect.NoneType: "null",
}
_PLAIN = re.compile(r"[A-Za-z][\w./-]*")  # text that YAML need not quote
_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


class Parameter(msgspec.Struct, frozen=True):
    """One field as a Compressfile writes it. ``choices``: the values allowed, where they are listed. ``default``: None
    if it is required, empty if there is none. ``fields``: those of a struct, if it is one."""

    name: str
    type: str
    choices: tuple[str, ...]
    default: str | None
    description: str
    fields: tuple[Parameter, ...] = ()


def parameters(kind: type[Params]) -> tuple[Parameter, ...]:
    """The fields of ``kind``: the required first, then its own, then those of its bases."""
    found = inspect.type_info(kind)
    assert isinstance(found, inspect.StructType)
    written = {field.name: field.type for field in msgspec.structs.fields(kind)}
    own = vars(kind).get("__annotations__", {})
    fields = sorted(found.fields, key=lambda field: (not field.required, field.name not in own))
    return tuple(_parameter(field, tuple(_literals(written[field.name]))) for field in fields)


def _literals(written: Any) -> Iterator[Any]:
    """The values of every Literal in a type, in the order in which they are written."""
    if get_origin(written) is Literal:
        yield from get_args(written)
    elif get_origin(written) is Annotated:
        yield from _literals(get_args(written)[0])
    else:
        for part in get_args(written):
            yield from _literals(part)


def _parameter(field: inspect.Field, order: tuple[Any, ...]) -> Parameter:
    kind = field.type
    extra = kind.extra_json_schema if isinstance(kind, inspect.Metadata) else None
    value = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    inner = _bare(kind)
    struct = isinstance(inner, inspect.StructType)
    return Parameter(
        field.encode_name,
        _words(kind, order, optional=value is None),
        tuple(map(str, sorted(inner.values, key=order.index))) if isinstance(inner, inspect.LiteralType) else (),
        None if field.required else "as below" if struct else _default(value),
        str((extra or {}).get("description", "")),
        parameters(inner.cls) if struct else (),
    )


def _bare(kind: Any) -> Any:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind


def _words(kind: Any, order: tuple[Any, ...], *, optional: bool = False) -> str:
    """``order``: of the values of literals. ``optional``: null is the default, which says enough."""
    match kind:
        case inspect.Metadata():
            reference = (kind.extra or {}).get("ref")
            return str(reference) if reference else _words(kind.type, order, optional=optional)
        case inspect.UnionType():
            options = [each for each in kind.types if not (optional and isinstance(each, inspect.NoneType))]
            return " or ".join(_words(each, order) for each in options)
        case inspect.LiteralType():
            return " | ".join(map(str, sorted(kind.values, key=order.index)))
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType():
            return f"list of {_item(kind.item_type, order)}"
        case inspect.TupleType():
            return f"[{', '.join(_words(each, order) for each in kind.item_types)}]"
        case inspect.DictType():
            return f"mapping: {_words(kind.key_type, order)} → {_item(kind.value_type, order)}"
        case inspect.StructType():
            return f"{{{', '.join(field.encode_name for field in kind.fields)}}}"
        case _:
            return f"{_NAMES.get(type(kind), 'value')}{_range(kind)}"


def _item(kind: Any, order: tuple[Any, ...]) -> str:
    said = _words(kind, order)
    return f"({said})" if isinstance(_bare(kind), inspect.UnionType) else said


def _range(kind: Any) -> str:
    limits = [f"{sign} {_number(limit)}" for name, sign in _BOUNDS if (limit := getattr(kind, name, None)) is not None]
    return f" {' and '.join(limits)}" if limits else ""


def _default(value: Any) -> str:
    if value is None or value in ((), [], {}):
        return ""
    return ", ".join(_flow([value]))


def _flow(values: Iterable[Any]) -> Iterator[str]:
    """Values as YAML's flow style writes them."""
    for value in values:
        if isinstance(value, bool):
            yield "true" if value else "false"
        elif isinstance(value, int | float):
            yield _number(value)
        elif isinstance(value, list | tuple):
            yield f"[{', '.join(_flow(value))}]"
        elif isinstance(value, dict):
            yield f"{{{', '.join(f'{key}: {text}' for key, text in zip(value, _flow(value.values()), strict=True))}}}"
        else:
            yield value if _PLAIN.fullmatch(str(value)) else f'"{value}"'


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.1f}" if value.is_integer() else f"{value:.6g}"
