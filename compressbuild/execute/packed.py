"""A request as another machine can read it: no path of this one, and each file by its digest. Pure, but for reading."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

import msgspec
from msgspec.structs import replace

from ..api.work import WorkExpect, WorkRequest, WorkSight
from ..digest import Digest
from ..errors import CbuildError
from ..globbing import walk
from ..machines.wire import Entry, Files
from ..store.tree import scan

__all__ = ["Packed", "Unpackable", "packed"]


class Unpackable(CbuildError):
    """It reads something that cannot be sent."""


class Packed(msgspec.Struct, frozen=True):
    """``sources``: digest → a file here that has these bytes."""

    request: WorkRequest
    files: Files
    inputs: dict[str, Files]
    sources: dict[Digest, str]


def packed(request: WorkRequest, code: Mapping[str, str], digest: Callable[[str], Digest]) -> Packed:
    """``code``: files that are shipped anyway, by their paths here → where they lie below ``@code``. OSError if a file
    cannot be read, Unpackable if one lies elsewhere."""
    sources: dict[Digest, str] = {}

    def entry(path: str, full: str) -> Entry:
        info = os.stat(full)
        found = digest(full)
        sources[found] = full
        return Entry(path, found, info.st_size, bool(info.st_mode & 0o100))

    there = _Places(request.root, code)
    own = [there.project(path) for path in dict.fromkeys((*request.code_files, *request.read_files))]
    files = Files(
        tuple(entry(path, os.path.join(request.root, path)) for path in sorted(own)),
        tuple(sorted(_folders(request, there))),
    )
    inputs = {}
    for role, given in request.inputs.items():
        found, empty = scan(given.path)
        entries = tuple(entry(each.path, os.path.join(given.path, each.path)) for each in found)
        inputs[role] = Files(entries, tuple(empty))
    expect, sight = request.expect, request.sight
    plugin_code = {code[path]: digest(path) for path in (sight.files if sight is not None else ()) if path in code}
    sent = replace(
        request,
        inputs={role: replace(given, path="") for role, given in request.inputs.items()},
        out="",
        scratch="",
        root="@project",
        code_roots=there.all(request.code_roots),
        ignore_dirs=(),
        sight=_sight(sight, there) if sight is not None else None,
        checkpoint=f"@checkpoint/{os.path.basename(request.checkpoint)}" if request.checkpoint is not None else None,
        expect=replace(expect if expect is not None else WorkExpect(), plugin_code=plugin_code),
    )
    return Packed(sent, files, inputs, sources)


class _Places:
    """Absolute paths of this machine → what stands for them."""

    def __init__(self, root: str, code: Mapping[str, str]) -> None:
        self._root, self._code = os.path.normpath(root), code

    def __call__(self, path: str) -> str:
        if path in self._code:
            return f"@code/{self._code[path]}"
        inside = self.project(path)
        return "@project" if inside == "." else f"@project/{inside}"

    def all(self, paths: Iterable[str]) -> tuple[str, ...]:
        return tuple(map(self, paths))

    def project(self, path: str) -> str:
        """Relative to the project."""
        inside = os.path.relpath(os.path.join(self._root, path), self._root)
        if inside == ".." or inside.startswith("../"):
            raise Unpackable(
                f"it reads {path}, outside the project, and runs on another machine",
                hint="move it into the project; a node of another machine gets only what lies there, and plugins",
            )
        return inside


def _sight(sight: WorkSight, there: _Places) -> WorkSight:
    return WorkSight(files=there.all(sight.files), trees=there.all(sight.trees), folders=there.all(sight.folders))


def _folders(request: WorkRequest, there: _Places) -> set[str]:
    """Directories that the node may list, of the project."""
    found = {there.project(path) for path in request.code_roots}
    if request.sight is not None:
        found |= {there.project(path) for path in request.sight.folders}
        for tree in request.sight.trees:
            for folder, _, _ in walk(tree, follow=True):
                found.add(there.project(folder))
    return found - {"."}
