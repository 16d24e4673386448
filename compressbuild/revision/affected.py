"""Targets that a change affects: what they would be made of differs from what a revision would make them of."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ..digest import Digest, digest_value
from ..errors import CompressfileError, UsageError
from ..graph import TargetPlan
from ..project import Project
from .checkout import Checkout, checked_out

__all__ = ["Affected", "affected", "revised"]


class Affected(msgspec.Struct, frozen=True):
    """``targets``: name → why. ``notes``: what of the revision could not be seen."""

    targets: dict[str, str]
    notes: tuple[str, ...] = ()


def affected(
    project: Project,
    ref: str,
    targets: Iterable[str],
    overrides: Sequence[str] = (),
    *,
    until: tuple[Project, str] | None = None,
) -> Affected:
    """Which of ``targets`` differ from the revision ``ref``. Nothing is built. ``overrides``: as to ``--set``.
    ``until``: where ``project`` is that of a revision, the project of the work tree, and the revision."""
    names = tuple(targets)
    home, end = until or (project, None)
    now = _Recipes(project)
    keys = {name: now.target(name) for name in names}
    if project.keyer.problems:
        raise CompressfileError(dict.fromkeys(project.keyer.problems), dict(project.spec.texts))
    try:
        with checked_out(home.spec.path, ref, _own(home)) as found:
            return _compared(project, found, keys, now, overrides, end)
    except UsageError as error:
        if not str(error).startswith(f"'{ref}' has no "):
            raise
        return Affected(dict.fromkeys(names, "new"), (f"{error}: every target is new",))


@contextmanager
def revised(project: Project, ref: str, overrides: Sequence[str] = ()) -> Iterator[tuple[Project, list[str]]]:
    """The project as it was at a revision, with the cache of ``project``; and what of it is not here."""
    with checked_out(project.spec.path, ref, _own(project)) as found:
        then = _opened(project, found, overrides)
        try:
            yield then, found.notes
        finally:
            then.close()


def _own(project: Project) -> frozenset[Path]:
    return frozenset({project.published, project.cache_path})


def _opened(project: Project, found: Checkout, overrides: Sequence[str]) -> Project:
    then = Project(found.file, overrides, cache=project.cache_path, environ=project.environ)
    then.__dict__["facts"] = project.facts
    return then


def _compared(
    project: Project,
    found: Checkout,
    keys: dict[str, Digest],
    now: _Recipes,
    overrides: Sequence[str],
    end: str | None,
) -> Affected:
    changed = _outside(found, end)
    try:
        then = _opened(project, found, overrides)
        before = _Recipes(then)
        declared = then.graph.targets
    except CompressfileError as error:
        said = f"the Compressfile of '{found.ref}' is not sound ({error.diagnostics[0].message}): every target counts"
        return Affected(dict.fromkeys(keys, "unknown"), (*found.notes, said))
    result = {}
    for name, key in keys.items():
        if name not in declared:
            result[name] = "new"
        elif before.target(name) != key:
            result[name] = now.difference(name, before)
        elif touched := sorted(changed & now.watched(name)):
            result[name] = f"code outside the project: {touched[0]}"
    return Affected(result, tuple(found.notes))


def _outside(found: Checkout, end: str | None) -> frozenset[str]:
    """Changed files that are read where they lie, not in the checkout: plugins installed from the same repository.
    ``end``: changed up to this revision, not up to the work tree."""
    repository = found.repository
    top = os.path.realpath(repository.top)
    changed = repository.changed(found.commit, None if end is None else repository.commit(end))
    return frozenset(os.path.join(top, path) for path in changed)


class _Recipes:
    """Keys as they follow from the sources alone: the place of an input's digest is taken by the input's recipe."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._keys: dict[int, Digest] = {}
        project.graph  # noqa: B018  what is wrong in it is raised here

    def target(self, name: str) -> Digest:
        """What a target is made of, measured by, and judged by."""
        graph = self._project.graph
        plan = graph.targets[name]
        keys = [self.node(index) for index in graph.ordered(plan.nodes)]
        return digest_value({"recipe": [self.node(plan.artifact), sorted(set(keys)), _judged(plan)]})

    def node(self, index: int) -> Digest:
        keyer, graph = self._project.keyer, self._project.graph
        for each in graph.ordered([index]):
            if each not in self._keys:
                node = graph.nodes[each]
                inputs = {role: self._keys[source] for role, source in node.inputs.items()}
                self._keys[each] = keyer.key(keyer.parts(node, inputs))
        return self._keys[index]

    def difference(self, name: str, before: _Recipes) -> str:
        """The first step that differs."""
        graph = self._project.graph
        known = set(before._keys.values())
        for index in graph.ordered(graph.targets[name].nodes):
            if self.node(index) not in known:
                return graph.nodes[index].position
        return "gates"

    def watched(self, name: str) -> frozenset[str]:
        keyer, graph = self._project.keyer, self._project.graph
        root = os.path.join(self._project.root, "")
        paths = {path for i in graph.ordered(graph.targets[name].nodes) for path in keyer.watched(graph.nodes[i])}
        own = {os.path.join(root, path) for i in graph.ordered(graph.targets[name].nodes) for path in self._own(i)}
        return frozenset(os.path.realpath(path) for path in paths - own)

    def _own(self, index: int) -> tuple[str, ...]:
        """Files that the checkout has of its own: listed ones, and the project's code."""
        keyer, node = self._project.keyer, self._project.graph.nodes[index]
        return (*keyer.read_files(node), *keyer.code_files(node))


def _judged(plan: TargetPlan) -> list[object]:
    gates = [
        {key: value for key, value in msgspec.to_builtins(gate.spec).items() if key != "mark"} for gate in plan.gates
    ]
    return [gates, plan.baseline, plan.spec.platform]
