"""What happens when a record is given a field that it does not have: renamed, of a newer version, or a mistake."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from .version import VERSION

__all__ = ["RecordMeta", "UnknownField", "reading"]

RENAMED: Mapping[str, Mapping[str, str]] = {}
"""Record → old name of a field → new name. The old name works, with a warning, until the next major version."""

_STACK = {field: f"say it once, in a Stack: stack=Stack({field}=…)" for field in ("tools", "preload")}
_RUNNER = "a metric of a running artifact is a RunMetric"
_ANSWER = "a metric of answers on the evaluation data is an AnswerMetric"
_MOVED: Mapping[str, Mapping[str, str]] = {
    "Kind": {**_STACK, "load_needs": "Python modules go to stack=Stack(modules=…), the rest to needs=Needs(…)"},
    "Technique": _STACK,
    "Backend": _STACK,
    "Metric": {
        "of": "write ArtifactMetric, AnswerMetric (of 'predictions') or RunMetric (of 'runner')",
        "via": _ANSWER,
        "examples": _ANSWER,
        "paired": _ANSWER,
        "exclusive": _RUNNER,
        "model": _RUNNER,
        "kinds": "write ArtifactMetric or RunMetric",
        "detail": "write ArtifactMetric(unasked=True)",
    },
}


class UnknownField(TypeError):
    """A record was given a field that it does not have. ``moved``: an older version had it."""

    def __init__(self, record: type[msgspec.Struct], field: str) -> None:
        import difflib

        self.record, self.field = record.__name__, field
        names = [c.__name__ for c in record.__mro__]
        moved = next((_MOVED[n][field] for n in names if field in _MOVED.get(n, {})), None)
        moved = moved or (_STACK.get(field) if "Metric" in names else None)
        self.moved = moved is not None

        guess = difflib.get_close_matches(field, record.__struct_fields__, 1)
        known = ", ".join(record.__struct_fields__)
        self.hint = moved or (f"did you mean '{guess[0]}'?" if guess else f"its fields: {known}")
        super().__init__(f"{self.record} has no field '{field}'")


class _Reader(NamedTuple):
    note: Callable[[str], None]
    newer: bool


_reader: ContextVar[_Reader | None] = ContextVar("reader", default=None)


@contextmanager
def reading(note: Callable[[str], None], *, newer: bool) -> Iterator[None]:
    """While a plugin makes its records: ``note`` gets what it should be warned of.

    ``newer``: it was built for a later minor version, so unknown fields are dropped. Those of an older version are not.
    """
    token = _reader.set(_Reader(note, newer))
    try:
        yield
    finally:
        _reader.reset(token)


class RecordMeta(msgspec.StructMeta):
    """Makes records: an unknown field is named, with what to write instead."""

    if not TYPE_CHECKING:  # it would hide the fields from type checkers

        def __call__(cls, *args: Any, **fields: Any) -> Any:
            if any(name not in cls.__struct_fields__ for name in fields):
                fields = _known(cls, fields)
            return super().__call__(*args, **fields)


def _known(record: type[msgspec.Struct], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a record has, under their names of today; UnknownField for a mistake."""
    reader, found = _reader.get(), {}
    for name, value in fields.items():
        renamed = RENAMED.get(record.__name__, {}).get(name)
        if name in record.__struct_fields__:
            found[name] = value
        elif renamed is not None:
            found[renamed] = value
            text = f"{record.__name__}: the field '{name}' is now called '{renamed}'"
            reader.note(text) if reader is not None else warnings.warn(text, DeprecationWarning, stacklevel=3)
        else:
            unknown = UnknownField(record, name)
            if reader is None or not reader.newer or unknown.moved:
                raise unknown
            reader.note(f"{unknown} in version {VERSION} of compressbuild.api: it is ignored")
    return found
