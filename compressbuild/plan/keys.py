"""The action key: the digest of everything that can change a node's output.

    part          what it holds                                                     when it changes
    ------------  ----------------------------------------------------------------  ---------------------------------
    format        the version of this table                                         compressbuild's key format
    technique     name and version of the technique, backend or metric              the plugin author bumps it
    plugin code   syntax-tree digest of its function, of its parameters' type, and  the plugin's code is edited
                  of what loads its inputs, in every package of the distribution;
                  bytes of the data files that this code names
    parameters    every parameter after defaults and ``auto``                       the Compressfile, ``--set``
    inputs        the digest of each input artifact, by role                        an input's bytes
    platform      settings with which an input is run (metrics)                     a platform's settings
    data          loader and arguments of each dataset, or source, keys and rows;   the Compressfile
                  factory and its arguments
    code          syntax-tree digest of each factory, loader and function used      the user's code, or what it imports
    files         bytes of each listed file, and whether it is executable; each     the files
                  empty directory in a listed one
    tools         versions of Python, of the distributions that the record          an upgrade
                  declares, and of those that the code imports; in an environment
                  of its own, of all that the environment's lock pins
    facts         the platform facts that the record declares; of a measurement on  another machine
                  another machine, which one that is
    run           seed, threads, timeout; in an environment of its own, the digest  the Compressfile, the lock
                  of what its lock pins
    environment   values of the allowed environment variables                       the environment

What is not in it: names of targets and datasets, comments and formatting, absolute paths, the memory limit, the time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ..closure import CodeClosure, CodeIndex, top_level
from ..closure.modules import ENGINE
from ..compressfile.nodes import plain
from ..compressfile.spec import Spec
from ..digest import Digest, StatCache, digest_value
from ..environment import Environments
from ..errors import Diagnostic, Mark
from ..graph import Node
from ..platforms import Facts
from ..registry import Registry
from ..registry.installed import Installed
from .arguments import unlisted
from .cover import Cover
from .listing import Listings

if TYPE_CHECKING:
    from ..machines.machines import Machines

__all__ = ["KEY_FORMAT", "Keyer", "Parts"]

KEY_FORMAT = 2

Parts = dict[str, dict[str, Any]]
"""The parts of a key: part → name → value (JSON values only)."""


class Keyer:
    """Computes the parts of a node's key. What it cannot find (a file, a module) is collected in ``problems``."""

    def __init__(
        self,
        spec: Spec,
        facts: Facts,
        code: CodeIndex,
        stat: StatCache,
        registry: Registry,
        environ: Mapping[str, str],
        machines: Machines | None = None,
        environments: Environments | None = None,
    ) -> None:
        """``environments``: None for those in the cache that the Compressfile names."""
        self.spec = spec
        self.environments = environments or Environments(spec, registry, spec.root / spec.cache)
        self.problems: list[Diagnostic] = []
        self._facts = facts
        self._code = code
        self._registry = registry
        self.machines = machines
        self.environment = {name: environ[name] for name in spec.env if name in environ}
        self._watched: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._named: dict[tuple[object, ...], tuple[str, ...]] = {}  # plugin functions, by what names them
        self._digests: dict[tuple[str, ...], dict[str, Digest]] = {}  # of these functions
        self._versions: dict[tuple[object, ...], dict[str, str | None]] = {}  # tools, by what needs them
        self._listings = Listings(str(spec.root), spec.path.name, stat, self.problems)

    @staticmethod
    def key(parts: Parts) -> Digest:
        return digest_value({"action": parts})

    def parts(self, node: Node, inputs: Mapping[str, Digest]) -> Parts:
        """``inputs``: role → digest of the input artifact."""
        own = self.environments.found(node.environment, self.problems)
        lock = {"lock": own.lock.digest} if own is not None else {}
        return {
            "format": {"version": KEY_FORMAT},
            "technique": {"name": node.name, "version": node.version, "role": node.role},
            "plugin code": self.plugin_code(node),
            "parameters": dict(node.key_params),
            "inputs": dict(inputs),
            "platform": {
                role: {"owner": run.owner, "version": run.version, "settings": dict(run.settings or {})}
                for role, run in node.run_with.items()
            },
            "data": self._data(node),
            "code": {ref: self._user_code(ref, mark) for ref, mark in self.code_references(node)},
            "files": {
                path: digest
                for pattern, mark in self.file_patterns(node)
                for path, digest in self._listings.get(pattern, mark).parts().items()
            },
            "tools": self.tools(node),
            "facts": self.facts_of(node),
            "run": {
                "seed": node.options.seed,
                "threads": node.options.threads,
                "timeout": node.options.timeout,
                **lock,
            },
            "environment": dict(self.environment) if node.run else {},
        }

    def check(self, node: Node) -> None:
        """Look for all files and code that the node's key covers. What is not there joins ``problems``."""
        self.plugin_code(node)
        self.environments.found(node.environment, self.problems)
        for reference, mark in self.code_references(node):
            self._user_code(reference, mark)
        for pattern, mark in self.file_patterns(node):
            self._listings.get(pattern, mark)
        for what, names, declared in (
            ("model", node.models, self.spec.models),
            ("dataset", node.datasets, self.spec.datasets),
        ):
            for name in names:
                self.problems += unlisted(declared[name], self._listings, str(self.spec.root), f"{what} '{name}'")

    def cover(self, node: Node) -> Cover:
        """Every file that the node's key covers, as it was when the key was made."""
        found = tuple(self._listings.get(pattern, mark) for pattern, mark in self.file_patterns(node))
        kind = self._registry.kinds.get(node.kind)
        checks = (self._code.plugin(kind.validate),) if kind is not None and kind.validate else ()
        return Cover(str(self.spec.root), self._listings, found, self._closures(node), self._code.seen, checks)

    def renew(self) -> None:
        """Forget what was read of the project: something has changed."""
        self._code = self._code.renewed()
        self._listings.forget()
        for known in (self._watched, self._digests, self._versions):
            known.clear()
        self.environments.forget()

    def facts_of(self, node: Node) -> dict[str, Any]:
        """Of its machine. A measurement is of that machine alone: of two with one processor, each has its own."""
        if not node.host or self.machines is None:
            return {name: self._facts.get(name) for name in sorted(set(node.facts))}
        facts = self.machines.facts(node.host).select(node.facts)
        ready = self.machines.ready(node.host)
        return facts | ({"host": ready.host if ready is not None else None} if node.exclusive else {})

    def plugin_code(self, node: Node) -> dict[str, Digest]:
        """Function or type of a plugin → the digest of its syntax tree. What is missing joins ``problems``."""
        references = self._plugin_references(node)
        if (known := self._digests.get(references)) is not None:
            return {**known}
        closures = {ref: self._code.plugin(ref) for ref in references}
        for ref, closure in closures.items():
            for problem in closure.missing:
                hint = problem.hint or f"it is the function of '{node.name}': reinstall the plugin, or fix its record"
                self.problems.append(Diagnostic(f"{ref}: {problem.message}", problem.mark or node.mark, hint))
        digests = {ref: closure.digest for ref, closure in closures.items()}
        if not any(closure.missing for closure in closures.values()):
            self._digests[references] = digests
        return {**digests}

    def tools(self, node: Node) -> dict[str, str | None]:
        """Versions of Python, of the record's declared distributions, and of those that the code imports; or all that
        is in the node's environment."""
        if (own := self.environments.found(node.environment, self.problems)) is not None:
            return {"python": own.python.version if own.python is not None else None, **own.lock.versions}
        own_code, plugin_code = self.code_references(node), self._plugin_references(node)
        of = (node.tools, tuple(ref for ref, _ in own_code), plugin_code)
        if not node.host and (known := self._versions.get(of)) is not None:
            return {**known}
        external = {module for ref, _ in own_code for module in self._code.closure(ref).external}
        external |= {module for ref in plugin_code for module in self._code.plugin(ref).external}
        python = f"{sys.version_info[0]}.{sys.version_info[1]}"
        installed: Registry | Installed = self._registry
        if node.host and self.machines is not None:
            ready = self.machines.ready(node.host)
            python, installed = ready.python if ready is not None else "", self.machines.installed(node.host)
        found = dict(installed.tool_versions(node.tools))
        for imported in installed.module_versions(sorted(external)).values():
            found.update(imported)
        versions = {"python": python, **dict(sorted(found.items()))}
        if not node.host:
            self._versions[of] = versions
        return {**versions}

    # -- what a node reads, also for the worker ----------------------------------------------------------------------

    def code_references(self, node: Node) -> tuple[tuple[str, Mark], ...]:
        """``module:attr`` of every piece of user code that the node runs, with where it is named."""
        found = []
        for name in node.models:
            model = self.spec.models[name]
            if model.factory is not None:
                found.append((model.factory, model.marks.get("factory", model.mark)))
        for name in node.datasets:
            data = self.spec.datasets[name]
            if name not in node.data_with:
                found.append((data.loader, data.marks.get("loader", data.mark)))
        found += [(reference, node.mark) for reference in node.functions]
        return tuple(found)

    def file_patterns(self, node: Node) -> tuple[tuple[str, Mark], ...]:
        """Every listed path or glob that the node may read, with where it is listed."""
        found = [(path, node.mark) for path in node.files]
        found += [file for with_ in node.data_with.values() for file in with_.files]
        for name in node.models:
            model = self.spec.models[name]
            found += [(path, model.marks.get("files", model.mark)) for path in model.files]
        for name in node.datasets:
            data = self.spec.datasets[name]
            found += [(path, data.marks.get("files", data.mark)) for path in data.files]
        return tuple(found)

    def read_files(self, node: Node) -> tuple[str, ...]:
        return tuple(
            sorted(
                {path for pattern, mark in self.file_patterns(node) for path in self._listings.get(pattern, mark).files}
            )
        )

    def code_files(self, node: Node) -> tuple[str, ...]:
        return tuple(sorted({f for ref, _ in self.code_references(node) for f in self._code.closure(ref).files}))

    def packages(self, nodes: Iterable[Node]) -> frozenset[str]:
        """Every package of plugins, wherever it is installed, whose code counts by its source."""
        nodes = tuple(nodes)
        tops = {_top(ref) for node in nodes for ref in self._plugin_references(node)}
        apart = {ref for node in nodes if node.environment is not None for ref in self._plugin_references(node)}
        if apart:  # there, what these import of other plugins is found by its name alone
            known = {_top(plugin.module) for plugin in self._registry.plugins}
            known = known.union(*(self._registry.siblings(top) for top in known))
            for closure in map(self._code.plugin, apart):
                tops |= known.intersection(closure.external).union(top_level(path) for path in closure.paths)
            tops -= {ENGINE, ""}
        return frozenset(tops).union(*(self._registry.siblings(top) for top in tops))

    def watched(self, node: Node) -> tuple[str, ...]:
        """Absolute paths whose change can change the key: files that count, and those that would if they were made."""
        patterns = self.file_patterns(node)
        own, plugin = [ref for ref, _ in self.code_references(node)], self._plugin_references(node)
        lock = self.environments.lock_path(node.environment) if node.environment is not None else None
        of = (*own, "", *plugin, "", *(pattern for pattern, _ in patterns), "", lock or "")
        if of not in self._watched:
            found = [path for closure in self._closures(node) for path in (*closure.paths, *closure.absent)]
            found += [os.path.join(self.spec.root, path) for path in self.read_files(node)]
            found += [path for pattern, _ in patterns for path in self._listings.watched(pattern)]
            found += [lock] if lock is not None else []
            self._watched[of] = tuple(found)
        return self._watched[of]

    def _closures(self, node: Node) -> tuple[CodeClosure, ...]:
        own = [self._code.closure(ref) for ref, _ in self.code_references(node)]
        return (*own, *(self._code.plugin(ref) for ref in self._plugin_references(node)))

    # -- parts -------------------------------------------------------------------------------------------------------

    def _plugin_references(self, node: Node) -> tuple[str, ...]:
        """The functions of plugins that run, and the types that check their parameters. A type of the engine's own
        counts by the format version."""
        by = None if node.run_with or node.data_with else (node.run, node.params_type, node.carried)
        if by is not None and (known := self._named.get(by)) is not None:
            return known
        runs = node.run_with.values()
        named = [node.run, node.params_type, *(ref for run in runs for ref in (run.load, run.settings_type))]
        named += [ref for with_ in node.data_with.values() for ref in (with_.load, with_.params_type)]
        named += node.carried
        found = tuple(dict.fromkeys(ref for ref in named if ref and not ref.startswith("compressbuild.")))
        if by is not None:
            self._named[by] = found
        return found

    def _data(self, node: Node) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in node.models:
            model = self.spec.models[name]
            if model.source is not None:
                continue  # what it is made of is in its artifact
            found.setdefault("models", []).append([model.factory, plain(model.args) if model.args is not None else {}])
        for name in node.datasets:
            data = self.spec.datasets[name]
            if (with_ := node.data_with.get(name)) is not None:
                said = {"version": with_.version, "params": dict(with_.params), "rows": msgspec.to_builtins(with_.rows)}
                found.setdefault("datasets", []).append([with_.load, said])
                continue
            found.setdefault("datasets", []).append([data.loader, plain(data.args) if data.args is not None else {}])
        return found

    def _user_code(self, reference: str, mark: Mark) -> Digest:
        closure = self._code.closure(reference)
        self.problems += [
            Diagnostic(problem.message, problem.mark or mark, problem.hint) for problem in closure.missing
        ]
        return closure.digest


def _top(reference: str) -> str:
    """``package.module:function`` → ``package``."""
    return reference.partition(":")[0].partition(".")[0]
