"""Writes the state that :mod:`compressbuild.noop` checks."""

from __future__ import annotations

import contextlib
import marshal
import os
import sys
import time
from array import array
from collections.abc import Iterable, Iterator

from .. import noop
from ..digest import CLOCK_GRANULARITY_NS, Digest
from ..platforms.libraries import searched
from ..project import Project
from ..store import Hit, Store
from . import signing
from .outcome import BuildReport

__all__ = ["inputs", "write"]

_KEEP = 32  # command lines remembered
_ASKED = ("CBUILD_CACHE", "GITHUB_STEP_SUMMARY", signing.VARIABLE)
_SEARCHED = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")


def inputs(project: Project, targets: Iterable[str]) -> Iterable[str]:
    """Every file and directory that the targets are made from, and those whose coming would matter."""
    yield str(project.spec.path)
    yield os.path.abspath(project.lock)
    yield from (path for path, _ in project.registry.fingerprint())
    for index in project.graph.needed(targets):
        yield from project.keyer.watched(project.graph.nodes[index])


def _watched(project: Project, targets: Iterable[str]) -> Iterable[str]:
    """Every file and directory that can change what this command would do."""
    graph, store = project.graph, project.store
    yield from inputs(project, targets)
    yield from _engine()
    if key := project.environ.get(signing.VARIABLE):
        yield os.path.abspath(key)
    traces = [project.traces.get(graph.nodes[index].position) for index in graph.needed(targets)]
    for key in {trace.key for trace in traces if trace is not None}:
        yield from _objects(store, key)
    for name in targets:
        for base, _, files in os.walk(project.publisher.path(name)):
            yield base
            yield from (f"{base}/{file}" for file in files)


def _engine() -> Iterator[str]:
    """The engine's own source, and where something may come to be installed."""
    package = os.path.dirname(noop.__file__)
    yield from (os.path.join(base, n) for base, _, names in os.walk(package) for n in names if n.endswith(".py"))
    folders = dict.fromkeys(map(os.path.abspath, sys.path))
    yield from (folder for folder in folders if folder != os.path.dirname(package))  # a checkout: changes all the time


def _objects(store: Store, key: Digest) -> Iterator[str]:
    """The record of an action, and the objects of its output that are there."""
    yield store.dir.record(key)
    found = store.lookup(key)
    if isinstance(found, Hit):
        output = found.result.output
        yield store.dir.object(output)
        yield from (store.dir.object(file.digest) for file in store.cas.read_tree(output).files)


def write(project: Project, argv: list[str], report: BuildReport, text: str) -> OSError | None:
    """Remember that ``argv`` has nothing left to do; what prevented it. Waits for the file system's clock, so that
    later writes show.

    Of a build that skipped a target, the places where what the machine lacks would appear are watched, too.
    """
    lacking = any(target.status == "skipped" for target in report.targets)
    targets = [r.name for r in report.targets if r.status in ("published", "up to date")]
    root = str(project.root) + "/"
    full = list(dict.fromkeys((*_watched(project, targets), *(map(os.path.abspath, searched()) if lacking else ()))))
    newest = 0
    signatures = []
    for path in full:
        seen = noop.signature(path)
        newest = max(newest, seen[0], seen[3]) if seen[0] != noop.ABSENT else newest
        signatures.append(seen)
    if newest > time.time_ns() + CLOCK_GRANULARITY_NS:
        return None  # a file of the future: its stat will prove nothing until then
    while time.time_ns() - newest < CLOCK_GRANULARITY_NS:
        time.sleep(0.002)
    if [noop.signature(path) for path in full] != signatures:
        return None  # somebody is writing at this moment: the next build looks again
    try:
        packed = array("Q", [number for four in signatures for number in four]).tobytes()
    except OverflowError:  # a file from before 1970
        return None
    files = [path.removeprefix(root) if path != root[:-1] else "." for path in full]
    names = [*project.spec.env, *_ASKED, *(_SEARCHED if lacking else ())]
    environment = [(n.encode(), v.encode() if (v := project.environ.get(n)) is not None else None) for n in names]
    prefix, place, asked = noop.locate(argv)
    state = (noop.identity(), asked, environment, files, packed, text)
    path = os.path.join(project.root, place.removeprefix(prefix))
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(noop.sealed(marshal.dumps(state)))  # type: ignore[arg-type]
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        _prune(os.path.dirname(path))
    except OSError as error:
        return error
    return None


def _prune(directory: str) -> None:
    entries = sorted(os.scandir(directory), key=lambda entry: entry.stat().st_mtime_ns)
    for entry in entries[:-_KEEP]:
        os.unlink(entry.path)
