"""The changes that advice asks for, tried: only what gives a Compressfile that still resolves is offered."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ..api.advice import Advice, Edit
from ..compressfile.load import shown
from ..errors import CbuildError
from ..project import Project
from .edits import edited

__all__ = ["Patched", "patched"]


class Patched(msgspec.Struct, frozen=True, kw_only=True):
    """``diffs``: for each advice the unified diff of its change, empty where there is none. ``text``: the file with
    all changes that go together; None if there is none. ``made``: which advice is in it."""

    diffs: tuple[str, ...]
    text: str | None
    made: tuple[bool, ...]


def patched(project: Project, given: Iterable[Advice]) -> Patched:
    """The changes of all advice, each alone and all together."""
    items = tuple(given)
    path, old = project.spec.path, project.spec.text
    alone: dict[Edit, str | None] = {a.edit: _checked(project, old, [a.edit]) for a in items if a.edit is not None}
    name = _name(path)
    diffs = tuple(_diff(name, old, alone[a.edit]) if a.edit is not None else "" for a in items)
    chosen: list[Edit] = []
    text = None
    for edit in (edit for edit, new in alone.items() if new is not None):
        together = _checked(project, old, [*chosen, edit])
        if together is not None:
            chosen.append(edit)
            text = together
    return Patched(diffs=diffs, text=text, made=tuple(a.edit in chosen for a in items))


def _checked(project: Project, old: str, edits: Iterable[Edit]) -> str | None:
    """The text with these changes, the last in the file first, so that each finds its place. None if one cannot be
    made, or if what comes of it does not resolve."""
    text = old
    wanted = sorted(edits, key=lambda e: (e.mark.line, e.mark.column), reverse=True)
    if any(map(_collide, wanted, wanted[1:])):
        return None
    try:
        for edit in wanted:
            # What was given with --set stands in no file.
            found = edited(text, edit) if edit.mark.file == shown(project.spec.path) else None
            if found is None or found == text:
                return None
            text = found
        trial = Project(project.spec.path, environ=project.environ, text=text)
        trial.__dict__.update(registry=project.registry, facts=project.facts, types=project.types)
        _ = trial.graph
    except CbuildError:
        return None
    return text


def _collide(one: Edit, two: Edit) -> bool:
    """Whether two changes are of one step and cannot both be made."""
    same = (one.mark.line, one.mark.column) == (two.mark.line, two.mark.column)
    return same and (one.kind != "set" or two.kind != "set" or one.key == two.key)


def _name(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _diff(name: str, old: str, new: str | None) -> str:
    if new is None:
        return ""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{name}", f"b/{name}", n=1
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
