"""What discovery found: records by name, who offers them, and why something is unavailable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from ..api.destination import Destination
from ..api.executor import Executor
from ..api.records import Backend, Check, Kind, Metric, Platform, Source, Technique
from ..errors import PluginError
from ..words import suggest
from .installed import Installed

__all__ = ["WHATS", "Observer", "Plugin", "Problem", "Record", "Registry"]

Record = Technique | Backend | Kind | Metric | Platform | Source | Destination | Check | Executor
R = TypeVar("R")

WHATS: Mapping[str, type] = {
    "technique": Technique,
    "backend": Backend,
    "kind": Kind,
    "metric": Metric,
    "platform": Platform,
    "source": Source,
    "destination": Destination,
    "executor": Executor,
    "check": Check,
}
"""What a record is called, in messages and in ``Registry.owner``."""


class Problem(msgspec.Struct, frozen=True):
    """Something of a plugin that cannot be used. ``message`` reads after the plugin's name: "cannot be imported …"."""

    plugin: str
    distribution: str
    message: str
    hint: str | None = None


class Plugin(msgspec.Struct, frozen=True):
    """An entry point and what it offers. ``problem``: the first of its problems; what it does offer still works.
    ``broken``: it could not be asked for all it offers. ``warnings``: what works, but should be fixed. ``file``: its
    manifest."""

    name: str
    module: str
    distribution: str
    version: str
    techniques: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    executors: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    problem: Problem | None = None
    broken: bool = False
    warnings: tuple[str, ...] = ()
    file: str | None = None


class Observer:
    """A plugin's ``compressbuild_event``. The first time it raises it is dropped, with a warning; the build goes on."""

    def __init__(self, plugin: str, function: Callable[..., object], *, takes_event: bool = True) -> None:
        self.plugin = plugin
        self.problem: Problem | None = None
        self._function = function
        self._takes_event = takes_event

    def __call__(self, event: Mapping[str, Any]) -> None:
        if self.problem is not None:
            return
        import logging
        from copy import deepcopy

        try:
            # A copy: what one observer does to its event reaches neither the engine nor the next observer.
            self._function(*([deepcopy(dict(event))] if self._takes_event else []))
        except Exception as error:  # noqa: BLE001  plugin border: an observer must not fail a build
            self.problem = Problem(self.plugin, "", f"raised in compressbuild_event: {type(error).__name__}: {error}")
            logging.getLogger(__name__).warning(
                "plugin '%s' %s; it will get no more events", self.plugin, self.problem.message
            )


class Registry(msgspec.Struct, frozen=True):
    """Everything that plugins offer. Names that two plugins offer are in no mapping: neither wins by chance.

    ``owner``: ``("technique", name)`` → plugin name. ``refused``: the same key → why the record is not there.
    ``remembered``: the same key → the plugin that offered it when it last worked. ``origins``: the files and
    directories of packages that the answers came from. ``stamp``: if all of it was remembered, what stands for every
    file behind it; else empty.
    """

    techniques: Mapping[str, Technique]
    backends: Mapping[str, Backend]
    kinds: Mapping[str, Kind]
    metrics: Mapping[str, Metric]
    platforms: Mapping[str, Platform] = {}
    sources: Mapping[str, Source] = {}
    destinations: Mapping[str, Destination] = {}
    executors: Mapping[str, Executor] = {}
    checks: Mapping[str, Check] = {}
    plugins: tuple[Plugin, ...] = ()
    problems: tuple[Problem, ...] = ()
    owner: Mapping[tuple[str, str], str] = {}
    observers: tuple[Observer, ...] = ()
    refused: Mapping[tuple[str, str], Problem] = {}
    remembered: Mapping[tuple[str, str], str] = {}
    origins: tuple[str, ...] = ()
    installed: Installed = msgspec.field(default_factory=lambda: Installed("", {}, {}, (), {}))
    stamp: str = ""

    def technique(self, name: str) -> Technique:
        """PluginError, saying why and what may have been meant, if there is none of this name; so for the others."""
        return self._get("technique", self.techniques, name)

    def backend(self, name: str) -> Backend:
        return self._get("backend", self.backends, name)

    def kind(self, name: str) -> Kind:
        return self._get("kind", self.kinds, name)

    def metric(self, name: str) -> Metric:
        return self._get("metric", self.metrics, name)

    def platform(self, name: str) -> Platform:
        return self._get("platform", self.platforms, name)

    def source(self, name: str) -> Source:
        return self._get("source", self.sources, name)

    def sources_of(self, what: str) -> tuple[str, ...]:
        """Names of what a ``model`` or ``dataset`` can be read from, and of sources that something is wrong with."""
        known = [name for name, record in self.sources.items() if record.of == what]
        lost = [name for kind, name in (*self.refused, *self.remembered) if kind == "source"]
        return tuple(dict.fromkeys([*known, *(name for name in lost if name not in self.sources)]))

    def _get(self, what: str, known: Mapping[str, R], name: str) -> R:
        if name not in known:
            raise self.unknown(what, name)
        return known[name]

    def unknown(self, what: str, name: str) -> PluginError:
        """Why there is no ``what`` called ``name``: refused, lost with a broken plugin, misspelt, or not installed."""
        if refused := self.refused.get((what, name)):
            return PluginError(f"{what} '{name}' cannot be used: {refused.message}", hint=refused.hint)
        broken = {p.name: p.problem for p in self.plugins if p.broken and p.problem is not None}
        lost = broken.get(self.remembered.get((what, name), ""))
        if lost is not None:
            message = f"{what} '{name}' comes with plugin '{lost.plugin}', which {lost.message}"
            return PluginError(message, hint=lost.hint)
        known: dict[str, Mapping[str, object]] = {
            "technique": self.techniques,
            "backend": self.backends,
            "kind": self.kinds,
            "metric": self.metrics,
            "platform": self.platforms,
            "source": self.sources,
            "destination": self.destinations,
            "executor": self.executors,
            "check": self.checks,
        }
        hints = [suggest(name, known[what], otherwise="'cbuild plugins' lists what is installed") or ""]
        elsewhere = [other for other in known if name in known[other]]
        if elsewhere:
            hints = [f"'{name}' is a {elsewhere[0]}"]
        hints += [f"plugin '{p.plugin}' may offer it, but {p.message}" for p in broken.values()]
        return PluginError(f"unknown {what} '{name}'", hint="; ".join(hints))

    def tool_versions(self, names: Iterable[str]) -> dict[str, str | None]:
        """Distribution name → installed version, or None."""
        return self.installed.tool_versions(names)

    def module_versions(self, modules: Iterable[str]) -> dict[str, dict[str, str | None]]:
        """Top-level module (``CodeClosure.external``) → distribution → version."""
        return self.installed.module_versions(modules)

    def siblings(self, module: str) -> frozenset[str]:
        """Top-level module → every one that its distributions ship."""
        return self.installed.siblings(module)

    def fingerprint(self) -> list[tuple[str, int]]:
        """``(path, mtime_ns)`` of what this registry was made from: if none differs (and the interpreter and its path
        are the same) nothing was installed, removed or edited in a manifest or what it imports since. -1: the file is
        not there."""
        watched = list(self.installed.watched.items())
        for file in self.origins:
            try:
                watched.append((file, os.stat(file).st_mtime_ns))
            except OSError:
                watched.append((file, -1))
        return watched
