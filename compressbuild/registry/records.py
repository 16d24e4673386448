"""Whether a record is well-formed: all that can be said without importing the functions that it names."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from inspect import get_annotations
from typing import Any

import msgspec

from ..api.destination import Destination
from ..api.environment import Environment
from ..api.executor import Executor
from ..api.facts import FACTS
from ..api.needs import Needs
from ..api.params import Params
from ..api.records import (
    AnswerMetric,
    ArtifactMetric,
    Backend,
    Check,
    Kind,
    Metric,
    Platform,
    RunMetric,
    Source,
    Technique,
)
from ..api.stack import Stack
from ..api.traits import TRAITS
from ..errors import Diagnostic
from ..words import PYTHON_FORM, PYTHONS, did_you_mean, suggest
from .registry import Record

__all__ = ["Names", "check_links", "check_record"]

_NAME = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_REFERENCES = (
    "run", "compile", "load", "init", "validate", "profile", "census", "factory", "companions", "open", "preview",
)  # fmt: skip
_LOCK = re.compile(r"[A-Za-z_]\w*:(?!\.\.?/)[\w.-]+(/(?!\.\.?/)[\w.-]+)*")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*|\*")
_CHOICES: Mapping[tuple[type, str], tuple[str, ...]] = {
    (Metric, "direction"): ("lower", "higher", "none"),
    (Metric, "role"): ("quality", "cost", "detail"),
    (Metric, "judges"): ("", "classes", "outputs"),
    (ArtifactMetric, "of"): ("artifact", "model"),
    (Source, "of"): ("model", "dataset"),
}

_OPTIMIZED = (
    "they are the help that users see: unset PYTHONOPTIMIZE, or set it to 1; with 2, as with python -OO, there are none"
)
_METHODS = ("needs", "run_needs")  # of Params


def _wrong(message: str, hint: str | None = None) -> Diagnostic:
    """A record has no place in a file: what it says of itself is enough to find it."""
    return Diagnostic(message, hint=hint)


class Names(msgspec.Struct, frozen=True):
    """Names across all plugins, which one record may use of another's."""

    kinds: frozenset[str]
    techniques: frozenset[str]
    backends: frozenset[str] = frozenset()


def check_record(what: str, record: Record) -> Diagnostic | None:
    """The first thing wrong with a record by itself, or None."""
    if not isinstance(record.name, str) or not _NAME.fullmatch(record.name):
        return _wrong(
            f"offers a {what} with the name {record.name!r}", "lower-case words joined by '.' or '-': prune.channels"
        )
    shown = f"{what} '{record.name}'"
    # msgspec does not check types when a struct is built in code.
    for field, annotation in _annotations(type(record)).items():
        expected, right = _TYPES[annotation]
        value = getattr(record, field)
        if not right(value):
            hint = f"write {field}=({value!r},)" if annotation == "tuple[str, ...]" and isinstance(value, str) else None
            return _wrong(f"{shown}: '{field}' must be {expected}, not {value!r}", hint)
    return _check_values(shown, record) or _check_params(shown, record)


def _annotations(record: type) -> dict[str, str]:
    """Field → its type as text, with those of the records that it extends."""
    return {
        field: annotation
        for base in reversed(record.__mro__)
        if issubclass(base, msgspec.Struct)
        for field, annotation in get_annotations(base).items()
    }


def _check_values(shown: str, record: Record) -> Diagnostic | None:
    for field in _REFERENCES:
        value = getattr(record, field, None)
        if isinstance(value, str) and not _REFERENCE.fullmatch(value):
            return _wrong(f"{shown}: '{field}' must be 'module:function', not '{value}'")
    stack = getattr(record, "stack", None)
    own = stack.environment if stack is not None else None
    if own is not None and (fault := _check_environment(own)) is not None:
        return _wrong(f"{shown}: {fault[0]}", fault[1])
    for (kind, field), options in _CHOICES.items():
        value = getattr(record, field) if isinstance(record, kind) else None
        if value is not None and value not in options:
            hint = suggest(value, options, otherwise=f"one of {', '.join(options)}")
            return _wrong(f"{shown}: '{field}' cannot be '{value}'", hint)
    if isinstance(record, Backend) and not _NAME.fullmatch(record.qdq_scheme):
        return _wrong(f"{shown}: 'qdq_scheme' cannot be '{record.qdq_scheme}'", "a name of lower-case words: u8-affine")
    if not isinstance(record, Platform) and record.version < 1:
        return _wrong(f"{shown}: 'version' must be 1 or more, not {record.version}")
    if isinstance(record, Metric | Backend | Check) and record.priority < 0:
        return _wrong(f"{shown}: 'priority' must be 0 or more, not {record.priority}", "0 comes last")
    if isinstance(record, Kind) and not record.files:
        return _wrong(f"{shown}: 'files' is empty", "glob patterns that its directory must hold: files=('model.onnx',)")
    if isinstance(record, Source) and (record.of == "model") != (record.produces is not None):
        return _wrong(f"{shown}: a source of models, and no other, says which kind it 'produces'")
    if isinstance(record, Destination | Executor):
        wrong = next((each for each in record.schemes if not _SCHEME.fullmatch(each)), None)
        if wrong is not None or not record.schemes:
            return _wrong(f"{shown}: 'schemes' cannot be {record.schemes!r}", "of its addresses: schemes=('s3',)")
    for fact in (*record.compile_facts, *record.run_facts) if isinstance(record, Backend) else ():
        if fact not in FACTS:
            hint = suggest(fact, FACTS, otherwise=f"known: {', '.join(FACTS)}")
            return _wrong(f"{shown}: unknown platform fact '{fact}'", hint)
    return None


def _check_environment(found: Environment) -> tuple[str, str] | None:
    """What is wrong with the environment of a record's stack, and a hint; None: nothing."""
    if not _NAME.fullmatch(found.name):
        return f"the environment has the name {found.name!r}", "lower-case words joined by '.' or '-': litert"
    if not _LOCK.fullmatch(found.requirements):
        hint = "a file of the plugin's package: requirements='cbuild_mine:requirements.txt'"
        return f"the 'requirements' of environment '{found.name}' cannot be {found.requirements!r}", hint
    if not PYTHONS.fullmatch(found.python):
        return f"the 'python' of environment '{found.name}' cannot be {found.python!r}", PYTHON_FORM
    return None


def _check_params(shown: str, record: Record) -> Diagnostic | None:
    """A parameter struct is its technique's help, and its types must resolve."""
    field = {Backend: "settings", Destination: "options", Executor: "options"}.get(type(record), "params")
    params: type[Params] | None = getattr(record, field, None)
    if params is None or params is Params:
        return None
    if not (params.__doc__ or "").strip():
        if sys.flags.optimize > 1:
            return _wrong(f"{shown}: Python has removed the docstring of {params.__name__}", _OPTIMIZED)
        return _wrong(f"{shown}: {params.__name__} has no docstring", "its first line is the help that users see")
    if isinstance(record, Source) and record.name not in params.__struct_encode_fields__:
        return _wrong(
            f"{shown}: {params.__name__} has no parameter '{record.name}'",
            "an entry names its source by the key of that name: the parameter that says where the source is",
        )
    taken = next((name for name in params.__struct_fields__ if name in _METHODS), None)
    if taken is not None:
        return _wrong(f"{shown}: {params.__name__} calls a parameter '{taken}', as a method of Params is called")
    try:
        typed = msgspec.convert({}, params)
    except msgspec.ValidationError:  # a required field: its types did resolve
        return None
    except Exception as error:  # noqa: BLE001  plugin border: evaluating a plugin's annotations runs its code
        return _wrong(f"{shown}: the types of {params.__name__} are unusable: {type(error).__name__}: {error}")
    for method in _METHODS:
        value = getattr(typed, method)()
        if not _needs(value):
            return _wrong(f"{shown}: '{method}' of {params.__name__} must give a well-formed Needs, not {value!r}")
    return None


def check_links(what: str, record: Record, names: Names) -> tuple[Diagnostic | None, list[str]]:
    """What a record uses of other records: why it cannot work, and which links are merely dead.

    One unknown kind among several it consumes may belong to a plugin that is not installed; if it is the only one, or
    the one produced, the record is useless.
    """
    shown = f"{what} '{record.name}'"
    for verb, name in (
        (("goes via", record.via), ("is of", record.examples)) if isinstance(record, AnswerMetric) else ()
    ):
        if name is not None and name not in names.techniques:
            return _unknown(shown, verb, "technique", name, names.techniques), []
    if isinstance(record, Platform):
        known = record.backend in names.backends
        return None if known else _unknown(shown, "is for", "backend", record.backend, names.backends), []
    consumed = _consumed(record)
    unknown = [kind for kind in consumed if kind not in names.kinds]
    if unknown and len(unknown) == len(consumed):
        return _unknown(shown, "consumes", "kind", unknown[0], names.kinds), []
    if isinstance(record, Technique | Source) and record.produces is not None and record.produces not in names.kinds:
        return _unknown(shown, "produces", "kind", record.produces, names.kinds), []
    return None, [f"{shown} also consumes '{kind}', a kind that no plugin offers" for kind in unknown] + [
        f"{shown} has the trait '{trait}': did you mean '{near}'?"  # others are a plugin's own, for its own checks
        for trait in (record.traits if isinstance(record, Technique) else ())
        if trait not in TRAITS and (near := did_you_mean(trait, TRAITS))
    ]


def _consumed(record: Record) -> tuple[str, ...]:
    if isinstance(record, RunMetric):
        return (*record.kinds, *record.model)
    if isinstance(record, ArtifactMetric):
        return record.kinds
    return record.consumes if isinstance(record, Technique | Backend) else ()


def _unknown(shown: str, verb: str, what: str, name: str, options: frozenset[str]) -> Diagnostic:
    near = did_you_mean(name, options)
    hint = f"did you mean '{near}'?" if near else None
    return _wrong(f"{shown} {verb} '{name}', a {what} that no plugin offers", hint)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _strings(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) and item for item in value)


def _well_formed(kind: type) -> Callable[[object], bool]:
    def right(value: object) -> bool:
        return isinstance(value, kind) and all(
            _TYPES[annotation][1](getattr(value, field)) for field, annotation in kind.__annotations__.items()
        )

    return right


_needs = _well_formed(Needs)
_environment = _well_formed(Environment)


_TYPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a string", lambda v: isinstance(v, str)),
    "str | None": ("a string or None", lambda v: v is None or isinstance(v, str)),
    "int": ("a whole number", lambda v: type(v) is int),
    "bool": ("True or False", lambda v: type(v) is bool),
    "tuple[str, ...]": ("a tuple of strings", _strings),
    "tuple[tuple[str, ...], ...]": (
        "a tuple of tuples of strings",
        lambda v: isinstance(v, tuple) and all(map(_strings, v)),
    ),
    "type[Params]": ("a subclass of Params", lambda v: isinstance(v, type) and issubclass(v, Params)),
    "dict[str, Any]": ("a dict with strings for keys", lambda v: isinstance(v, dict) and all(map(_text, v))),
    "Needs": ("a well-formed Needs", _needs),
    "Environment | None": ("a well-formed Environment or None", lambda v: v is None or _environment(v)),
    "Stack": ("a well-formed Stack", _well_formed(Stack)),
}
