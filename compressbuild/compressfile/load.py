"""Compressfile → Spec: read, override, expand, check; every error of the pass in one CompressfileError."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from ..errors import Mark, UsageError
from . import sections
from .caching import caching
from .checks import OPTIONS, Checks
from .environments import environments
from .evaluation import file_evaluation
from .interpolate import Scope
from .matrix import expand
from .names import COMMANDS, IDENTIFIER, SANDBOXES
from .nodes import Broken, Map, Node, Scalar
from .overrides import apply
from .parsed import read
from .paths import Paths, leaves_root, normal
from .problems import Problems
from .publishing import publishing
from .references import Catalogue, check_cycles, check_references, flatten_groups, members
from .spec import DatasetSpec, PublishSpec, RunOptions, Spec, TargetSpec
from .targets import Targets, origins
from .text import decode

__all__ = ["TOP_KEYS", "load", "loads"]

TOP_KEYS = (
    "version",
    "vars",
    "models",
    "datasets",
    "platforms",
    "evaluate",
    "targets",
    "groups",
    "publish",
    "defaults",
    "env",
    "cache",
    "python-path",
    "preload",
    "outside",
    "sandbox",
    "host",
    "environments",
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_EMPTY = Map((), Mark("", 1, 1))

T = TypeVar("T")


def _no_sources(kind: str) -> tuple[str, ...]:
    """What plugins offer where there are none."""
    return ()


def load(
    path: Path,
    overrides: Sequence[str] = (),
    catalogue: Catalogue = tuple,
    memo: Path | None = None,
    sources: sections.Sources = _no_sources,
) -> Spec:
    """Read a file. ``overrides``: ``PATH=VALUE`` as given to ``--set``. ``catalogue``: gives the names of platforms
    that need no declaration; ``sources``: those of the sources that plugins offer. ``memo``: a file in which to
    remember what was parsed. UsageError where it cannot be read."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(
            f"there is no '{shown(path)}'", hint="run it where the Compressfile is, or name the file with -f FILE"
        ) from None
    except OSError as error:
        raise UsageError(f"cannot read '{shown(path)}': {error.strerror}") from error
    return loads(decode(data, shown(path)), path, overrides, catalogue, memo, sources)


def loads(
    text: str,
    path: Path,
    overrides: Sequence[str] = (),
    catalogue: Catalogue = tuple,
    memo: Path | None = None,
    sources: sections.Sources = _no_sources,
) -> Spec:
    """Read a text as if it stood in ``path``, which need not exist."""
    file = shown(path)
    problems = Problems({file: text})
    with _without_gc():
        root = read(text.removeprefix("\ufeff"), file, problems, memo)
        if root is None:
            problems.add(
                "the file is empty",
                Mark(file, 1, 1),
                "start with 'version: 1'; docs/tutorial.md builds one up from nothing",
            )
            raise problems.error()
        root = apply(root, overrides, TOP_KEYS, problems)
        spec = _Loader(path, text, file, problems, catalogue, sources).spec(root)
    problems.check()
    return spec


def shown(path: Path) -> str:
    """A path as error messages name it: below the current directory, relative to it."""
    absolute, here = os.path.abspath(path), os.getcwd()
    return os.path.relpath(absolute, here) if absolute.startswith(here.rstrip(os.sep) + os.sep) else str(path)


@contextmanager
def _without_gc() -> Iterator[None]:
    """Nothing made here is garbage, and looking for it takes half of the time of a big file."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Loader:
    """One pass over the top level. ``declared``: section → name → the key that declares it."""

    def __init__(
        self,
        path: Path,
        text: str,
        file: str,
        problems: Problems,
        catalogue: Catalogue,
        sources: sections.Sources,
    ) -> None:
        self._path = path
        self._text = text
        self._file = file
        self._problems = problems
        self._catalogue = catalogue
        self._sources = sources
        self._checks = Checks(problems)
        self._declared: dict[str, dict[str, Scalar]] = {
            kind: {} for kind in ("model", "target", "group", "dataset", "platform", "destination")
        }

    def spec(self, root: Node) -> Spec:
        checks = self._checks
        top = self._top(root)
        sections_of = {str(key.value): node for key, node in top.entries}
        scope = Scope(self._variables(sections_of.get("vars")), self._problems)

        def value(key: str) -> Node | None:
            node = sections_of.get(key)
            return None if node is None else scope.expand(node)

        places = value("outside")
        outside = self._outside(places) if places is not None else ()
        paths = Paths(checks, outside)
        models = self._section(
            value("models"), "model", lambda key, node: sections.model(key, node, checks, paths, self._sources)
        )
        datasets = self._datasets(value("datasets"), paths)
        platforms = self._section(
            value("platforms"), "platform", lambda key, node: sections.platform(key, node, checks)
        )
        shared = value("evaluate")
        evaluate, special = (None, {}) if shared is None else file_evaluation(shared, checks)
        targets = self._targets(sections_of.get("targets"), scope, Targets(checks, evaluate, special))
        groups = self._groups(value("groups"), targets)
        publish = self._publish(value("publish"), groups, targets)
        platforms |= check_references(checks, self._declared, self._catalogue)
        check_cycles(targets, checks)
        cache, remote = caching(value("cache"), checks, paths)
        return Spec(
            path=self._path,
            root=Path(os.path.abspath(self._path)).parent,
            text=self._text,
            version=1,
            models=models,
            datasets=datasets,
            platforms=platforms,
            targets=targets,
            groups=groups,
            evaluate=evaluate,
            publish=publish,
            defaults=self._defaults(value("defaults")),
            env=self._env(value("env")),
            cache=cache,
            remote=remote,
            python_path=self._python_path(value("python-path"), paths),
            preload=self._preload(value("preload")),
            texts=self._problems.texts,
            outside=outside,
            sandbox=self._sandbox(confined := value("sandbox")),
            sandbox_mark=confined.mark if confined is not None else None,
            host=self._host(place := value("host")),
            host_mark=place.mark if place is not None else None,
            environments=environments(value("environments"), checks, paths),
        )

    def _top(self, root: Node) -> Map:
        top = self._checks.mapping(root, "a Compressfile", TOP_KEYS)
        if top is None:
            return _EMPTY
        version = top.get("version")
        if version is None:
            self._checks.add(
                "the file has no 'version'", Mark(self._file, 1, 1), "write 'version: 1' as its first line"
            )
        elif not isinstance(version, Scalar) or type(version.value) is not int or version.value != 1:
            hint = "remove the quotes" if isinstance(version, Scalar) and version.value == "1" else "write 'version: 1'"
            self._checks.wrong(version, "'version'", "1, the only one this release reads", hint)
        return top

    def _variables(self, node: Node | None) -> Map | None:
        found = None if node is None else self._checks.mapping(node, "'vars'")
        for key, _ in found.entries if found is not None else ():
            if not IDENTIFIER.fullmatch(str(key.value)):
                self._checks.add(f"'{key.value}' cannot name a variable", key.mark, "use letters, digits, '-' and '_'")
        return found

    def _section(self, node: Node | None, kind: str, read: Callable[[Scalar, Node], T | None]) -> dict[str, T]:
        """The entries of one section that could be read; all that have a name are declared."""
        found = None if node is None else self._checks.mapping(node, f"'{kind}s'")
        result: dict[str, T] = {}
        for key, value in found.entries if found is not None else ():
            if self._declare(kind, key):
                entry = read(key, value)
                if entry is not None:
                    result[str(key.value)] = entry
        return result

    def _datasets(self, node: Node | None, paths: Paths) -> dict[str, DatasetSpec]:
        """The datasets, each part of a split one for itself. The name of one that leaves no rest stands for nothing."""
        entries = self._section(
            node, "dataset", lambda key, value: sections.dataset(key, value, self._checks, paths, self._sources)
        )
        found: dict[str, DatasetSpec] = {}
        for name, split in entries.items():
            for key, spec in split:
                if key.value == name or self._declare("dataset", key):
                    found[spec.name] = spec
            if split and name not in found:
                del self._declared["dataset"][name]
        return found

    def _declare(self, kind: str, key: Scalar) -> bool:
        """Take the key's name; models, targets and groups share theirs."""
        name = self._checks.name(key, kind)
        if name is None:
            return False
        together = ("model", "target", "group") if kind in ("model", "target", "group") else (kind,)
        if kind in together[:3] and len(together) == 3 and name in COMMANDS:
            self._checks.add(
                f"a {kind} cannot have the name '{name}': it is a command of cbuild", key.mark, "choose another name"
            )
            return False
        for other in together:
            first = self._declared[other].get(name)
            if first is not None:
                self._checks.add(
                    f"'{name}' is already the name of a {other}",
                    key.mark,
                    f"see {first.mark}; models, targets and groups share one namespace",
                )
                return False
        self._declared[kind][name] = key
        return True

    def _targets(self, node: Node | None, scope: Scope, reader: Targets) -> dict[str, TargetSpec]:
        found = None if node is None else self._checks.mapping(node, "'targets'")
        declared = [
            (key, expanded, written)
            for written, body in (found.entries if found is not None else ())
            for key, expanded in expand(written, body, scope, self._checks)
            if not isinstance(key, Broken) and self._declare("target", key)
        ]
        models = origins({str(key.value): body for key, body, _ in declared}) if reader.special else {}
        targets: dict[str, TargetSpec] = {}
        for key, expanded, written in declared:
            target = reader.target(key, expanded, written, models.get(str(key.value), ""))
            if target is not None:
                targets[target.name] = target
        return targets

    def _groups(self, node: Node | None, targets: dict[str, TargetSpec]) -> dict[str, tuple[str, ...]]:
        found = None if node is None else self._checks.mapping(node, "'groups'")
        if found is None:
            return {}
        kept = tuple(entry for entry in found.entries if self._declare("group", entry[0]))
        return flatten_groups(Map(kept, found.mark), self._declared, targets, self._checks)

    def _publish(
        self, node: Node | None, groups: dict[str, tuple[str, ...]], targets: dict[str, TargetSpec]
    ) -> dict[str, PublishSpec]:
        found = None if node is None else self._checks.mapping(node, "'publish'")
        result: dict[str, PublishSpec] = {}
        for key, value in found.entries if found is not None else ():
            entry = publishing(key, value, self._checks) if self._declare("destination", key) else None
            if entry is not None:
                wanted = members(entry[1], f"'targets' of '{key.value}'", groups, self._declared, targets, self._checks)
                result[str(key.value)] = replace(entry[0], targets=wanted)
        return result

    def _defaults(self, node: Node | None) -> RunOptions:
        found = None if node is None else self._checks.mapping(node, "'defaults'", OPTIONS)
        return RunOptions() if found is None else self._checks.options(found)

    def _env(self, node: Node | None) -> tuple[str, ...]:
        names = [] if node is None else self._checks.texts(node, "'env'")
        for name, mark in names:
            if not _VARIABLE.fullmatch(name):
                hint = "list names only; the values come from the environment" if "=" in name else None
                self._checks.add(f"'{name}' cannot name an environment variable", mark, hint)
        return tuple(dict.fromkeys(name for name, _ in names))

    def _host(self, node: Node | None) -> str:
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return ""
        return self._checks.text(node, "'host'", "an address", "e.g. host: user@box") or ""

    def _sandbox(self, node: Node | None) -> str:
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return "auto"
        return self._checks.choice(node, "'sandbox'", SANDBOXES) or "auto"

    def _python_path(self, node: Node | None, paths: Paths) -> tuple[str, ...]:
        return (".",) if node is None else paths.many(node, "'python-path'")

    def _preload(self, node: Node | None) -> tuple[str, ...]:
        names = self._checks.texts(node, "'preload'") if node is not None else []
        for name, mark in names:
            if not _MODULE.fullmatch(name):
                self._checks.add(
                    f"'{name}' is not the name of a module", mark, "write it as in an import: sklearn.datasets"
                )
        return tuple(dict.fromkeys(name for name, _ in names))

    def _outside(self, node: Node) -> tuple[str, ...]:
        places = []
        for text, mark in self._checks.texts(node, "'outside'"):
            place = normal(text)
            if leaves_root(place):
                places.append(place)
            else:
                self._checks.add(f"'{text}' is inside the project", mark, "list only places outside it, or remove it")
        return tuple(places)
