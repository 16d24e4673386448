"""The environments that the installed plugins declare, as the Compressfile has them, and where each lies."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import msgspec

from ..api.environment import Environment
from ..compressfile.spec import EnvironmentSpec, Spec
from ..digest import Digest, digest_value
from ..errors import CbuildError, Diagnostic, PluginError, UsageError
from ..platforms import Missing
from ..registry import Registry
from ..words import suggest
from .lockfile import LockFile, read_lock
from .made import is_made
from .python import Python, choose
from .uv import INSTALL, find_uv

__all__ = ["Environments", "Wanted", "declared", "undeclared"]

_LAYOUT = 1  # rises when environments are made in another way


class Wanted(msgspec.Struct, frozen=True):
    """An environment as it is asked for. ``python``: None if no interpreter here is among ``pythons``. ``digest``: of
    all that makes it; its directory is called so."""

    name: str
    lock: LockFile
    pythons: str
    python: Python | None
    digest: Digest

    @property
    def distributions(self) -> int:
        """How many the lock has for this machine."""
        return len(self.lock.applying(self.python.version)) if self.python is not None else len(self.lock.pins)

    @property
    def obstacle(self) -> Missing | None:
        """What this machine lacks to make it, whatever the network has; None: nothing."""
        if self.python is None:
            return Missing(f"Python {self.pythons} (not found)", "put it on PATH, or 'uv python install 3.N'")
        if not self.lock.fits(self.python.version):
            import platform

            here = f"Python {self.python.version} on {platform.system()} {platform.machine()}"
            hint = f"lock the tool for it, and have the Compressfile name that lock: 'environments: {{{self.name}: …}}'"
            return Missing(f"a lock of '{self.name}' for {here} (this one has none of its distributions)", hint)
        if find_uv() is None:
            return Missing("uv, which makes environments (not found)", INSTALL, ("uv",))
        return None


def declared(registry: Registry) -> Iterator[tuple[Environment, str]]:
    """Each environment that a record declares, with who does: ``technique 'x'``."""
    kinds: tuple[tuple[str, Mapping[str, object]], ...] = (
        ("technique", registry.techniques),
        ("backend", registry.backends),
        ("kind", registry.kinds),
        ("metric", registry.metrics),
        ("source", registry.sources),
    )
    for what, records in kinds:
        for name, record in records.items():
            stack = getattr(record, "stack", None)
            if stack is not None and stack.environment is not None:
                yield stack.environment, f"{what} '{name}'"


def undeclared(spec: Spec, registry: Registry) -> list[Diagnostic]:
    """A problem for each environment of the Compressfile that no installed plugin declares."""
    known = sorted({found.name for found, _ in declared(registry)})
    return [
        Diagnostic(
            f"no installed plugin declares an environment '{name}'",
            found.mark,
            suggest(name, known, otherwise=f"known: {', '.join(known)}" if known else "remove it"),
        )
        for name, found in spec.environments.items()
        if name not in known
    ]


class Environments:
    """Those of a project, below ``env`` in its cache. Each is looked at when it is first asked for."""

    def __init__(self, spec: Spec | None, registry: Registry, cache: Path) -> None:
        """``spec``: None outside a project, where the plugins' own locks count."""
        self.root = cache / "env"
        self.of_project = spec is not None
        self._spec = spec
        self._registry = registry
        self._wanted: dict[str, Wanted] = {}

    @cached_property
    def _declared(self) -> dict[str, list[tuple[Environment, str]]]:
        """Name → each way in which it is declared, with the first record that does."""
        found: dict[str, list[tuple[Environment, str]]] = {}
        for environment, owner in declared(self._registry):
            ways = found.setdefault(environment.name, [])
            if all(environment != way for way, _ in ways):
                ways.append((environment, owner))
        return found

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._declared))

    def owner(self, name: str) -> str:
        """The first record that declares it."""
        return self._declared[name][0][1]

    def wanted(self, name: str) -> Wanted:
        """Its lock and its interpreter. Raises UsageError for an unknown name, PluginError where two plugins disagree
        about it, CompressfileError for what is wrong in the lock."""
        if name not in self._wanted:
            self._wanted[name] = self._resolved(name)
        return self._wanted[name]

    def found(self, name: str | None, problems: list[Diagnostic]) -> Wanted | None:
        """The same; None for the engine's own, and for one that is wrong, which joins ``problems``."""
        try:
            return None if name is None else self.wanted(name)
        except CbuildError as error:
            problems += error.diagnostics
            return None

    def forget(self) -> None:
        """Read the locks again: one may have changed."""
        self._wanted.clear()

    def directory(self, name: str) -> Path:
        return self.root / self.wanted(name).digest

    def is_made(self, name: str) -> bool:
        return is_made(self.directory(name))

    def lacks(self, environment: Environment | None) -> tuple[Missing, ...]:
        """What keeps a record from running in its environment here: it is not made, and cannot be. Empty: nothing."""
        if environment is None:
            return ()
        try:
            wanted = self.wanted(environment.name)
            made = self.is_made(environment.name)
            obstacle = None if made else wanted.obstacle
        except CbuildError as error:
            return (Missing(f"environment '{environment.name}' (unusable: {error.diagnostics[0].message})"),)
        return () if obstacle is None else (obstacle,)

    def interpreter(self, name: str) -> str:
        return str(self.directory(name) / "bin" / "python")

    def lock_path(self, name: str) -> str:
        """Where its lock is, be it there or not."""
        own = self._spec.environments.get(name) if self._spec is not None else None
        if self._spec is not None and own is not None and own.requirements is not None:
            return os.path.join(self._spec.root, own.requirements)
        return _packaged(self._declared[name][0][0].requirements)

    def _resolved(self, name: str) -> Wanted:
        if name not in self._declared:
            raise UsageError(f"unknown environment '{name}'", hint=suggest(name, self.names, otherwise="there is none"))
        (record, owner), *others = self._declared[name]
        if others:
            raise PluginError(
                f"{owner} and {others[0][1]} declare environment '{name}' differently",
                hint="remove one of the plugins, or have its author choose another name",
            )
        own = self._spec.environments.get(name) if self._spec is not None else None
        own = own or EnvironmentSpec()
        path = self.lock_path(name)
        shown = own.requirements or record.requirements
        lock = read_lock(path, shown, own.mark)
        versions = own.python or record.python
        python = choose(versions)
        import sysconfig  # here: most plans have no environment

        made_of = {
            "layout": _LAYOUT,
            "lock": lock.digest,
            "python": python.version if python is not None else versions,
            "platform": sysconfig.get_platform(),
        }
        return Wanted(name, lock, versions, python, digest_value({"environment": made_of}))


def _packaged(requirements: str) -> str:
    """``package:path`` → the file. Imports nothing."""
    package, _, path = requirements.partition(":")
    try:
        found = find_spec(package)
    except (ImportError, ValueError):
        found = None
    if found is None:
        return os.path.join(package, path)
    places = found.submodule_search_locations or [os.path.dirname(found.origin or "")]
    return next(
        (file for each in places if os.path.isfile(file := os.path.join(each, path))), os.path.join(places[0], path)
    )
