"""What happens when a record is given a field that it does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

__all__ = ["RecordMeta", "UnknownField"]

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
        self.record, self.field = record.__name__, field
        names = [c.__name__ for c in record.__mro__]
        moved = next((_MOVED[n][field] for n in names if field in _MOVED.get(n, {})), None)
        moved = moved or (_STACK.get(field) if "Metric" in names else None)
        self.moved = moved is not None
        import difflib

        guess = difflib.get_close_matches(field, record.__struct_fields__, 1)
        known = ", ".join(record.__struct_fields__)
        self.hint = moved or (f"did you mean '{guess[0]}'?" if guess else f"its fields: {known}")
        super().__init__(f"{self.record} has no field '{field}'")


class RecordMeta(msgspec.StructMeta):
    """Makes records: an unknown field is named, with what to write instead."""

    if not TYPE_CHECKING:  # it would hide the fields from type checkers

        def __call__(cls, *args: Any, **fields: Any) -> Any:
            for name in fields:
                if name not in cls.__struct_fields__:
                    raise UnknownField(cls, name)
            return super().__call__(*args, **fields)
