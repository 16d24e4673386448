"""A build of what a change can reach: for every other target the report says what the last build found.

Parsing, resolving, looking up and publishing are those of any build, on a text that holds the entries they need. What
is left out was compared by stat, as the no-op would. Where it cannot be told what a change reaches, there is no part.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from ...compressfile.load import shown
from ...compressfile.text import decode
from ...digest import read_regular
from ...errors import CbuildError
from ...evaluate.roles import Roles
from ...noop import signature
from ...platforms import lacking
from ...project import Project, Selection
from ..outcome import BuildReport, TargetReport
from . import kept
from .affected import affected, needed_entries, same_places, without
from .kept import Kept
from .rows import gathered

__all__ = ["Part", "find"]


class Part(NamedTuple):
    """``project``: opened on a part of the text. ``selection``: the targets of it to build. ``was``: the state of the
    last build, without them. ``order``: of every target in the report."""

    project: Project
    selection: Selection
    was: Kept
    order: tuple[str, ...]

    def whole(self, report: BuildReport) -> BuildReport:
        """The report of the whole build, from that of the part."""
        rows, roles = self.was.rows, self.was.roles
        rest = {name: _up_to_date(row.report) for name, row in rows.targets.items()}
        rest |= {each.name: each for each in report.targets}
        graph = self.project.graph
        needed = {graph.identities[index] for index in graph.needed(self.selection.names)}
        counts = dict(report.counts)
        counts["cached"] = counts.get("cached", 0) + len(rows.nodes.keys() - needed)
        return msgspec.structs.replace(
            report,
            targets=tuple(rest[name] for name in self.order),
            counts=counts,
            units={**rows.units, **report.units},
            roles=Roles(shown=roles[0], quality=roles[1], speed=roles[2]),
        )

    def write(self, argv: list[str], report: BuildReport, text: str) -> OSError | None:
        """Remember that ``argv`` has nothing left to do. ``report``: of the part, in which nothing failed."""
        fresh = gathered(self.project, report, ())
        old = self.was.rows
        rows = old._replace(
            positions=_joined(old.positions, fresh.positions),
            nodes={**old.nodes, **fresh.nodes},
            targets={name: (fresh.targets.get(name) or old.targets[name]) for name in self.order},
            units={**old.units, **fresh.units},
        )
        made = {path for node in fresh.nodes.values() for path in node.stored}
        made |= {path for target in fresh.targets.values() for path in target.files}
        known = {path: seen for path, seen in self.was.files.items() if path not in made}
        return kept.save(
            str(self.project.root), argv, self.was._replace(rows=rows, files=known), self.project.opened, text
        )


def _joined(old: Mapping[bytes, tuple[str, ...]], new: Mapping[bytes, tuple[str, ...]]) -> dict[bytes, tuple[str, ...]]:
    return {**old, **{node: tuple(dict.fromkeys((*own, *old.get(node, ())))) for node, own in new.items()}}


def _up_to_date(encoded: bytes) -> TargetReport:
    report = msgspec.msgpack.decode(encoded, type=TargetReport)
    return msgspec.structs.replace(report, status="up to date") if report.status == "published" else report


def find(file: Path, overrides: Sequence[str], cache: Path | None, argv: list[str]) -> Part | None:
    """The part of this command's build that a change can reach; None: build the whole."""
    was = kept.load(argv)
    if was is None or not was.entries.names:
        return None
    root = os.path.join(os.path.dirname(os.path.abspath(file)), "")
    now = kept.changed(root, was.files)
    own = os.path.abspath(file).removeprefix(root)
    if own not in was.rows.shared or not (set(was.rows.shared) & now.keys() <= {own}):
        return None
    try:
        text = decode(read_regular(file), shown(file)).removeprefix("\ufeff")
    except (OSError, CbuildError):
        return None
    found = was.entries.changed(was.text, text) if signature(root + own) == now.get(own, was.files[own]) else None
    if found is None:
        return None
    entries, edited = found
    touched = {name for number in edited for name in entries.names[number]}
    nodes, targets = affected(was.rows, now.keys(), touched)
    if 2 * len(targets) > len(was.rows.targets):
        return None
    lines = text.split("\n")
    wanted = needed_entries(entries, lines, was.rows, nodes, targets, edited)
    if 2 * len(wanted) > len(entries.names):
        return None
    if not kept.settle(now.values()):
        return None
    state = was._replace(text=text, entries=entries, files={**was.files, **now})
    try:
        project = Project(file, overrides, cache=cache, text=entries.part(lines, wanted))
    except CbuildError:
        return None
    try:
        part = _part(project, state, targets, touched)
        if part is not None and project.spec.targets.keys() == {name for at in wanted for name in entries.names[at]}:
            return part
    except CbuildError:  # it will be found again, in the whole
        pass
    project.close()
    return None


def _part(project: Project, was: Kept, targets: Collection[str], touched: Collection[str]) -> Part | None:
    """None if what is left out could matter after all."""
    graph, rows = project.graph, was.rows
    whole = all(name in rows.targets for names in was.entries.names for name in names)
    if project.registry.observers or not same_places(rows, graph, whole=whole):
        return None
    named = graph.metrics.keys()
    for old, new in zip(was.roles, kept.plain_roles(Roles.of(graph.metrics)), strict=True):
        if tuple(name for name in old if name in named) != new:
            return None
    order = tuple(rows.targets)
    missing = {name: graph.targets[name].missing for name in order if name in targets}
    skipped = {name: lacking(lacks) for name, lacks in missing.items() if lacks}
    if any(rows.targets[name].files for name in skipped):
        return None  # it could be built before
    selection = Selection(tuple(name for name in missing if name not in skipped), skipped)
    return Part(project, selection, was._replace(rows=without(rows, targets, touched, project.spec)), order)
