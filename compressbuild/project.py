"""An opened project: its Spec, graph, cache and keys; it is planned and built."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from . import place
from .errors import Incompatible, UsageError

if TYPE_CHECKING:
    from .closure import CodeIndex
    from .compressfile.spec import Spec
    from .digest import StatCache
    from .graph import Ask, Graph, TargetPlan, Types
    from .machines.machines import Machines
    from .plan import Keyer, Plan, Starts, Traces
    from .platforms import Facts
    from .publish import Publisher
    from .registry import Registry
    from .remote.remote import Remote
    from .store import Store

__all__ = ["STATE_DIR", "Project", "Selection", "connected", "narrowed", "renewed", "together", "undeclared"]

STATE_DIR = ".cbuild"
"""Directory beside the Compressfile for what belongs to this checkout: stat cache, traces, logs, the no-op state."""


class Selection:
    """``names``: targets to build, in file order. ``skipped``: target → why it cannot be built on this host.
    ``install``: the ``pip install`` that helps those that lack only Python packages. ``words``: what was asked for."""

    def __init__(
        self, names: tuple[str, ...], skipped: Mapping[str, str], install: str | None = None, words: Sequence[str] = ()
    ) -> None:
        self.names = names
        self.skipped = skipped
        self.install = install
        self.words = words


class Project:
    """Everything known about a Compressfile on this host. Opening one runs no user code and builds nothing.

    Each part is made, and its module imported, when it is first asked for: a command that lists pays for no plan.
    """

    def __init__(
        self,
        path: Path,
        overrides: Sequence[str] = (),
        *,
        cache: Path | None = None,
        environ: Mapping[str, str] | None = None,
        text: str | None = None,
    ) -> None:
        """``text``: what to read as if it stood in ``path``, which need not be there; None: what does."""
        self.opened = time.time_ns()
        if path.is_dir():
            raise UsageError(f"{path} is a directory", hint=f"name the file in it: -f {path / 'Compressfile'}")
        if text is None and not path.is_file():
            beside = path.with_name(path.name + ".example")
            hint = "name another with -f FILE"
            if beside.is_file():
                hint = f"'{beside.name}' is there: cp {beside.name} {path.name}"
            elif str(path) == place.NAME:
                hint = f"no directory above has one either, up to {place.edge()}; name one with -f FILE or -C DIR"
            raise UsageError(f"there is no {path}", hint=hint)
        self.root = _utf8(Path(os.path.abspath(path)).parent, "the project's directory")
        self.state = self.root / STATE_DIR
        self.published = self.root / "build"
        self.lock = path.with_name(path.name + ".lock")
        from .compressfile.load import load, loads

        known = (lambda: self.registry.platforms, lambda kind: self.registry.sources_of(kind))
        self.spec: Spec
        if text is None:
            self.spec = load(path, overrides, known[0], self.state / "parsed", known[1])
        else:
            self.spec = loads(text, path, overrides, known[0], sources=known[1])
        self.environ = os.environ if environ is None else environ
        self._cache = cache
        self._asks: tuple[Ask, ...] = ()
        self.remote: Remote | None = None

    @cached_property
    def registry(self) -> Registry:
        from .registry import discover

        return discover(cache=self.state / "plugins")

    @cached_property
    def facts(self) -> Facts:
        from .platforms import probe

        return probe()

    @cached_property
    def machines(self) -> Machines | None:
        """Those that the file may name; None if it names none."""
        if not self.spec.hosts:
            return None
        from .machines.machines import Machines

        return Machines(self.registry, self.state / "machines", self.environ.get("CBUILD_SANDBOX") or self.spec.sandbox)

    @cached_property
    def types(self) -> Types:
        from .graph import Types

        return Types(self.state / "params", self.registry.stamp)

    @cached_property
    def graph(self) -> Graph:
        from .graph import build_graph

        return build_graph(self.spec, self.registry, self.facts, self._asks, self.types, self.machines)

    def ask(self, *asks: Ask) -> None:
        """Add measurements to the graph that the Compressfile does not name."""
        self._asks = asks
        self.__dict__.pop("graph", None)

    @cached_property
    def cache_path(self) -> Path:
        where = self._cache or self.environ.get("CBUILD_CACHE") or self.root / self.spec.cache
        return _utf8(Path(os.path.abspath(where)), "the cache")

    @cached_property
    def store(self) -> Store:
        from .store import Store

        return Store(self.cache_path)

    @cached_property
    def stat(self) -> StatCache:
        from .digest import StatCache

        return StatCache(self.state / "stat", self.root)

    @cached_property
    def code(self) -> CodeIndex:
        from .closure import CodeIndex

        return CodeIndex(
            [self.root / path for path in self.spec.python_path],
            self.stat,
            self.root,
            self.registry.siblings,
            (self.state / "closures", self.registry.stamp),
        )

    @cached_property
    def keyer(self) -> Keyer:
        from .environment import Environments
        from .plan import Keyer

        environments = Environments(self.spec, self.registry, self.cache_path)
        return Keyer(
            self.spec, self.facts, self.code, self.stat, self.registry, self.environ, self.machines, environments
        )

    @cached_property
    def traces(self) -> Traces:
        from .plan import Traces

        return Traces(self.state / "traces")

    @cached_property
    def starts(self) -> Starts:
        from .plan import Starts

        return Starts(self.state / "starts")

    @cached_property
    def publisher(self) -> Publisher:
        from .publish import Publisher

        return Publisher(self.published, self.store, self.stat)

    def select(self, words: Iterable[str]) -> Selection:
        """Targets for what was typed. One asked for by name that cannot be built here raises Incompatible; one that
        ``all``, a group or a glob brought in is skipped."""
        from .compressfile.select import select
        from .platforms import install_line, lacking

        words = tuple(words)
        names, explicit = select(self.spec, words)
        lacks = [name for name in names if self.graph.targets[name].missing]
        if lacks and renewed(self, lacks):  # what another machine lacked may be there by now
            return self.select(words)
        skipped = {}
        for name in names:
            missing = self.graph.targets[name].missing
            if missing:
                skipped[name] = lacking(missing)
                if name in explicit:
                    hint = install_line([missing]) or "; ".join(dict.fromkeys(m.hint for m in missing if m.hint))
                    where = "" if all(each.everywhere for each in missing) else " on this machine"
                    raise Incompatible(f"target '{name}' cannot be built{where}: it {skipped[name]}", hint=hint or None)
        install = install_line(self.graph.targets[name].missing for name in skipped) if skipped else None
        return Selection(tuple(name for name in names if name not in skipped), skipped, install, words)

    def plan(self, targets: Iterable[str], *, remeasure: bool = False) -> Plan:
        from .plan import look_ahead, make_plan

        targets = tuple(targets)
        look_ahead(self.graph, targets, self.keyer, self.store)
        return make_plan(self.graph, targets, self.keyer, self.store.lookup, self.traces.get, remeasure=remeasure)

    def save(self) -> OSError | None:
        """Keep what was learnt for the next time; what prevented it. The work is done all the same."""
        parts = ("code", "stat", "traces", "starts", "types")
        saved = [self.__dict__[part].save() for part in parts if part in self.__dict__]
        return next((error for error in saved if error is not None), None)

    def close(self) -> None:
        self.save()
        if (machines := self.__dict__.get("machines")) is not None:
            machines.close()
        if self.remote is not None:
            self.remote.close()
        if "store" in self.__dict__:
            self.store.close()


def connected(project: Project) -> Remote | None:
    """Let the store look in the remote cache, too, if there is one. Nothing is asked of it yet. UsageError if its
    settings make no sense."""
    if not (project.spec.remote.url or project.environ.get("CBUILD_REMOTE")):
        return None
    if project.remote is None:
        from .remote.remote import Remote
        from .remote.settings import Settings

        settings = Settings.of(project.spec, project.environ)
        if settings is not None:
            project.remote = Remote(settings, project.store, project.state, project.environ)
            project.remote.check()
            project.store.shared.upstream = project.remote
    return project.remote


def narrowed(project: Project, plans: Mapping[str, TargetPlan]) -> Project:
    """The project with these targets, and no more of them than their plans say. It shares what the other has learnt and
    opened; close the other."""
    _ = (project.keyer, project.traces, project.publisher)  # made once, for both
    narrow = copy(project)
    narrow.graph = project.graph.narrowed(plans)
    return narrow


def together(projects: Mapping[str, Project], target: str) -> Project:
    """One project with the target of each, called by its key; they are of one Compressfile with other values. It shares
    what the first has learnt and opened; close that one."""
    from .graph.merging import merged

    first = next(iter(projects.values()))
    _ = (first.keyer, first.traces, first.publisher)
    joint = copy(first)
    joint.graph = merged({key: project.graph for key, project in projects.items()}, target)
    return joint


def renewed(project: Project, names: Sequence[str], *, check: bool = False, remeasure: bool = False) -> bool:
    """Ask the machines that targets need what they are now; whether the graph is made again because one has changed, or
    is gone. One that a scheduler gives is asked only if something has to run there: else a build that finds all in the
    cache would wait in a queue first."""
    if project.machines is None:
        return False
    nodes = (project.graph.nodes[index] for index in sorted(project.graph.needed(names)))
    hosts = list(dict.fromkeys(node.host for node in nodes if node.host))
    if not check and any(map(project.machines.dear, hosts)):
        plan = project.plan(names, remeasure=remeasure)
        due = {action.node.host for action in plan.actions.values() if action.status != "cached" or action.evicted}
        hosts = [host for host in hosts if host in due or not project.machines.dear(host)]
    if not project.machines.renew(hosts):
        return False
    for part in ("graph", "keyer"):
        project.__dict__.pop(part, None)
    return True


def undeclared(project: Project) -> list[str]:
    """What lies published of targets that the Compressfile does not declare: directories with a seal. OSError if the
    directory is there and cannot be listed."""
    from .publish import SEAL

    try:
        names = sorted(os.listdir(project.published))
    except (FileNotFoundError, NotADirectoryError):  # nothing is published
        return []
    seals = (project.published / name / SEAL for name in names if name not in project.spec.targets and name[0] != ".")
    return [seal.parent.name for seal in seals if seal.is_file() and not seal.parent.is_symlink()]


def _utf8(path: Path, what: str) -> Path:
    """Workers are sent paths as text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{what}, {os.fsencode(path)!r}, has a name that is not UTF-8", hint="rename it, or move what is in it"
        ) from None
    return path
