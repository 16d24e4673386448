"""The records of sound manifests, remembered: while no file behind them has changed, no plugin is asked.

A remembered record is made when somebody looks it up, and only then is its parameters' type imported.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from ..api.destination import Destination
from ..api.executor import Executor
from ..api.needs import Needs
from ..api.records import AnswerMetric, ArtifactMetric, Backend, Check, Kind, Platform, RunMetric, Source, Technique
from ..api.stack import Stack
from ..digest import CLOCK_GRANULARITY_NS
from ..errors import PluginError
from ..noop import ABSENT, signature
from .registry import WHATS, Plugin, Record, Registry

__all__ = ["Asked", "remember", "resolved", "sources"]

R = TypeVar("R")
_STARTED = time.time_ns()
_CLASSES: Mapping[str, Callable[..., Any]] = {
    kind.__name__: kind
    for kind in (
        Technique,
        Backend,
        Kind,
        ArtifactMetric,
        AnswerMetric,
        RunMetric,
        Platform,
        Source,
        Destination,
        Executor,
        Check,
    )
}
_ENGINE = ("compressbuild.api.", "compressbuild.registry.")


class Asked(msgspec.Struct, frozen=True):
    """``files``: path → signature of each source file and directory that the answers came from; ``engine``: of the code
    that checked them. ``records``: what → name → its plugin, its class and the fields that are not defaults, as plain
    values."""

    files: dict[str, tuple[int, int, int, int]]
    engine: dict[str, tuple[int, int, int, int]]
    plugins: tuple[Plugin, ...]
    records: dict[str, dict[str, tuple[str, str, dict[str, Any]]]]

    def current(self) -> bool:
        """Whether every file is as it was."""
        return all(signature(path) == then for seen in (self.files, self.engine) for path, then in seen.items())

    def registry(self) -> Registry:
        found: dict[str, Any] = {what: _Records(self.records[what]) for what in WHATS}
        return Registry(
            found["technique"],
            found["backend"],
            found["kind"],
            found["metric"],
            found["platform"],
            found["source"],
            found["destination"],
            found["executor"],
            found["check"],
            plugins=self.plugins,
            owner={(what, name): owner for what, by in self.records.items() for name, (owner, *_) in by.items()},
            origins=tuple(self.files),
        )


class _Records(Mapping[str, R]):
    def __init__(self, plain: Mapping[str, tuple[str, str, Mapping[str, Any]]]) -> None:
        self._plain = plain
        self._made: dict[str, R] = {}

    def __getitem__(self, name: str) -> R:
        if name not in self._made:
            owner, kind, fields = self._plain[name]
            try:
                self._made[name] = _CLASSES[kind](**{field: _made(value) for field, value in fields.items()})
            except (ImportError, AttributeError) as error:  # it went between the look at its file and now
                raise PluginError(
                    f"plugin '{owner}' changed while it was read: {type(error).__name__}: {error}",
                    hint="run the command again; 'cbuild plugins' shows what is wrong if it persists",
                ) from error
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._plain

    def __iter__(self) -> Iterator[str]:
        return iter(self._plain)

    def __len__(self) -> int:
        return len(self._plain)


def remember(registry: Registry) -> Asked | None:
    """What to keep of the answers; None if they cannot be kept. A plugin with a problem is asked each time, and so is
    one that observes builds, or has a record that would not come back equal."""
    files, engine = ({path: signature(path) for path in paths} for paths in (registry.origins, _engine()))
    if registry.problems or registry.observers or not all(map(_settled, (*files.values(), *engine.values()))):
        return None
    by: dict[str, Mapping[str, Any]] = {
        "technique": registry.techniques,
        "backend": registry.backends,
        "kind": registry.kinds,
        "metric": registry.metrics,
        "platform": registry.platforms,
        "source": registry.sources,
        "destination": registry.destinations,
        "executor": registry.executors,
        "check": registry.checks,
    }
    records = {
        what: {
            name: (registry.owner[what, name], type(record).__name__, _plain(record)) for name, record in found.items()
        }
        for what, found in by.items()
    }
    try:
        asked = msgspec.msgpack.decode(
            msgspec.msgpack.encode(Asked(files, engine, registry.plugins, records)), type=Asked
        )
        again = asked.registry()
        same = all(dict(getattr(again, f"{what}s")) == dict(found) for what, found in by.items())
    except (KeyError, TypeError, ValueError, OverflowError, PluginError, msgspec.MsgspecError):
        return None
    return asked if same else None


def _settled(seen: tuple[int, int, int, int]) -> bool:
    """Whether the file is there, and older than this process: then what was imported is what the signature is of."""
    return seen[0] != ABSENT and max(seen[0], seen[3]) < _STARTED - CLOCK_GRANULARITY_NS


def _plain(record: Record) -> dict[str, Any]:
    fields = {field: getattr(record, field) for field in record.__struct_fields__}
    defaults = dict(zip(record.__struct_fields__[::-1], record.__struct_defaults__[::-1], strict=False))
    return {field: _value(value) for field, value in fields.items() if value is not defaults.get(field)}


def _value(value: Any) -> Any:
    """What has no equal in MessagePack is marked by what it is."""
    match value:
        case type():
            return {"type": f"{value.__module__}:{value.__qualname__}"}
        case Needs() | Stack():
            return {type(value).__name__: msgspec.to_builtins(value)}
        case tuple() | dict():
            return {type(value).__name__: value}
    return value


def _made(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    match kind:
        case "type":
            return resolved(inner)
        case "tuple":
            return tuple(inner)
        case "dict":
            return inner
    return msgspec.convert(inner, {"Needs": Needs, "Stack": Stack}[kind])


def resolved(reference: str) -> Any:
    """What ``module`` or ``module:attribute`` names."""
    name, _, attribute = reference.partition(":")
    found: Any = importlib.import_module(name)
    for part in filter(None, attribute.split(".")):
        found = getattr(found, part)
    return found


def sources(before: frozenset[str], plugins: Iterable[Plugin]) -> tuple[str, ...]:
    """Files of the modules that asking imported and of the plugins' own packages, with the directories of packages, in
    which a new file can take a module's place. ``before``: the modules that were imported earlier."""
    tops = {plugin.module.partition(":")[0].partition(".")[0] for plugin in plugins}
    found = {plugin.file for plugin in plugins if plugin.file}
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        file = getattr(module, "__file__", None)
        asked = top in tops or (name not in before and top not in ("compressbuild", *sys.stdlib_module_names))
        if asked:
            found.update([file] if isinstance(file, str) else ())
            found.update(filter(None, getattr(module, "__path__", ())))
    return tuple(sorted(found))


def _engine() -> list[str]:
    return [str(module.__file__) for name, module in sys.modules.items() if name.startswith(_ENGINE)]
