"""What a build looked at, by node and by target: the files behind each, and what the target came to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from ... import noop, signing
from ...compressfile.nodes import Map, Node, Scalar
from ...compressfile.spec import Spec
from ...digest import Digest
from ...environment.made import RECORD
from ...graph import Graph
from ...project import Project
from ...store import Hit, Store
from ..outcome import BuildReport, TargetReport

__all__ = ["NodeRow", "Rows", "TargetRow", "gathered", "inputs", "owner_of"]

Identity = bytes


class NodeRow(NamedTuple):
    """``inputs``: nodes. ``watched``: what its key covers; ``stored``: its record and its output in the cache."""

    inputs: tuple[Identity, ...]
    watched: tuple[str, ...]
    stored: tuple[str, ...]


class TargetRow(NamedTuple):
    """``nodes``: those that it reads itself. ``names``: targets that it cannot be read without. ``files``: all that is
    published of it. ``report``: its TargetReport, encoded."""

    nodes: tuple[Identity, ...]
    names: tuple[str, ...]
    files: tuple[str, ...]
    report: bytes


class Rows(NamedTuple):
    """Paths are absolute, or relative to the project. ``shared``: files that can change anything. ``positions``: of
    every node of the file, built or not, the places where it was written. ``nodes``: those that were needed."""

    shared: tuple[str, ...]
    positions: dict[Identity, tuple[str, ...]]
    nodes: dict[Identity, NodeRow]
    targets: dict[str, TargetRow]
    units: dict[str, str]

    def paths(self) -> Iterator[str]:
        """Every file that was looked at, some several times."""
        yield from self.shared
        for node in self.nodes.values():
            yield from node.watched
            yield from node.stored
        for target in self.targets.values():
            yield from target.files

    def inputs(self) -> set[str]:
        """The files that are read, and written by none of the engine."""
        return {*self.shared}.union(*{id(node.watched): node.watched for node in self.nodes.values()}.values())


def gathered(project: Project, report: BuildReport, searched: Iterable[str]) -> Rows:
    """What a build looked at, none of whose targets in ``report`` failed. ``searched``: where what the machine
    lacks would appear."""
    inside = _Inside(str(project.root))
    graph = project.graph
    built = [each.name for each in report.targets if each.status != "skipped"]
    needed = sorted(graph.needed(built))
    ids = graph.identities
    return Rows(
        tuple(dict.fromkeys(map(inside, (*_shared(project), *searched)))),
        {identity: tuple(graph.positions[index]) for index, identity in enumerate(ids)},
        {ids[index]: row for index, row in zip(needed, _node_rows(project, needed, inside), strict=True)},
        {each.name: _target_row(project, each, inside) for each in report.targets},
        dict(report.units),
    )


class _Inside:
    """Paths relative to the project, where they lie in it."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._prefix = root.rstrip("/") + "/"

    def __call__(self, path: str) -> str:
        return path.removeprefix(self._prefix) if path != self._root else "."


def inputs(project: Project, targets: Iterable[str]) -> Iterator[str]:
    """Every file and directory that the targets are made from, and those whose coming would matter."""
    yield from _declaring(project)
    for index in project.graph.needed(targets):
        yield from project.keyer.watched(project.graph.nodes[index])


def _declaring(project: Project) -> Iterator[str]:
    yield str(project.spec.path)
    yield os.path.abspath(project.lock)
    yield from (path for path, _ in project.registry.fingerprint())


def _shared(project: Project) -> Iterator[str]:
    yield from _declaring(project)
    yield from _engine()
    if key := project.environ.get(signing.VARIABLE):
        yield os.path.abspath(key)


def _engine() -> Iterator[str]:
    """The engine's own source, and where something may come to be installed."""
    package = os.path.dirname(noop.__file__)
    yield from (os.path.join(base, n) for base, _, names in os.walk(package) for n in names if n.endswith(".py"))
    folders = dict.fromkeys(map(os.path.abspath, sys.path))
    yield from (folder for folder in folders if folder != os.path.dirname(package))  # a checkout: changes all the time


def _node_rows(project: Project, needed: Sequence[int], inside: _Inside) -> Iterator[NodeRow]:
    graph, keyer = project.graph, project.keyer
    watched: dict[tuple[str, ...], tuple[str, ...]] = {}  # nodes of one kind watch the same
    for index in needed:
        node = graph.nodes[index]
        found = keyer.watched(node)
        if found not in watched:
            watched[found] = tuple(dict.fromkeys(map(inside, found)))
        trace = project.traces.get(node.position)
        stored = [*_objects(project.store, trace.key)] if trace is not None else []
        if node.environment is not None:
            stored.append(str(project.keyer.environments.directory(node.environment) / RECORD))
        inputs = dict.fromkeys(graph.identities[source] for source in node.inputs.values())
        yield NodeRow(tuple(inputs), watched[found], tuple(map(inside, stored)))


def _objects(store: Store, key: Digest) -> Iterator[str]:
    """The record of an action, and the objects of its output that are there."""
    yield store.dir.record(key)
    found = store.known(key) or store.lookup(key)
    if isinstance(found, Hit):
        output = found.result.output
        yield store.dir.object(output)
        yield from (store.dir.object(file.digest) for file in store.cas.read_tree(output).files)


def _target_row(project: Project, report: TargetReport, inside: _Inside) -> TargetRow:
    said = msgspec.msgpack.encode(report)
    names = tuple(dict.fromkeys((*_named(project.spec, report.name), *_owners(project.graph, report.name))))
    if report.status == "skipped":
        return TargetRow((), names, (), said)
    graph = project.graph
    nodes = tuple(graph.identities[index] for index in graph.targets[report.name].nodes)
    root = inside(str(project.publisher.path(report.name)))
    return TargetRow(nodes, names, tuple(_published(root, str(project.root))), said)


def _named(spec: Spec, name: str) -> Iterator[str]:
    """Targets that one names in the Compressfile."""
    target = spec.targets[name]
    evaluate = target.evaluate or spec.evaluate
    uses = evaluate.metrics if evaluate is not None else ()
    said = [target.source, *(gate.against or "" for gate in target.gates)]
    said += [evaluate.baseline or ""] if evaluate is not None else []
    for params in (*(step.params for step in target.steps), *(use.params for use in uses)):
        said += _texts(params) if params is not None else ()
    return (each for each in said if each in spec.targets)


def _texts(node: Node) -> Iterator[str]:
    if isinstance(node, Scalar):
        yield str(node.value)
    elif isinstance(node, Map):
        for _, value in node.entries:
            yield from _texts(value)
    else:
        for item in node.items:
            yield from _texts(item)


def _owners(graph: Graph, name: str) -> Iterator[str]:
    """Targets in which what ``name`` takes was written first."""
    left = list(graph.targets[name].nodes)
    seen = set(left)
    while left:
        index = left.pop()
        owner = owner_of(graph.positions[index][0])
        if owner != name:
            yield owner
            continue
        left += [source for source in graph.nodes[index].inputs.values() if source not in seen]
        seen.update(left)


def owner_of(position: str) -> str:
    """The target or model of a position."""
    return position.partition("/")[0]


def _published(directory: str, root: str) -> Iterator[str]:
    yield directory
    with os.scandir(os.path.join(root, directory)) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _published(f"{directory}/{entry.name}", root)
            else:
                yield f"{directory}/{entry.name}"
