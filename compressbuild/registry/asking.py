"""Ask each plugin for its records, and isolate what is broken: one bad plugin costs only itself."""

from __future__ import annotations

import importlib
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pluggy

from ..api import hooks
from ..api.destination import Destination
from ..api.executor import Executor
from ..api.record import UnknownField, reading
from ..api.records import Backend, Check, Kind, Metric, Platform, Source, Technique
from ..api.version import VERSION, compare
from ..words import suggest
from .asked import resolved
from .installed import EntryPoint
from .records import Names, check_links, check_record
from .registry import WHATS, Observer, Plugin, Problem, Record, Registry

if TYPE_CHECKING:
    from pluggy import HookImpl

__all__ = ["ask"]

_ASKED = {f"compressbuild_{what}s": what for what in WHATS}
_ENGINE_KINDS = ("engine", "metrics")  # made by backends and by evaluation; no plugin need describe them
_HEAVY = frozenset(
    "torch tensorflow jax numpy scipy pandas onnx onnxruntime openvino tensorrt tensorrt_rtx networkx".split()  # noqa: SIM905
)
_NOT_PLUGINS = ("<frozen", *(os.path.dirname(module.__file__ or "") for module in (importlib, pluggy, hooks, msgspec)))
_NOT_PLUGINS += (os.path.dirname(os.path.dirname(__file__)),)


def ask(
    points: Iterable[EntryPoint],
    extra: Sequence[ModuleType | str] = (),
    refused: Mapping[str, str] = MappingProxyType({}),
) -> Registry:
    """What the plugins at these entry points, and the project's own ``extra`` modules, offer. ``refused``: by
    ``module:attribute``, why one must not be imported here; empty: nothing."""
    manager = pluggy.PluginManager("compressbuild")
    manager.add_hookspecs(hooks)
    drafts = [_Draft(point) for point in points]
    modules = {draft.point.value for draft in drafts}
    for module in extra:
        name = module if isinstance(module, str) else module.__name__
        if name not in modules:
            drafts.append(_Draft(EntryPoint(name, name), None if isinstance(module, str) else module))
    _refuse_equal_names(drafts)
    for draft in drafts:
        if problem := refused.get(draft.point.value):
            draft.broken = True
            draft.problem(problem, "fix or uninstall it; the other plugins work")
    for draft in drafts:
        draft.load(manager)
    return _assemble(drafts)


class _Draft:
    """A plugin while it is being asked."""

    def __init__(self, point: EntryPoint, module: object = None) -> None:
        self.point = point
        self.module = module
        self.records: list[tuple[str, Record]] = []
        self.refused: list[tuple[str, str, Problem]] = []
        self.observers: list[Observer] = []
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.broken = False
        self.newer = False  # built for a later minor version of the API

    def problem(self, message: str, hint: str | None = None) -> Problem:
        found = Problem(self.point.name, self.point.distribution, message, hint)
        self.problems.append(found)
        return found

    def load(self, manager: pluggy.PluginManager) -> None:
        if self.problems:
            return
        before = _HEAVY.intersection(sys.modules)
        try:
            if self.module is None:
                self.module = self._imported()
        except (Exception, SystemExit) as error:  # noqa: BLE001  plugin border: its import runs its code
            self.broken = True
            self.problem(f"cannot be imported: {_told(error)}", _import_hint(error))
            return
        if not self._fits():
            return
        try:
            manager.register(self.module, self.point.name)
        except (ValueError, pluggy.PluginValidationError) as error:
            self.broken = True
            self.problem(f"cannot be registered: {_told(error)}")
            return
        if heavy := sorted(_HEAVY.intersection(sys.modules) - before):
            self.warnings.append(f"its manifest imports {', '.join(heavy)}; only the worker's functions should")
        callers = manager.get_hookcallers(self.module) or []
        if not callers:
            self.problem("implements no hook of compressbuild", "decorate its functions with @hookimpl")
        for caller in callers:
            for impl in caller.get_hookimpls():
                if impl.plugin_name == self.point.name:
                    self._ask(caller.name, impl, known=caller.has_spec())

    def _imported(self) -> object:
        """Its manifest. Records that it makes at once may have fields of a newer version, if it says so."""
        before = set(sys.modules)
        with reading(self.warnings.append, newer=False):
            try:
                return resolved(self.point.value)
            except UnknownField as error:
                refused = error
        notes: list[str] = []
        with reading(notes.append, newer=True):
            module = resolved(self.point.value)
        if _relation(module) != "newer":
            for name in set(sys.modules) - before:
                if name.partition(".")[0] == self.point.value.partition(":")[0].partition(".")[0]:
                    del sys.modules[name]  # the next who imports it is refused, too
            raise refused
        self.warnings += notes
        return module

    def _fits(self) -> bool:
        """Whether it was built for this major version; a problem is recorded if not."""
        relation = _relation(self.module)
        stated = str(getattr(self.module, "API_VERSION", VERSION))
        self.newer, self.broken = relation == "newer", relation in ("other", "unreadable")
        if relation == "unreadable":
            self.problem(f"says API_VERSION = '{stated}', which is not a version", f"write API_VERSION = '{VERSION}'")
        elif relation == "other":
            older = int(stated.partition(".")[0]) < int(VERSION.partition(".")[0])
            hint = f"install a release of it for version {VERSION}" if older else "upgrade compressbuild"
            self.problem(f"is built for version {stated} of compressbuild.api, and this is version {VERSION}", hint)
        return not self.broken

    def _ask(self, hook: str, impl: HookImpl, *, known: bool) -> None:
        if not known and self.newer:
            self.warnings.append(f"implements '{hook}', a hook that version {VERSION} of the API does not call")
        elif not known:
            hint = suggest(hook, (*_ASKED, "compressbuild_event"), "hooks")
            self.problem(f"implements an unknown hook '{hook}'", hint)
        elif impl.hookwrapper or impl.wrapper:
            self.problem(f"wraps '{hook}'", "hooks return records; none may change what another plugin offers")
        elif hook == "compressbuild_event":
            self.observers.append(Observer(self.point.name, impl.function, takes_event=bool(impl.argnames)))
        else:
            try:
                with reading(self.warnings.append, newer=self.newer):
                    for record in self._records(hook, impl.function()):
                        self._take(_ASKED[hook], record)
            except (Exception, SystemExit) as error:  # noqa: BLE001  plugin border: the hook is its code
                self.broken = True
                self.problem(
                    f"failed in {hook}: {_told(error)}", error.hint if isinstance(error, UnknownField) else None
                )

    def _records(self, hook: str, answer: object) -> Iterator[object]:
        if answer is None or isinstance(answer, tuple(WHATS.values())) or not isinstance(answer, Iterable):
            shown = type(answer).__name__ if answer is not None else "None"
            self.problem(f"returned {shown} from {hook}", "yield the records, or return a list of them")
            return
        yield from answer

    def _take(self, what: str, record: object) -> None:
        if not isinstance(record, WHATS[what]) or type(record) is Metric:
            wanted = (
                "an ArtifactMetric, AnswerMetric or RunMetric" if what == "metric" else f"{WHATS[what].__name__}(…)"
            )
            self.problem(f"offers a {type(record).__name__} as a {what}", f"yield {wanted} of compressbuild.api")
            return
        complaint = check_record(what, cast(Record, record))
        if complaint is None:
            self.records.append((what, cast(Record, record)))
        else:
            self.refuse(what, str(cast(Record, record).name), self.problem(complaint.message, complaint.hint))

    def refuse(self, what: str, name: str, problem: Problem) -> None:
        self.records = [(w, r) for w, r in self.records if (w, r.name) != (what, name)]
        self.refused.append((what, name, problem))

    def finished(self) -> Plugin:
        point = self.point
        techniques, backends, kinds, metrics, platforms, sources, destinations, executors, checks = (
            tuple(sorted(record.name for what, record in self.records if what == asked)) for asked in WHATS
        )
        return Plugin(
            name=point.name,
            module=point.value,
            distribution=point.distribution,
            version=point.version,
            techniques=techniques,
            backends=backends,
            kinds=kinds,
            metrics=metrics,
            platforms=platforms,
            sources=sources,
            destinations=destinations,
            executors=executors,
            checks=checks,
            problem=self.problems[0] if self.problems else None,
            broken=self.broken,
            warnings=tuple(self.warnings),
            file=_manifest(point.value, self.module),
        )


def _relation(module: object) -> str:
    """As ``compare``, of what a manifest says it was built for; ``same`` if it does not say."""
    stated = getattr(module, "API_VERSION", VERSION)
    try:
        return compare(stated)
    except (AttributeError, TypeError, ValueError):
        return "unreadable"


def _told(error: BaseException) -> str:
    """The error on one line, with the place in the plugin's own code."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({os.path.basename(error.filename or '?')}:{error.lineno})"
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith(_NOT_PLUGINS):
            place = f" ({'/'.join(Path(file).parts[-2:])}:{trace.tb_lineno})"
        trace = trace.tb_next
    message = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {message}".removesuffix(": ") + place


def _import_hint(error: BaseException) -> str | None:
    if isinstance(error, UnknownField):
        return error.hint
    if isinstance(error, ImportError) and (error.name or "").startswith("compressbuild.api"):
        return f"this is version {VERSION} of compressbuild.api: upgrade compressbuild, or install a release for it"
    if isinstance(error, ImportError):
        return "a manifest imports compressbuild.api and the standard library only; reinstall or fix the plugin"
    return None


def _manifest(value: str, module: object) -> str | None:
    file = getattr(module, "__file__", None)
    if file is None:
        from importlib.util import find_spec

        try:
            spec = find_spec(value.partition(":")[0].partition(".")[0])
        except (ImportError, ValueError):  # a finder or a half-made module of the broken plugin
            return None
        file = spec.origin if spec is not None else None
    return file if isinstance(file, str) and os.path.isabs(file) else None


def _refuse_equal_names(drafts: Sequence[_Draft]) -> None:
    by_name = defaultdict(list)
    for draft in drafts:
        by_name[draft.point.name].append(draft)
    for name, same in by_name.items():
        if len(same) > 1:
            shipped = _and(_shipped(draft.point) for draft in same)
            for draft in same:
                draft.broken = True
                draft.problem(f"is the name of {len(same)} plugins: '{name}' in {shipped}", "uninstall all but one")


def _assemble(drafts: Sequence[_Draft]) -> Registry:
    """Refuse duplicates and records whose links lead nowhere, and put the rest together."""
    offered: dict[tuple[str, str], list[_Draft]] = defaultdict(list)
    for draft in drafts:
        for what, record in draft.records:
            offered[what, record.name].append(draft)
    for (what, name), by in offered.items():
        if len(by) > 1:
            plugins = _and(f"plugin '{d.point.name}' ({_shipped(d.point)})" for d in dict.fromkeys(by))
            twice = " twice" if len(set(by)) == 1 else ""
            for draft in dict.fromkeys(by):
                problem = draft.problem(
                    f"{what} '{name}' is offered by {plugins}{twice}", "uninstall or fix one of them"
                )
                draft.refuse(what, name, problem)
    names = Names(
        frozenset(n for w, n in offered if w == "kind")
        | {r.produces for d in drafts for _, r in d.records if isinstance(r, Backend)}
        | {*_ENGINE_KINDS},
        frozenset(n for w, n in offered if w == "technique"),
        frozenset(n for w, n in offered if w == "backend"),
    )
    for draft in drafts:
        for what, record in list(draft.records):
            complaint, warnings = check_links(what, record, names)
            draft.warnings += warnings
            if complaint is not None:
                draft.refuse(what, record.name, draft.problem(complaint.message, complaint.hint))
    return _registry(drafts)


def _registry(drafts: Sequence[_Draft]) -> Registry:
    found: dict[str, dict[str, Any]] = {what: {} for what in WHATS}
    owner = {}
    for draft in drafts:
        for what, record in draft.records:
            found[what][record.name] = record
            owner[what, record.name] = draft.point.name
    techniques, backends, kinds, metrics, platforms, sources, destinations, executors, checks = (
        MappingProxyType(dict(sorted(found[what].items()))) for what in WHATS
    )
    return Registry(
        cast(Mapping[str, Technique], techniques),
        cast(Mapping[str, Backend], backends),
        cast(Mapping[str, Kind], kinds),
        cast(Mapping[str, Metric], metrics),
        cast(Mapping[str, Platform], platforms),
        cast(Mapping[str, Source], sources),
        cast(Mapping[str, Destination], destinations),
        cast(Mapping[str, Executor], executors),
        cast(Mapping[str, Check], checks),
        plugins=tuple(draft.finished() for draft in drafts),
        problems=tuple(problem for draft in drafts for problem in draft.problems),
        owner=MappingProxyType(owner),
        observers=tuple(observer for draft in drafts for observer in draft.observers),
        refused=MappingProxyType({(w, n): problem for d in drafts for w, n, problem in d.refused}),
    )


def _shipped(point: EntryPoint) -> str:
    return f"{point.distribution} {point.version}" if point.distribution else "this project"


def _and(words: Iterable[str]) -> str:
    return " and ".join(words)
